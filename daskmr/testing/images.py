"""Small and huge images for tests, written through rasterio."""

import re
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetWriter
from rasterio.session import DummySession
from rasterio.windows import Window

Affine6 = tuple[float, float, float, float, float, float]
UTM = "EPSG:32618"
"""CRS of images that ask for one."""
HALF_METRE: Affine6 = (0.5, 0.0, 583_000.0, 0.0, -0.5, 4_507_000.0)
"""a, b, c, d, e, f of pixels of half a metre in `UTM`."""
_COPIED = frozenset({"PNG", "JPEG", "JP2OpenJPEG"})


@contextmanager
def writing(path: Path, profile: Mapping[str, Any]) -> Iterator[Callable[[int, int, Any], None]]:
    """Yield ``write(row, col, pixels)``, which writes a piece of an image of shape (band, y, x).

    Parameters
    ----------
    path
        File to make.
    profile
        What rasterio calls a profile; ``transform`` may be six coefficients.
    """
    _silence()
    options = dict(profile)
    if options.get("transform") is not None:
        options["transform"] = rasterio.Affine(*options["transform"])
    env = rasterio.Env(session=DummySession(), GDAL_PAM_ENABLED="NO")
    with env, DatasetWriter(str(path), "w", **options) as dataset:

        def write(row: int, col: int, pixels: Any) -> None:
            window = Window(col, row, pixels.shape[2], pixels.shape[1])
            dataset.write(pixels, window=window)

        yield write


def write_image(
    path: Path,
    pixels: Any,
    *,
    driver: str = "GTiff",
    crs: str | None = None,
    transform: Affine6 | None = None,
    **creation: Any,
) -> Path:
    """Write an image and return its path.

    Parameters
    ----------
    path
        File to make; returned.
    pixels
        Shape (band, y, x).
    driver
        GDAL short name.
    crs, transform
        Georeferencing; None for none.
    **creation
        Creation options, and ``nodata``.
    """
    bands, height, width = pixels.shape
    profile: dict[str, Any] = {
        "height": height,
        "width": width,
        "count": bands,
        "dtype": pixels.dtype.name,
        "crs": crs,
        "transform": transform,
    }
    if driver not in _COPIED:
        with writing(path, {**profile, "driver": driver, **creation}) as write:
            write(0, 0, pixels)
        return path
    _silence()
    env = rasterio.Env(session=DummySession(), GDAL_PAM_ENABLED="NO")
    with env, DatasetWriter(uuid.uuid4().hex, "w", driver="MEM", **_affine(profile)) as memory:
        memory.write(pixels)
        memory.colorinterp = [ColorInterp.gray] if bands == 1 else memory.colorinterp
        rasterio.shutil.copy(memory, str(path), driver=driver, **creation)
    return path


def write_sparse(
    path: Path,
    *,
    height: int,
    width: int,
    bands: int = 1,
    dtype: str = "uint8",
    nodata: float | None = None,
) -> Path:
    """Return a GeoTIFF of any size in which no block is stored: it reads as zeros, or as nodata."""
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": bands,
        "dtype": dtype,
        "nodata": nodata,
        "crs": UTM,
        "transform": HALF_METRE,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "sparse_ok": True,
        "bigtiff": "IF_SAFER",
    }
    with writing(path, profile):
        return path


def _affine(profile: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: value for name, value in profile.items() if value is not None}
    if "transform" in values:
        values["transform"] = rasterio.Affine(*values["transform"])
    return values


def _silence() -> None:
    """Ignore the warning about images without georeferencing, which some are meant to be."""
    entry = ("ignore", None, NotGeoreferencedWarning, re.compile(re.escape(__name__)), 0)
    if entry not in warnings.filters:
        warnings.filterwarnings("ignore", category=entry[2], module=entry[3].pattern)
