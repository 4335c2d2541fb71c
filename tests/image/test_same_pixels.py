"""Zarr stores and arrays give the pixels and the place of the file that they came from."""

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import rioxarray  # noqa: F401 - gives DataArrays their accessor `rio`
import xarray as xr

from daskmr.core.grid import Window
from daskmr.core.imagery import Pixels
from daskmr.errors import ImageError, ImageReadError
from daskmr.image import open_image
from daskmr.image.zarr import ZarrSource
from daskmr.testing.contracts_image import SourceContract
from daskmr.testing.images import HALF_METRE, UTM, write_image

PIXELS = np.random.default_rng(0).integers(0, 999, (3, 100, 140), dtype=np.uint16)
PART = Window(row=13, col=40, height=50, width=64)


class TestZarrSource(SourceContract):
    def make(self, pixels: Pixels, folder: Path) -> ZarrSource:
        data = xr.DataArray(pixels, dims=("band", "y", "x"), name="image")
        chunked = data.chunk({"y": 64, "x": 50})
        chunked.to_dataset().to_zarr(folder / "x.zarr", zarr_format=3, consolidated=False)
        return ZarrSource(url=str(folder / "x.zarr"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_image(tmp_path / "x.tif", PIXELS, crs=UTM, transform=HALF_METRE, nodata=7)


@pytest.mark.parametrize("order", [("band", "y", "x"), ("y", "x", "band"), ("x", "band", "y")])
def test_dimensions_may_be_in_any_order(order: tuple[str, ...], file: Path) -> None:
    image = open_image(open_image(file).data.transpose(*order))
    assert image.data.dims == ("band", "y", "x")
    assert np.array_equal(image.data.values, PIXELS)
    assert image.source is None


def test_an_array_is_placed_like_the_file_it_came_from(file: Path) -> None:
    expected, found = open_image(file).info, open_image(open_image(file).data).info
    assert found.transform == expected.transform
    assert found.crs == expected.crs
    assert (found.nodata, found.dtype, found.bands) == (7.0, "uint16", 3)
    assert found.url == "<array>"
    cut = open_image(open_image(file).data.isel(y=slice(13, 63), x=slice(40, 104))).info
    assert cut.transform == (0.5, 0.0, 583_020.0, 0.0, -0.5, 4_506_993.5)


def test_plain_arrays_have_pixels_only() -> None:
    image = open_image(xr.DataArray(PIXELS[0], dims=("latitude", "longitude")))
    assert (image.info.bands, image.info.height, image.info.width) == (1, 100, 140)
    assert not image.info.has_affine
    cut = image.chunked((20, 30), (64,), window=PART)
    assert cut.chunks == ((1,), (20, 30), (64,))
    assert np.array_equal(cut.values[0], PIXELS[0, 13:63, 40:104])


def test_uneven_coordinates_are_no_transform() -> None:
    array = xr.DataArray(
        np.zeros((3, 4)), dims=("y", "x"), coords={"y": [0.0, 1, 5], "x": [0.0, 1, 2, 3]}
    ).rio.write_crs(UTM)
    assert open_image(array).info.transform is None


@pytest.mark.parametrize("dims", [("a", "b"), ("time", "band", "y", "x"), ("y", "lat", "x")])
def test_other_dimensions_are_refused_by_name(dims: tuple[str, ...]) -> None:
    with pytest.raises(ImageError, match=dims[0]):
        open_image(xr.DataArray(np.zeros((2,) * len(dims)), dims=dims))


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ImageError, match="ndarray"):
        open_image(np.zeros((3, 5, 5)))
    with pytest.raises(ImageError, match="NoneType"):
        open_image(None)


def test_opening_an_array_computes_nothing() -> None:
    def poisoned(block: np.ndarray) -> np.ndarray:
        raise AssertionError(block.shape)

    blocks = da.zeros((3, 90, 120), chunks=(1, 30, 30)).map_blocks(
        poisoned, meta=np.empty((0, 0, 0))
    )
    image = open_image(xr.DataArray(blocks, dims=("band", "y", "x")))
    assert image.info.block_height == 30
    assert image.chunked((50,), (64,), window=PART).shape == (3, 50, 64)
    assert open_image(image) is image


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_store_is_read_like_the_file_it_came_from(
    version: int, file: Path, tmp_path: Path
) -> None:
    data = open_image(file).data.chunk({"band": 3, "y": 32, "x": 64})
    store = tmp_path / "x.zarr"
    data.to_dataset(name="image").to_zarr(store, zarr_format=version, consolidated=False)
    image = open_image(store)
    assert image.info.driver == "Zarr"
    assert (image.info.block_height, image.info.block_width) == (32, 64)
    assert image.info.transform == open_image(file).info.transform
    assert image.info.crs == open_image(file).info.crs
    assert image.info.nodata == 7.0
    assert image.source is not None
    found = image.source.read(PART)
    assert found.dtype == np.uint16
    assert np.array_equal(found, PIXELS[:, 13:63, 40:104])
    assert np.array_equal(image.data.values, PIXELS)
    assert image.source.read_valid(PART) is None
    assert image.empty_blocks() is None


def test_opening_a_zarr_store_reads_no_chunk(file: Path, tmp_path: Path) -> None:
    store = tmp_path / "x.zarr"
    open_image(file).data.to_dataset(name="image").to_zarr(store, zarr_format=3, consolidated=False)
    for path in (store / "image" / "c").rglob("*"):
        if path.is_file():
            path.write_bytes(b"broken")
    image = open_image(store)
    assert image.data.shape == (3, 100, 140)
    assert image.source is not None
    with pytest.raises(ImageReadError, match=r"x\.zarr: cannot read rows 13"):
        image.source.read(PART)


def test_one_of_several_variables_is_picked_by_name(tmp_path: Path) -> None:
    store: Any = xr.Dataset(
        {"a": (("y", "x"), np.zeros((9, 9))), "b": (("y", "x"), np.ones((9, 9)))}
    )
    store.to_zarr(tmp_path / "x.zarr", consolidated=False)
    with pytest.raises(ImageError, match=r"2 image variables \(a, b\)"):
        open_image(tmp_path / "x.zarr")
    picked = open_image(f"{tmp_path}/x.zarr#b").source
    assert picked is not None
    assert picked.read(Window(row=0, col=0, height=2, width=2)).min() == 1
    with pytest.raises(ImageError, match="no image variable 'c'"):
        open_image(f"{tmp_path}/x.zarr#c")
    with pytest.raises(ImageError, match=r"none\.zarr"):
        open_image(tmp_path / "none.zarr")
