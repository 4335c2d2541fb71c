"""Decode the bytes of a tile to pixels, in a model server; tiles are not trusted."""

import io
import re
import warnings
from typing import Final

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile
from rasterio.session import DummySession

from daskmr.core.imagery import SAR_AS_BANDS, Pixels

MAX_BYTES: Final = 512 * 2**20
"""Most bytes that the pixels of one tile may take."""

_NPY = b"\x93NUMPY"
_DRIVERS: Final = {
    b"II*\x00": "GTiff",
    b"MM\x00*": "GTiff",
    b"II+\x00": "GTiff",
    b"MM\x00+": "GTiff",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"NITF": "NITF",
    b"NSIF": "NITF",
    b"\x00\x00\x00\x0cjP  ": "JP2OpenJPEG",
    b"\xffO\xffQ": "JP2OpenJPEG",
}
_QUIET: Final = ("ignore", None, NotGeoreferencedWarning, re.compile(re.escape(__name__)), 0)


class TileError(ValueError):
    """The bytes cannot be decoded to pixels."""


def read_tile(body: bytes) -> Pixels:
    """Return the pixels of an encoded tile, whose format is detected by its first bytes.

    Formats: NumPy, GeoTIFF, PNG, JPEG, JPEG 2000, NITF.

    Returns
    -------
    Shape (band, y, x); a NumPy array of two dimensions is one band.

    Raises
    ------
    TileError
        When the bytes are none of these, are damaged, or hold too many pixels.
    """
    if body.startswith(_NPY):
        return _read_npy(body)
    for magic, driver in _DRIVERS.items():
        if body.startswith(magic):
            return _read_raster(body, driver)
    msg = f"{len(body)} bytes beginning with {body[:8]!r} are no image of a known format"
    raise TileError(msg)


def _read_npy(body: bytes) -> Pixels:
    # numpy allocates the array of the header before it reads the data.
    stream = io.BytesIO(body)
    try:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0
        header = header if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(stream)
        _check(shape, dtype)
        stream.seek(0)
        pixels: Pixels = np.load(stream, allow_pickle=False)
    except (ValueError, EOFError) as error:
        msg = f"no NumPy array: {error}"
        raise TileError(msg) from None
    return pixels.reshape(-1, *pixels.shape[-2:])


def _read_raster(body: bytes, driver: str) -> Pixels:
    # Most tiles have no georeferencing. The filter is for this module alone and stays, because
    # warnings.catch_warnings is not safe in threads.
    if _QUIET not in warnings.filters:
        warnings.filterwarnings("ignore", category=_QUIET[2], module=_QUIET[3].pattern)
    try:
        with (
            rasterio.Env(session=DummySession(), GDAL_PAM_ENABLED="NO", **SAR_AS_BANDS),
            MemoryFile(body) as file,
            DatasetReader(file.name, driver=driver) as dataset,  # no other driver may open it
        ):
            for dtype in dataset.dtypes:
                _check((dataset.count, dataset.height, dataset.width), np.dtype(dtype))
            pixels: Pixels = dataset.read()
    except (RasterioError, CPLE_BaseError, TypeError) as error:
        msg = f"no {driver} image: {error}"
        raise TileError(msg) from None
    return pixels


def _check(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
    """Raise when the shape or type is not that of an image, or it is too large."""
    if len(shape) not in {2, 3} or min(shape) < 1 or dtype.kind not in "biufc":
        msg = f"an array of shape {shape} and type {dtype} is no image"
        raise TileError(msg)
    size = dtype.itemsize
    for side in shape:
        size *= side
    if size > MAX_BYTES:
        msg = f"{size} bytes of pixels are more than {MAX_BYTES}"
        raise TileError(msg)
