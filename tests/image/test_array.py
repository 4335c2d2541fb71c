"""Arrays: how they are cut into chunks, and those that are no image."""

import numpy as np
import pytest
import xarray as xr

from daskmr.errors import ImageError
from daskmr.image import open_image


def test_all_bands_are_in_one_chunk_and_large_arrays_in_several() -> None:
    import dask.array as da

    array = xr.DataArray(np.zeros((2, 5000, 10), np.uint8), dims=("band", "y", "x"))
    assert open_image(array).data.chunks == ((2,), (4096, 904), (10,))
    blocks = da.zeros((4, 60, 60), chunks=(1, 20, 30))
    image = open_image(xr.DataArray(blocks, dims=("time", "y", "x")))
    assert image.data.chunks == ((4,), (20, 20, 20), (30, 30))


def test_a_coordinate_left_of_a_band_does_no_harm() -> None:
    array = xr.DataArray(np.zeros((3, 4, 5)), dims=("time", "y", "x")).assign_coords(band=1)
    assert open_image(array).info.bands == 3
    assert open_image(array.isel(time=0)).info.bands == 1


def test_coordinates_that_are_no_numbers_are_no_transform() -> None:
    coords = {"y": [0.0, 1.0], "x": ["a", "b"]}
    array = xr.DataArray(np.zeros((2, 2)), dims=("y", "x"), coords=coords)
    assert open_image(array).info.transform is None


def test_coordinates_are_the_centres_of_pixels() -> None:
    coords = {"latitude": [1.0, 2.0, 3.0], "longitude": [10.0, 10.5]}
    array = xr.DataArray(np.zeros((3, 2)), dims=("latitude", "longitude"), coords=coords)
    assert open_image(array).info.transform == (0.5, 0.0, 9.75, 0.0, 1.0, 0.5)


def test_a_complex_fill_value_is_not_nodata() -> None:
    array = xr.DataArray(np.zeros((2, 2), np.complex64), dims=("y", "x"))
    array.attrs["_FillValue"] = np.complex64(0)
    assert open_image(array).info.nodata is None


@pytest.mark.parametrize("dtype", ["O", "M8[ns]", "U3"])
def test_pixels_that_are_no_numbers_are_refused(dtype: str) -> None:
    with pytest.raises(ImageError, match="are not numbers"):
        open_image(xr.DataArray(np.zeros((2, 2), dtype), dims=("y", "x")))


def test_an_array_without_pixels_is_refused() -> None:
    with pytest.raises(ImageError, match="no pixels"):
        open_image(xr.DataArray(np.zeros((0, 4)), dims=("y", "x")))
