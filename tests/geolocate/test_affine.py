import os
from pathlib import Path

import numpy as np
import pyproj
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.io import MemoryFile

from daskmr.core.imagery import ImageInfo
from daskmr.errors import ImageError
from daskmr.geolocate._crs import on_earth
from daskmr.geolocate.affine import AffineModel
from daskmr.geolocate.base import SensorModel
from daskmr.testing.contracts_geolocate import SensorModelContract

Transform = tuple[float, float, float, float, float, float]
UTM: Transform = (0.5, 0.0, 600_000.0, 0.0, -0.5, 5_000_000.0)


def image(crs: str | None = "EPSG:32631", transform: Transform | None = UTM) -> ImageInfo:
    return ImageInfo(
        url="/images/a.tif",
        height=8000,
        width=12000,
        bands=1,
        dtype="uint8",
        driver="GTiff",
        crs=crs,
        transform=transform,
    )


class AffineContract(SensorModelContract):
    crs: str
    transform: Transform

    def info(self) -> ImageInfo:
        return image(self.crs, self.transform)

    def make(self) -> SensorModel:
        return AffineModel(transform=self.transform, crs=self.crs, centre=(6000.0, 4000.0))


class TestUtm(AffineContract):
    crs, transform = "EPSG:32631", UTM


class TestUtmOverTheDateLine(AffineContract):
    crs, transform = "EPSG:32660", (10.0, 0.0, 800_000.0, 0.0, -10.0, 2_000_000.0)


class TestDegrees(AffineContract):
    crs, transform = "EPSG:4326", (3e-6, 0.0, 5.4, 0.0, -2e-6, 50.0)


class TestDegreesOverTheDateLine(AffineContract):
    crs, transform = "EPSG:4326", (1e-3, 0.0, 174.0, 0.0, -1e-3, 4.0)


class TestDegreesOfTheSecondTurn(AffineContract):
    crs, transform = "EPSG:4326", (1e-3, 0.0, 350.0, 0.0, -1e-3, 4.0)


class TestGrads(AffineContract):
    crs, transform = "EPSG:4807", (1e-5, 0.0, 0.5, 0.0, -1e-5, 54.0)


class TestOldDatum(AffineContract):
    crs, transform = "EPSG:31467", (0.3, 0.0, 3_500_000.0, 0.0, -0.3, 5_500_000.0)


class TestPolarWithThePoleInside(AffineContract):
    crs, transform = "EPSG:3413", (250.0, 0.0, -1_400_000.0, 0.0, -250.0, 1_000_000.0)


class TestRotated(AffineContract):
    crs, transform = "EPSG:32631", (0.4, 0.3, 600_000.0, 0.3, -0.4, 5_000_000.0)


class TestSouthUp(AffineContract):
    crs, transform = "EPSG:4326", (0.002, 0.0, 0.0, 0.0, 0.003, 0.0)


class TestHorizontalPartOfACompound(AffineContract):
    crs, transform = "EPSG:2154+5720", (0.5, 0.0, 700_000.0, 0.0, -0.5, 6_600_000.0)


def test_a_pixel_of_a_plain_transform_is_where_the_transform_says() -> None:
    model = AffineModel(transform=(0.002, 0.0, 0.0, 0.0, 0.003, 0.0), crs="EPSG:4326")
    np.testing.assert_allclose(model.to_world(np.array([[200.0, 300.0]])), [[0.4, 0.9, 0.0]])


@pytest.mark.parametrize(
    "transform",
    [
        (0.0, 0.0, -43.681640625, 0.0, 0.0, -22.939453125),
        (1.0, 2.0, 5.0, 2.0, 4.0, 6.0),
        (float("nan"), 0.0, 0.0, 0.0, 1.0, 0.0),
        (float("inf"), 0.0, 0.0, 0.0, 1.0, 0.0),
    ],
)
def test_a_transform_that_is_not_invertible_is_refused(transform: Transform) -> None:
    with pytest.raises(ValueError, match=r"transform \(.*\) is not invertible"):
        AffineModel(transform=transform, crs="EPSG:4326")
    with pytest.raises(ImageError, match=r"/images/a\.tif: transform \(.*\) is not invertible"):
        AffineModel.from_image(image(transform=transform))


def test_a_crs_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(ImageError, match=r"/images/a\.tif: .*'nonsense'"):
        AffineModel.from_image(image(crs="nonsense"))


def test_an_image_that_is_not_placed_on_the_earth_has_no_model() -> None:
    identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    local = 'LOCAL_CS["a desk",UNIT["metre",1]]'
    assert AffineModel.from_image(image(crs=None)) is None
    assert AffineModel.from_image(image(transform=None)) is None
    assert AffineModel.from_image(image(transform=identity)) is None
    assert AffineModel.from_image(image(crs="IAU_2015:49910")) is None
    assert AffineModel.from_image(image(crs=local)) is None
    assert AffineModel.from_image(image(crs="EPSG:4978")) is None


@pytest.mark.parametrize(
    ("crs", "expected"),
    [("EPSG:4326", True), ("EPSG:4047", True), ("EPSG:4267", True), ("IAU_2015:30100", False)],
)
def test_the_earth_is_told_by_its_size(crs: str, *, expected: bool) -> None:
    assert on_earth(crs) is expected


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 12000), st.floats(0, 8000)), min_size=1, max_size=20))
def test_utm_agrees_with_pyproj(points: list[tuple[float, float]]) -> None:
    pixels = np.array(points)
    utm = pyproj.Proj(proj="utm", zone=31, ellps="WGS84")
    east, north = 600_000 + 0.5 * pixels[:, 0], 5_000_000 - 0.5 * pixels[:, 1]
    lon, lat = utm(east.tolist(), north.tolist(), inverse=True)
    model = AffineModel(transform=UTM, crs="EPSG:32631")
    world = model.to_world(pixels)
    flat = np.zeros(len(lon))
    np.testing.assert_allclose(world, np.stack([lon, lat, flat], axis=1), rtol=0, atol=1e-11)


def test_another_datum_is_brought_to_wgs_84() -> None:
    model = AffineModel(transform=(1e-4, 0.0, 10.0, 0.0, -1e-4, 50.0), crs="EPSG:4314")
    [[lon, lat, _]] = model.to_world(np.array([[0.0, 0.0]]))
    to = pyproj.Transformer.from_crs("EPSG:4314", "EPSG:4326", always_xy=True)
    assert (lon, lat) == to.transform(10.0, 50.0)
    metres = pyproj.Geod(ellps="WGS84").line_length([10.0, lon], [50.0, lat])
    assert 50 < metres < 300


@pytest.mark.parametrize(
    ("x", "expected"), [(0.0, 179.0), (1.0, 180.0), (2.0, -179.0), (181.0, 0.0), (-359.0, -180.0)]
)
def test_longitudes_are_within_half_a_turn(x: float, expected: float) -> None:
    model = AffineModel(transform=(1.0, 0.0, 179.0, 0.0, -1.0, 10.0), crs="EPSG:4326")
    [[lon, lat, height]] = model.to_world(np.array([[x, 3.0]]))
    assert (lon, lat, height) == (expected, 7.0, 0.0)


def test_beyond_the_pole_is_nowhere() -> None:
    model = AffineModel(transform=(1.0, 0.0, 0.0, 0.0, -1.0, 90.5), crs="EPSG:4326")
    world = model.to_world(np.array([[3.0, 0.0], [3.0, 0.5], [3.0, 1.0]]))
    assert np.isnan(world[0]).all()
    np.testing.assert_array_equal(world[1:], [[3.0, 90.0, 0.0], [3.0, 89.5, 0.0]])
    assert np.isnan(model.to_image(np.array([[3.0, 91.0]]))).all()


def test_the_nearest_turn_of_a_longitude_is_taken() -> None:
    info = image("EPSG:4326", (0.001, 0.0, 175.0, 0.0, -0.001, 4.0))
    model = AffineModel.from_image(info)
    assert model is not None
    ground = np.array([[-179.0, 0.0], [174.9, 0.0], [179.0, 4.0]])
    expected = [[6000.0, 4000.0], [-100.0, 4000.0], [4000.0, 0.0]]
    np.testing.assert_allclose(model.to_image(ground), expected, atol=1e-6)


def sample(name: str) -> ImageInfo:
    folder = os.environ.get("DASKMR_IMAGERY")
    if not folder:
        pytest.skip("DASKMR_IMAGERY names no folder of sample imagery")
    content = (Path(folder) / "affine" / name).read_bytes()
    with MemoryFile(content) as memory, memory.open() as file:
        return ImageInfo(
            url=name,
            height=file.height,
            width=file.width,
            bands=file.count,
            dtype=file.dtypes[0],
            driver=file.driver,
            crs=file.crs.to_wkt() if file.crs else None,
            transform=tuple(file.transform)[:6],
        )


def test_a_real_scene_in_utm_agrees_with_pyproj() -> None:
    info = sample("RGB.byte.tif")
    model = AffineModel.from_image(info)
    assert model is not None
    assert info.transform is not None
    a, _, c, _, e, f = info.transform
    utm = pyproj.Proj(proj="utm", zone=18, ellps="WGS84")
    expected = utm(c + a * info.width, f + e * info.height, inverse=True)
    [[lon, lat, _]] = model.to_world(np.array([[info.width, info.height]]))
    assert (lon, lat) == pytest.approx(expected, abs=1e-11)


def test_a_real_scene_crosses_the_date_line_and_comes_back() -> None:
    info = sample("cog_dateline.tif")
    model = AffineModel.from_image(info)
    assert model is not None
    pixels = np.array([[0.0, 0.0], [info.width, info.height]])
    world = model.to_world(pixels)
    assert world[0, 0] > 178
    assert world[1, 0] < -178
    np.testing.assert_allclose(model.to_image(world), pixels, atol=1e-6)


def test_a_real_scene_of_another_body_has_no_model() -> None:
    assert AffineModel.from_image(sample("cog_nonearth.tif")) is None


def test_a_real_scene_on_another_datum_is_shifted() -> None:
    info = sample("GeogToWGS84GeoKey5.tif")
    model = AffineModel.from_image(info)
    assert model is not None
    assert info.crs is not None
    assert info.transform is not None
    _, _, c, _, _, f = info.transform
    to = pyproj.Transformer.from_crs(info.crs, "EPSG:4326", always_xy=True)
    [[lon, lat, _]] = model.to_world(np.array([[0.0, 0.0]]))
    assert (lon, lat) == to.transform(c, f)
