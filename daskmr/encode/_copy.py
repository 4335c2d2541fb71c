"""Encoded files in memory, written by GDAL without holding the GIL.

`copied` serves every format that GDAL can only copy into; `created` serves those it can write
piece by piece, which spares one pass over the pixels. Both give the same bytes for the same
pixels, from any number of threads.
"""

import re
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetWriter, MemoryFile
from rasterio.session import DummySession

from daskmr.core.grid import Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.errors import EncodeError

_QUIET = ("ignore", None, NotGeoreferencedWarning, re.compile(re.escape(__name__)), 0)


@contextmanager
def writing(what: str, info: ImageInfo, window: Window) -> Iterator[None]:
    """One thread's GDAL, set up for writing one tile in memory.

    Raises
    ------
    EncodeError
        Names the image, the tile and the format, for whatever the library objects to.
    """
    # A filter for this module alone, because warnings.catch_warnings is not safe in threads.
    if _QUIET not in warnings.filters:
        warnings.filterwarnings("ignore", category=_QUIET[2], module=_QUIET[3].pattern)
    # The session is given since rasterio would otherwise ask boto3 for one at every tile.
    options = {"GDAL_NUM_THREADS": 1, "GDAL_PAM_ENABLED": "NO"}
    try:
        with rasterio.Env(session=DummySession(), **options):
            yield
    except (RasterioError, CPLE_BaseError, TypeError, ValueError) as error:
        place = f"tile at row {window.row}, column {window.col}"
        msg = f"{info.url}: {place} cannot be written as {what}: {error}"
        raise EncodeError(msg) from error


def copied(
    pixels: Pixels,
    driver: str,
    options: Mapping[str, object],
    *,
    colors: Sequence[str] = (),
    extensions: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """A file of a GDAL driver, made by copying an in-memory dataset; no georeferencing.

    Parameters
    ----------
    pixels
        Shape (band, y, x).
    driver
        GDAL short name.
    options
        Creation options of the driver.
    colors
        GDAL's name of each band's colour; empty to say nothing.
    extensions
        Fields of tagged record extensions of NITF, by name.
    """
    bands, height, width = pixels.shape
    shape = {"width": width, "height": height, "count": bands, "dtype": pixels.dtype.name}
    with (
        DatasetWriter(uuid.uuid4().hex, "w", driver="MEM", **shape) as source,
        MemoryFile(ext=".bin") as target,
    ):
        source.write(pixels)
        if colors:
            source.colorinterp = [ColorInterp[name] for name in colors]
        if extensions:
            source.update_tags(ns="TRE", **extensions)
        rasterio.shutil.copy(source, target.name, driver=driver, **options)
        payload: bytes = target.read()
    return payload


def created(pixels: Pixels, driver: str, profile: Mapping[str, object]) -> bytes:
    """A file of a GDAL driver that can be written directly.

    Parameters
    ----------
    pixels
        Shape (band, y, x).
    driver
        GDAL short name.
    profile
        CRS, transform, nodata and creation options.
    """
    bands, height, width = pixels.shape
    shape = {"width": width, "height": height, "count": bands, "dtype": pixels.dtype.name}
    with MemoryFile(ext=".bin") as target:
        with DatasetWriter(target.name, "w", driver=driver, **shape, **profile) as file:
            file.write(pixels)
        payload: bytes = target.read()
    return payload
