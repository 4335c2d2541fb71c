"""Prepared pixels: the same in any window, and what numpy makes of the whole image."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling

import daskmr
from daskmr.core.grid import Window
from daskmr.core.imagery import Pixels
from daskmr.core.preparation import cast, parse_recipe, prepared_info, ranges, real
from daskmr.core.preparation import stretch as stretch_pixels
from daskmr.errors import RequestError
from daskmr.image import Image
from daskmr.image.base import Source
from daskmr.image.prepared import PreparedSource, prepare
from daskmr.testing.contracts_image import PIXELS, SourceContract
from daskmr.testing.images import write_image

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
WHOLE = Window(row=0, col=0, height=150, width=210)
HOLES: Pixels = np.where(np.random.default_rng(1).random(PIXELS.shape) < 0.2, 7, PIXELS)


def image_of(pixels: Pixels, folder: Path, **profile: Any) -> Image:
    path = folder / "image.tif"
    write_image(path, pixels, **profile)
    return daskmr.open_image(str(path))


def prepared(image: Image, scale: tuple[float, float] = (1.0, 1.0), **options: Any) -> Source:
    source = prepare(image, parse_recipe(options), scale).measured().source
    assert source is not None
    return source


class TestPicked(SourceContract):
    def make(self, pixels: Pixels, folder: Path) -> Source:
        return prepared(image_of(pixels[::-1], folder), bands="2,1")


class TestSampledAgain(SourceContract):
    """Each pixel stands there four times, and is brought back to one."""

    def make(self, pixels: Pixels, folder: Path) -> Source:
        larger = pixels.repeat(2, axis=1).repeat(2, axis=2)
        return prepared(image_of(larger, folder), (2.0, 2.0))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    folders = [tmp_path_factory.mktemp(name) for name in ("full", "holes", "complex")]
    waves = (PIXELS[:1] * np.exp(1j * PIXELS[1:] / 900)).astype(np.complex64)
    return {
        "full": image_of(PIXELS, folders[0]),
        "holes": image_of(HOLES, folders[1], nodata=7),
        "complex": image_of(waves, folders[2]),
    }


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.sampled_from(["full", "holes", "complex"]),
    scale=st.sampled_from([(1.0, 1.0), (2.0, 2.0), (3.7, 1.3), (0.6, 0.45), (40.0, 33.0)]),
    stretch=st.sampled_from(["none", "minmax", "percentile", "dra"]),
    dtype=st.sampled_from([None, "uint8", "int16", "float32"]),
    part=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_a_window_is_the_same_part_of_the_whole_to_the_last_bit(
    *,
    images: dict[str, Image],
    which: str,
    scale: tuple[float, float],
    stretch: str,
    dtype: str | None,
    part: tuple[float, ...],
) -> None:
    how = {"complex_as": "decibel"} if which == "complex" else {}
    source = prepared(images[which], scale, stretch=stretch, dtype=dtype, **how)
    info = source.header()
    assert info.width == np.ceil(210 / scale[0] - 1e-9)
    whole = source.read(Window(row=0, col=0, height=info.height, width=info.width))
    assert whole.dtype == info.dtype
    row, col = int(part[0] * (info.height - 1)), int(part[1] * (info.width - 1))
    height = 1 + int(part[2] * (info.height - row - 1))
    width = 1 + int(part[3] * (info.width - col - 1))
    window = Window(row=row, col=col, height=height, width=width)
    expected = whole[:, row : row + height, col : col + width]
    np.testing.assert_array_equal(source.read(window), expected)


def test_larger_pixels_are_means_of_what_they_cover(tmp_path: Path) -> None:
    found = prepared(image_of(PIXELS.astype("float32"), tmp_path), (3.0, 2.0))
    expected = PIXELS.reshape(2, 75, 2, 70, 3).mean(axis=(2, 4))
    whole = Window(row=0, col=0, height=75, width=70)
    np.testing.assert_allclose(found.read(whole), expected, rtol=1e-6)


def test_the_last_pixel_is_the_mean_of_what_is_left(tmp_path: Path) -> None:
    source = prepared(image_of(PIXELS.astype("float32"), tmp_path), (100.0, 100.0))
    assert (source.header().width, source.header().height) == (3, 2)
    last = source.read(Window(row=1, col=2, height=1, width=1))[:, 0, 0]
    np.testing.assert_allclose(last, PIXELS[:, 100:, 200:].mean(axis=(1, 2)), rtol=1e-6)


def test_smaller_pixels_lie_on_a_slope_where_it_has_them(tmp_path: Path) -> None:
    y, x = np.mgrid[0:150, 0:210].astype("float32")
    source = prepared(image_of((3 * x + 5 * y)[None], tmp_path), (0.5, 0.25))
    info = source.header()
    found = source.read(Window(row=0, col=0, height=info.height, width=info.width))[0]
    yy, xx = np.mgrid[0 : info.height, 0 : info.width]
    expected = 3 * ((xx + 0.5) * 0.5 - 0.5) + 5 * ((yy + 0.5) * 0.25 - 0.5)
    np.testing.assert_allclose(found[4:-4, 4:-4], expected[4:-4, 4:-4], rtol=1e-5, atol=1e-3)


def test_means_leave_out_what_holds_no_data_and_masks_follow(tmp_path: Path) -> None:
    pixels = np.full((1, 40, 40), 9, np.uint8)
    pixels[:, :20, :20] = 100
    pixels[:, 1:20:2, :20] = 9
    image = image_of(pixels, tmp_path, nodata=9)
    source = prepared(image, (10.0, 10.0), fill=1)
    found = source.read(Window(row=0, col=0, height=4, width=4))
    assert found[0].tolist() == [[100, 100, 1, 1], [100, 100, 1, 1], [1] * 4, [1] * 4]
    valid = source.read_valid(Window(row=0, col=0, height=4, width=4))
    assert valid is not None
    assert valid.tolist() == [[True, True, False, False]] * 2 + [[False] * 4] * 2
    assert (source.header().nodata, source.header().has_mask) == (None, True)


def test_overviews_are_read_where_they_are_fine_enough(tmp_path: Path) -> None:
    image = image_of(PIXELS.repeat(4, axis=1).repeat(4, axis=2), tmp_path, tiled=True)
    with rasterio.open(image.info.url, "r+") as file:
        file.build_overviews([2, 4, 8], Resampling.nearest)
    image = daskmr.open_image(image.info.url)
    for scale, size in [(1.9, (840, 600)), (2.0, (420, 300)), (4.0, (210, 150)), (7.9, (210, 150))]:
        source = prepared(image, (scale, scale))
        assert isinstance(source, PreparedSource)
        assert source.size == size
    found = prepared(image, (4.0, 4.0)).read(WHOLE)
    np.testing.assert_array_equal(found, PIXELS)


@pytest.mark.parametrize("stretch", ["minmax", "percentile", "dra"])
def test_a_stretch_is_that_of_the_whole_image_in_every_tile(stretch: str, tmp_path: Path) -> None:
    source = prepared(image_of(HOLES, tmp_path, nodata=7), stretch=stretch, fill=3)
    made = parse_recipe({"stretch": stretch})
    found = ranges(made, [band[band != 7] for band in HOLES])
    expected = cast(stretch_pixels(HOLES, found, "uint8"), "uint8")
    expected[HOLES == 7] = 3
    np.testing.assert_array_equal(source.read(WHOLE), expected)


def test_the_sample_of_a_large_image_is_bounded_and_from_all_over(tmp_path: Path) -> None:
    pixels = np.zeros((1, 3000, 4000), np.uint8)
    pixels[:, -1, -1], pixels[:, 0, 0] = 250, 10
    source = prepared(image_of(pixels, tmp_path), stretch="minmax")
    assert isinstance(source, PreparedSource)
    windows = list(source._sample())
    assert len(windows) == 64
    assert sum(w.height * w.width for w in windows) == 64 * 256 * 256
    assert source.ranges == ((0.0, 250.0),)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("amplitude", [5.0, 0.0, 100.0]),
        ("decibel", [20 * np.log10(5), -200.0, 40.0]),
        ("quarter_power", [5**0.5, 0.0, 10.0]),
    ],
)
def test_complex_pixels_become_real(how: str, expected: list[float]) -> None:
    pixels = np.array([[[3 + 4j, 0, -100j]]], np.complex64)
    np.testing.assert_allclose(real(pixels, how)[0, 0], expected, rtol=1e-6)
    assert real(pixels, how).dtype == np.float32


def test_a_constant_image_is_neither_dark_nor_bright() -> None:
    assert stretch_pixels(np.full((1, 2, 2), 7.0), ((7.0, 7.0),), "float32").tolist() == [
        [[0.5] * 2] * 2
    ]


def test_values_that_a_type_cannot_hold_become_the_next() -> None:
    given_ = np.array([-5.0, 1.5, 2.5, 300.0, np.nan, np.inf])
    assert cast(given_, "uint8").tolist() == [0, 2, 2, 255, 0, 255]
    assert cast(np.array([70000, -1]), "uint16").tolist() == [65535, 0]


def test_a_header_tells_what_becomes_of_the_image() -> None:
    info = replace(
        daskmr.open_image(_array()).info, nodata=7, colorinterp=("red", "green"), dtype="uint16"
    )
    plain = prepared_info(parse_recipe({"bands": [2]}), info, (1.0, 1.0))
    assert (plain.bands, plain.colorinterp, plain.nodata) == (1, ("green",), 7)
    tight = prepared_info(parse_recipe({"stretch": "dra"}), info, (4.0, 2.0))
    assert (tight.dtype, tight.nodata, tight.has_mask) == ("uint8", None, True)
    assert (tight.width, tight.height) == (53, 75)


def _array() -> Any:
    import xarray as xr

    return xr.DataArray(PIXELS, dims=("band", "y", "x"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"bands": "1,3"}, r"prepare\.bands: .*image\.tif has no band 3, only 2"),
        ({"bands": "0"}, r"prepare\.bands\.0: '0': .*greater than or equal to 1"),
        ({"complex_as": "amplitude"}, r"complex_as: the pixels of .* are uint16"),
        ({"stretch": "most"}, "stretch: 'most'"),
        ({"gsd": "-1"}, "gsd: '-1'"),
        ({"gsd": "1"}, "gsd: .*no georeferencing"),
        ({"colour": "1"}, "colour"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    options: dict[str, str], told: str, tmp_path: Path
) -> None:
    image = image_of(PIXELS, tmp_path)
    with pytest.raises(RequestError, match=told):
        daskmr.plan(image, "blobs", prepare=options, tile_size=64, overlap=8)


def test_complex_pixels_and_arrays_are_not_guessed_at(images: dict[str, Image]) -> None:
    with pytest.raises(RequestError, match="complex64; say complex_as as well"):
        daskmr.plan(images["complex"], "blobs", prepare={"stretch": "dra"}, tile_size=64, overlap=8)
    with pytest.raises(RequestError, match=r"an xarray\.DataArray cannot be prepared"):
        daskmr.plan(_array(), "blobs", prepare={"bands": "1"}, tile_size=64, overlap=8)
