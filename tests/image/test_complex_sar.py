"""SICD is two real bands, to the bit, whichever GDAL reads it and however it is read."""

import hashlib
from pathlib import Path

import dask
import numpy as np
import pytest

from daskmr.core.grid import Window
from daskmr.encode import encoder
from daskmr.encode.base import PlacedTileEncoder
from daskmr.image import Image, open_image
from daskmr.models._tiles import read_tile

WINDOW = Window(row=1, col=2, height=3, width=3)
CORNERS = np.array([[1.0, 2.0], [3.0, 2.0], [3.0, 1.0], [1.0, 1.0]])
FILES = {
    "cropped_sicd_040.nitf": ("int16", (2, 5, 5), "692bee82c6885fba"),
    "cropped_sicd_041.nitf": ("int16", (2, 5, 5), "692bee82c6885fba"),
    "cropped_sicd_100.nitf": ("int16", (2, 5, 5), "692bee82c6885fba"),
    "cropped_sicd_101.nitf": ("int16", (2, 5, 5), "692bee82c6885fba"),
    "cropped_sicd_120.nitf": ("int16", (2, 5, 5), "692bee82c6885fba"),
    "cropped_sicd_extra_des.nitf": ("int16", (2, 5, 5), "437fc7db3fad59e9"),
    "sar_sicd.ntf": ("float32", (2, 5, 10), "74a114b656915a99"),
    "sicd_50x50.nitf": ("float32", (2, 50, 50), "ada2cb007116992c"),
}
"""Pixel type, shape and first digits of the pixels' SHA-256, the same for all versions."""
TILES = {
    "cropped_sicd_040.nitf": ("f8e02db47078fe12", "07e5a20401588a02"),
    "cropped_sicd_041.nitf": ("200bd995004fe528", "07e5a20401588a02"),
    "cropped_sicd_100.nitf": ("19e05870eaa40893", "07e5a20401588a02"),
    "cropped_sicd_101.nitf": ("f44194f8eb18d12b", "07e5a20401588a02"),
    "cropped_sicd_120.nitf": ("1d1020aa89863386", "07e5a20401588a02"),
    "cropped_sicd_extra_des.nitf": ("80fb6859b62c5de0", "e2bf9d0c886a9395"),
    "sar_sicd.ntf": ("11fff8bf959e1623", "6fb7d16df61816df"),
    "sicd_50x50.nitf": ("ff071d587c8e13f3", "af1a1e7c6837f930"),
}
"""First digits of the SHA-256 of `WINDOW` as SICD in NITF and as GeoTIFF."""


def digest(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()[:16]


def whole(image: Image) -> Window:
    return Window(row=0, col=0, height=image.info.height, width=image.info.width)


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_the_two_parts_that_the_file_stores(imagery: Path, name: str) -> None:
    dtype, shape, expected = FILES[name]
    image = open_image(str(imagery / "sicd" / name))
    assert image.source is not None
    assert (image.info.bands, image.info.dtype) == (shape[0], dtype)
    pixels = image.source.read(whole(image))
    assert (pixels.dtype.name, pixels.shape) == (dtype, shape)
    assert digest(pixels.astype(np.dtype(dtype).newbyteorder("<")).tobytes()) == expected


@pytest.mark.parametrize("name", FILES)
def test_the_lazy_array_is_the_same_in_other_threads(imagery: Path, name: str) -> None:
    image = open_image(str(imagery / "sicd" / name))
    assert image.source is not None
    with dask.config.set(scheduler="threads", num_workers=2):
        np.testing.assert_array_equal(image.data.values, image.source.read(whole(image)))


@pytest.mark.parametrize("name", TILES)
def test_tiles_are_the_same_bytes_and_read_back_by_models(imagery: Path, name: str) -> None:
    image = open_image(str(imagery / "sicd" / name))
    assert image.source is not None
    pixels = image.source.read(WINDOW)
    nitf = encoder("NITF", "NONE")
    assert isinstance(nitf, PlacedTileEncoder)
    sicd = nitf.encode_placed(pixels, image.info, WINDOW, corners=CORNERS)
    tiff = encoder("GTIFF", "NONE").encode(pixels, image.info, WINDOW)
    assert (digest(sicd), digest(tiff)) == TILES[name]
    np.testing.assert_array_equal(read_tile(sicd), pixels)
    np.testing.assert_array_equal(read_tile(tiff), pixels)
