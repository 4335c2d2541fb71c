"""Thin-plate splines through ground control points."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.transform import GCPTransformer
from scipy.interpolate import RBFInterpolator

from daskmr.core.imagery import ControlPoints, ImageInfo
from daskmr.errors import ImageError
from daskmr.geolocate.base import Points, SensorModel
from daskmr.geolocate.gcp import GcpModel
from daskmr.image import open_image
from daskmr.testing.contracts_geolocate import SensorModelContract

WIDTH, HEIGHT = 1200, 800
ORIGIN = np.array([10.0, 50.0])


def bent(pixels: Points) -> Points:
    """A smooth way to the ground, no plane one."""
    x, y = pixels.T / [[WIDTH], [HEIGHT]]
    return np.stack([x + 0.1 * y + 0.05 * np.sin(3 * y), -y + 0.04 * x * x + 0.02 * x * y], axis=1)


def lattice(n: int = 5) -> Points:
    x, y = np.meshgrid(np.linspace(0, WIDTH, n), np.linspace(0, HEIGHT, n))
    return np.stack([x.ravel(), y.ravel()], axis=1)


def points(pixels: Points, ground: Points, crs: str = "EPSG:4326") -> ControlPoints:
    placed = np.column_stack([ground, np.zeros(len(ground))])[:, :3]
    return ControlPoints(
        source="GCPs",
        pixels=tuple((float(x), float(y)) for x, y in pixels),
        ground=tuple((float(x), float(y), float(z)) for x, y, z in placed),
        crs=crs,
    )


def image(gcps: ControlPoints | None, **changes: Any) -> ImageInfo:
    info = ImageInfo(
        url="/images/a.tif",
        height=HEIGHT,
        width=WIDTH,
        bands=1,
        dtype="uint8",
        driver="GTiff",
        gcps=gcps,
    )
    return replace(info, **changes)


def built(info: ImageInfo) -> GcpModel:
    model = GcpModel.from_image(info)
    assert model is not None
    return model


class GcpContract(SensorModelContract):
    crs = "EPSG:4326"
    origin = (10.0, 50.0)
    size = 1.0

    def info(self) -> ImageInfo:
        pixels = lattice()
        return image(points(pixels, bent(pixels) * self.size + self.origin, self.crs))

    def make(self) -> SensorModel:
        return built(self.info())


class TestDegrees(GcpContract):
    pass


class TestUtm(GcpContract):
    crs, origin, size = "EPSG:32631", (500_000.0, 5_000_000.0), 30_000.0


class TestOldDatum(GcpContract):
    crs, origin, size = "EPSG:31467", (3_500_000.0, 5_600_000.0), 3_000.0


class TestOverTheDateLine(GcpContract):
    origin = (179.5, -17.0)


class TestAroundThePole(SensorModelContract):
    def info(self) -> ImageInfo:
        pixels = lattice()
        plane = bent(pixels) * 2_000_000 + [-1_000_000, 900_000]
        to = pyproj.Transformer.from_crs("EPSG:3413", "EPSG:4326", always_xy=True)
        return image(points(pixels, np.stack(to.transform(*plane.T), axis=1)))

    def make(self) -> SensorModel:
        return built(self.info())


def test_the_spline_goes_through_every_control_point() -> None:
    pixels = lattice()
    ground = np.column_stack([bent(pixels) + ORIGIN, np.arange(25.0)])
    world = built(image(points(pixels, ground))).to_world(pixels)
    np.testing.assert_allclose(world, ground, rtol=0, atol=1e-9)


def test_the_spline_agrees_with_scipy() -> None:
    pixels = lattice()
    ground = bent(pixels) + ORIGIN
    random = np.random.default_rng(0)
    at = random.uniform(-100, 1300, (500, 2))
    expected = RBFInterpolator(pixels / [WIDTH, HEIGHT], ground, kernel="thin_plate_spline")(
        at / [WIDTH, HEIGHT]
    )
    found = built(image(points(pixels, ground))).to_world(at)[:, :2]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def gdal_spline(pixels: Points, ground: Points, at: Points) -> Points:
    """GDAL's spline through the same points.

    GDAL solves its spline from the ground to the image for the way there; with both exchanged, its
    way back is the plain spline that we have. It lets x and y weigh what their units say.
    """
    span = np.ptp(pixels, axis=0)
    controls = [
        GroundControlPoint(row=lat, col=lon, x=x, y=y)
        for (x, y), (lon, lat) in zip(pixels / span, ground, strict=True)
    ]
    with GCPTransformer(controls, tps=True) as transformer:
        lat, lon = transformer.rowcol(*(at / span).T, op=lambda values: values)
    return np.stack([lon, lat], axis=1)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(5, 40))
def test_any_control_points_agree_with_gdal(*, seed: int, n: int) -> None:
    random = np.random.default_rng(seed)
    pixels = random.uniform(0, 1, (n, 2)) * [WIDTH, HEIGHT]
    ground = bent(pixels) + ORIGIN
    model = built(image(points(pixels, ground)))
    at = random.uniform(0, 1, (50, 2)) * [WIDTH, HEIGHT]
    found = model.to_world(at)
    expected = gdal_spline(pixels, ground, at)
    np.testing.assert_allclose(found[:, :2], expected, rtol=0, atol=1e-7)
    seen = model.to_image(found)
    ok = np.isfinite(seen).all(axis=1)
    np.testing.assert_allclose(model.to_world(seen[ok])[:, :2], found[ok, :2], rtol=0, atol=1e-9)


def test_control_points_in_another_crs_are_brought_to_wgs_84() -> None:
    pixels = lattice()
    utm = bent(pixels) * 30_000 + [500_000, 5_000_000]
    world = built(image(points(pixels, utm, "EPSG:32631"))).to_world(pixels)
    projection = pyproj.Proj(proj="utm", zone=31, ellps="WGS84")
    lon, lat = projection(utm[:, 0], utm[:, 1], inverse=True)
    np.testing.assert_allclose(world[:, :2], np.stack([lon, lat], axis=1), rtol=0, atol=1e-10)


def test_control_points_that_share_a_pixel_become_one() -> None:
    pixels = lattice()
    ground = bent(pixels) + ORIGIN
    twice = points(np.vstack([pixels, pixels[:1]]), np.vstack([ground, ground[:1] + 0.02]))
    world = built(image(twice)).to_world(pixels)
    np.testing.assert_allclose(world[0, :2], ground[0] + 0.01, rtol=0, atol=1e-9)
    np.testing.assert_allclose(world[1:, :2], ground[1:], rtol=0, atol=1e-9)


def test_control_points_on_a_line_are_refused() -> None:
    pixels = np.stack([np.linspace(0, WIDTH, 6), np.linspace(0, HEIGHT, 6)], axis=1)
    with pytest.raises(ImageError, match=r"/images/a\.tif: 6 GCPs that span no area"):
        GcpModel.from_image(image(points(pixels, bent(pixels))))


def test_control_points_of_a_crs_that_is_none_are_refused() -> None:
    with pytest.raises(ImageError, match="nonsense"):
        GcpModel.from_image(image(points(lattice(), bent(lattice()), "nonsense")))


def test_control_points_that_are_not_finite_are_refused() -> None:
    ground = bent(lattice())
    ground[3, 0] = np.nan
    with pytest.raises(ImageError, match="not finite"):
        GcpModel.from_image(image(points(lattice(), ground)))


@pytest.mark.parametrize("crs", ["", "IAU_2015:49910"])
def test_control_points_that_are_not_on_the_earth_give_no_model(crs: str) -> None:
    assert GcpModel.from_image(image(points(lattice(), bent(lattice()), crs))) is None
    assert GcpModel.from_image(image(None)) is None


def test_control_points_far_beside_the_image_give_no_model() -> None:
    pixels = lattice()
    assert GcpModel.from_image(image(points(pixels + 50_000, bent(pixels)))) is None
    assert GcpModel.from_image(image(points(pixels + 500, bent(pixels)))) is not None


def test_real_control_points_agree_with_gdal(imagery: Path) -> None:
    info = open_image(imagery / "gcp/cog_gcps.tif").info
    assert info.gcps is not None
    assert len(info.gcps.pixels) == 210
    model = built(info)
    random = np.random.default_rng(0)
    at = random.uniform(0, 1, (2000, 2)) * [info.width, info.height]
    world = model.to_world(at)
    pixels, ground = np.array(info.gcps.pixels), np.array(info.gcps.ground)[:, :2]
    expected = gdal_spline(pixels, ground, at)
    np.testing.assert_allclose(world[:, :2], expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(model.to_image(world), at, rtol=0, atol=1e-6)


def test_half_of_real_control_points_tell_where_the_others_are(imagery: Path) -> None:
    info = open_image(imagery / "gcp/cog_gcps.tif").info
    assert info.gcps is not None
    half, rest = (
        replace(info.gcps, pixels=info.gcps.pixels[k::2], ground=info.gcps.ground[k::2])
        for k in (0, 1)
    )
    world = built(replace(info, gcps=half)).to_world(np.array(rest.pixels))
    known = np.array(rest.ground)
    geod = pyproj.Geod(ellps="WGS84")
    metres = geod.inv(world[:, 0], world[:, 1], known[:, 0], known[:, 1])[2]
    assert np.median(metres) < 2


def test_real_control_points_over_the_date_line_stay_together(imagery: Path) -> None:
    info = open_image(imagery / "gcp/test_gcp_antimeridian_unwrap.vrt").info
    assert info.gcps is not None
    model = built(info)
    pixels, known = np.array(info.gcps.pixels), np.array(info.gcps.ground)
    world = model.to_world(pixels)
    turns = (world[:, 0] - known[:, 0]) / 360
    np.testing.assert_allclose(turns, np.round(turns), rtol=0, atol=1e-10)
    np.testing.assert_allclose(world[:, 1], known[:, 1], rtol=0, atol=1e-8)
    np.testing.assert_allclose(model.to_image(world), pixels, rtol=0, atol=1e-6)
