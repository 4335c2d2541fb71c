"""Write files in memory with GDAL, without holding the GIL.

`copy_file` is for drivers that can only copy datasets; `create_file` is for drivers that can create
them, which saves one pass over the pixels. Both return the same bytes for the same pixels, from any
number of threads.
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
def writing_env(format_name: str, info: ImageInfo, window: Window) -> Iterator[None]:
    """Yield with GDAL set up in this thread for writing one tile in memory.

    Raises
    ------
    EncodeError
        When GDAL cannot write the tile; names the image, the tile and the format.
    """
    # A filter for this module alone, because warnings.catch_warnings is not safe in threads.
    if _QUIET not in warnings.filters:
        warnings.filterwarnings("ignore", category=_QUIET[2], module=_QUIET[3].pattern)
    # Without a session, rasterio would create a boto3 session for every tile.
    options = {"GDAL_NUM_THREADS": 1, "GDAL_PAM_ENABLED": "NO"}
    try:
        with rasterio.Env(session=DummySession(), **options):
            yield
    except (RasterioError, CPLE_BaseError, TypeError, ValueError) as error:
        place = f"tile at row {window.row}, column {window.col}"
        msg = f"{info.url}: {place} cannot be written as {format_name}: {error}"
        raise EncodeError(msg) from error


def copy_file(
    pixels: Pixels,
    driver: str,
    options: Mapping[str, object],
    *,
    colors: Sequence[str] = (),
    extensions: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """Return the bytes of a file that a GDAL driver copies from memory; without georeferencing.

    Parameters
    ----------
    pixels
        Shape (band, y, x).
    driver
        GDAL short name.
    options
        Creation options of the driver.
    colors
        GDAL's name of each band's colour; empty for unknown ones.
    extensions
        Tagged record extensions (TRE) of NITF, by name.
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


def create_file(pixels: Pixels, driver: str, profile: Mapping[str, object]) -> bytes:
    """Return the bytes of a file of a GDAL driver that can create files.

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
