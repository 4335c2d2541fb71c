"""Rays that meet the ground: levels, rasters of heights, geoids."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
import rasterio.rpc
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import RPCTransformer

from daskmr.core.imagery import ImageInfo
from daskmr.errors import RequestError
from daskmr.geolocate import on_terrain
from daskmr.geolocate.affine import AffineModel
from daskmr.geolocate.base import Points, SensorModel
from daskmr.geolocate.rpc import RpcModel
from daskmr.geolocate.terrain.height_grid import HeightGrid, cut
from daskmr.geolocate.terrain.models import LevelModel, TerrainModel
from daskmr.testing.contracts_geolocate import SCENE_RPCS, SensorModelContract
from daskmr.testing.images import write_image

WEST, NORTH, CELL, SIZE = 121.44, 25.06, 0.0005, 600
SCENE = RpcModel(rpcs=SCENE_RPCS)
INFO = ImageInfo(
    url="/images/a.tif",
    height=5212,
    width=8819,
    bands=1,
    dtype="uint8",
    driver="GTiff",
    rpcs=SCENE_RPCS,
)
Transform = tuple[float, float, float, float, float, float]
DEGREES: Transform = (CELL, 0.0, WEST, 0.0, -CELL, NORTH)


def hills(x: Points, y: Points) -> Points:
    """Metres at longitudes and latitudes; slopes of a third at most."""
    return 400 + 250 * np.sin((x - 121.5) * 300) * np.cos((y - 25) * 250)


def write_heights(
    path: Path,
    heights: Any,
    *,
    crs: str = "EPSG:4326",
    transform: Transform = DEGREES,
    **creation: Any,
) -> str:
    pixels = np.asarray(heights, dtype=np.float32)[None]
    return str(write_image(path, pixels, crs=crs, transform=transform, **creation))


def cells(transform: Transform = DEGREES, n: int = SIZE) -> tuple[Points, Points]:
    a, _, c, _, e, f = transform
    x, y = np.meshgrid(np.arange(n) + 0.5, np.arange(n) + 0.5)
    return a * x + c, e * y + f


@pytest.fixture(scope="module")
def mountains(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A raster of hills over the scene, in metres above the ellipsoid."""
    return write_heights(tmp_path_factory.mktemp("dem") / "hills.tif", hills(*cells()))


@pytest.fixture(scope="module")
def terrain(mountains: str) -> TerrainModel:
    return over(mountains)


def over(path: str, *, geoid: str | None = None) -> TerrainModel:
    model = on_terrain(SCENE, INFO, path, geoid=geoid, open_raster=rasterio.open)
    assert isinstance(model, TerrainModel)
    return model


def everywhere(n: int = 3000) -> Points:
    return np.random.default_rng(0).uniform(0, 1, (n, 2)) * [INFO.width, INFO.height]


class Placed(SensorModelContract):
    def info(self) -> ImageInfo:
        return INFO

    def test_the_image_gives_the_model(self) -> None:
        assert type(self.make()).from_image(self.info()) is None


class TestTerrain(Placed):
    model: SensorModel

    @pytest.fixture(autouse=True)
    def _made(self, terrain: TerrainModel) -> None:
        self.model = terrain

    def make(self) -> SensorModel:
        return self.model


class TestLevel(Placed):
    def make(self) -> SensorModel:
        return on_terrain(SCENE, INFO, 1500.0, geoid=None, open_raster=rasterio.open)


def test_a_level_replaces_the_height_of_the_model() -> None:
    model = on_terrain(SCENE, INFO, 1500, geoid=None, open_raster=rasterio.open)
    assert model == LevelModel(model=SCENE, height=1500.0)
    pixels = everywhere(10)
    np.testing.assert_array_equal(
        model.to_world(pixels), SCENE.to_world(pixels, np.full(10, 1500.0))
    )
    flat = np.array([[121.5, 25.0]])
    high = np.array([[121.5, 25.0, 1500.0]])
    np.testing.assert_array_equal(model.to_image(flat), SCENE.to_image(high))


def test_every_point_is_on_its_ray_and_on_the_ground(terrain: TerrainModel) -> None:
    pixels = everywhere()
    world = terrain.to_world(pixels)
    np.testing.assert_allclose(SCENE.to_image(world), pixels, atol=1e-6)
    np.testing.assert_allclose(world[:, 2], terrain.ground.at(world), rtol=0, atol=0.0101)
    np.testing.assert_allclose(world[:, 2], hills(*world[:, :2].T), rtol=0, atol=3)
    assert np.ptp(world[:, 2]) > 400


def test_gdal_finds_the_same_ground(terrain: TerrainModel, mountains: str) -> None:
    given_as: dict[str, Any] = {
        f"{name}_{kind}": getattr(SCENE_RPCS, f"{name}_{kind}")
        for name in ("line", "samp", "lat", "long", "height")
        for kind in ("off", "scale")
    }
    for name in ("line_num", "line_den", "samp_num", "samp_den"):
        given_as[f"{name}_coeff"] = list(getattr(SCENE_RPCS, name))
    pixels = everywhere(500)
    options = {"RPC_DEM": mountains, "RPC_HEIGHT": 0, "RPC_PIXEL_ERROR_THRESHOLD": 1e-4}
    with RPCTransformer(rasterio.rpc.RPC(**given_as), RPC_MAX_ITERATIONS=50, **options) as gdal:
        lon, lat = gdal.xy(pixels[:, 1], pixels[:, 0], offset="ul")
    world = terrain.to_world(pixels)
    found = np.isfinite(lon)
    metres = np.hypot((world[:, 0] - lon) * 101_000, (world[:, 1] - lat) * 111_000)[found]
    assert found.mean() > 0.99
    assert metres.max() < 0.05


def test_points_without_a_height_are_seen_on_the_ground(terrain: TerrainModel) -> None:
    world = terrain.to_world(everywhere(100))
    np.testing.assert_allclose(terrain.to_image(world[:, :2]), terrain.to_image(world), atol=0.02)


def test_a_model_without_parallax_only_gets_heights(mountains: str) -> None:
    model = AffineModel(transform=(1e-4, 0.0, 121.5, 0.0, -1e-4, 25.0), crs="EPSG:4326")
    info = ImageInfo(
        url="a", height=500, width=500, bands=1, dtype="uint8", driver="GTiff", crs="EPSG:4326"
    )
    pixels = np.random.default_rng(0).uniform(0, 500, (100, 2))
    world = on_terrain(model, info, mountains, geoid=None, open_raster=rasterio.open).to_world(
        pixels
    )
    np.testing.assert_array_equal(world[:, :2], model.to_world(pixels)[:, :2])
    np.testing.assert_allclose(world[:, 2], hills(*world[:, :2].T), rtol=0, atol=3)


def test_a_geoid_lifts_heights_above_the_sea_to_the_ellipsoid(
    tmp_path: Path, mountains: str, terrain: TerrainModel
) -> None:
    coarse: Transform = (0.25, 0.0, 120.0, 0.0, -0.25, 27.0)
    x, y = cells(coarse, 16)
    geoid = write_heights(tmp_path / "geoid.tif", 20 + (x - 121.5) + (y - 25), transform=coarse)
    lifted = over(mountains, geoid=geoid)
    at = terrain.to_world(everywhere(50))
    rise = lifted.ground.at(at) - terrain.ground.at(at)
    np.testing.assert_allclose(rise, 20 + (at[:, 0] - 121.5) + (at[:, 1] - 25), atol=1e-3)


def test_only_what_lies_under_the_image_is_kept(terrain: TerrainModel) -> None:
    again = pickle.loads(pickle.dumps(terrain))  # noqa: S301
    assert again == terrain
    assert again.ground.heights.dtype == np.float32
    assert again.ground.heights.size < 0.8 * SIZE**2
    assert again != TerrainModel(model=SCENE, ground=HeightGrid(**grid_of([[1.0, 2.0]])))


def grid_of(rows: Any, transform: Transform = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)) -> dict[str, Any]:
    heights = np.array(rows, dtype=np.float64)
    return {
        "heights": heights,
        "transform": transform,
        "crs": "EPSG:4326",
        "low": float(heights.min()),
        "high": float(heights.max()),
    }


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (0.5, 0.5, 1),
        (1, 0.5, 1.5),
        (1, 1.5, 2.5),
        (1.5, 0, 2.5),
        (1.5, 1.5, 3),
        (2.5, 2.5, 4),
        (0, 0, 0),
        (2, 2, 4),
    ],
)
def test_published_heights_between_samples(x: float, y: float, expected: float) -> None:
    grid = HeightGrid(**grid_of([[0, 1, 4], [1, 2, 3], [2, 3, 4]]))
    # Published places count from the centre of the first sample.
    [found] = grid.at(np.array([[x + 0.5, y + 0.5]]))
    assert found == pytest.approx(expected)


def test_a_published_tile_is_read_at_the_centres_of_its_posts() -> None:
    step = 1 / 3600
    row = np.broadcast_to(10.0 * np.arange(3601), (3601, 3601))
    transform = (step, 0.0, 30 - step / 2, 0.0, -step, 41 + step / 2)
    grid = HeightGrid(heights=row, transform=transform, crs="EPSG:4326", low=0, high=36000)
    assert grid.at(np.array([[30.0277777778, 40.5]])) == pytest.approx(1000.0, abs=1e-4)


def test_beside_the_raster_there_is_no_ground() -> None:
    grid = HeightGrid(**grid_of([[1.0, 2.0], [3.0, 4.0]]))
    places = np.array([[0, 0], [2, 2], [-0.01, 1], [1, 2.01], [np.nan, 1], [1, np.inf]])
    found = grid.at(places)
    np.testing.assert_array_equal(found, [1.0, 4.0, np.nan, np.nan, np.nan, np.nan])


@given(seed=st.integers(0, 2**32 - 1), turn=st.floats(0, 6.28), scale=st.floats(0.001, 0.1))
def test_a_plane_is_read_as_a_plane_on_any_grid(*, seed: int, turn: float, scale: float) -> None:
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    transform = (cos, -sin, 10.0, sin, cos, 45.0)
    col, row = np.meshgrid(np.arange(30) + 0.5, np.arange(20) + 0.5)
    x, y = cos * col - sin * row + 10, sin * col + cos * row + 45
    grid = HeightGrid(**grid_of(100 * x - 50 * y, transform))
    inner = np.random.default_rng(seed).uniform([1, 1], [29, 19], (40, 2)).T
    places = np.stack([cos * inner[0] - sin * inner[1], sin * inner[0] + cos * inner[1]], axis=1)
    places += [10, 45]
    np.testing.assert_allclose(
        grid.at(places), 100 * places[:, 0] - 50 * places[:, 1], rtol=0, atol=1e-6
    )


def test_a_raster_in_metres_is_read_as_well(tmp_path: Path, terrain: TerrainModel) -> None:
    utm: Transform = (50.0, 0.0, 340_000.0, 0.0, -50.0, 2_780_000.0)
    x, y = cells(utm, 700)
    lon, lat = pyproj.Proj(proj="utm", zone=51, ellps="WGS84")(x, y, inverse=True)
    path = write_heights(tmp_path / "utm.tif", hills(lon, lat), crs="EPSG:32651", transform=utm)
    pixels = everywhere(200)
    found = over(path).to_world(pixels)
    expected = terrain.to_world(pixels)
    np.testing.assert_allclose(found[:, 2], expected[:, 2], rtol=0, atol=4)
    np.testing.assert_allclose(SCENE.to_image(found), pixels, atol=1e-6)


def test_voids_take_the_heights_around_them_and_the_sea_is_flat(tmp_path: Path) -> None:
    heights = np.full((SIZE, SIZE), 300.0)
    heights[250:260, 250:260] = -32768
    path = write_heights(tmp_path / "holes.tif", heights, nodata=-32768)
    grid = over(path).ground
    assert (grid.low, grid.high) == (300.0, 300.0)
    nothing = np.full((SIZE, SIZE), -32768.0)
    path = write_heights(tmp_path / "sea.tif", nothing, nodata=-32768)
    assert over(path).ground.high == 0.0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: str(folder / "none.tif"), r"none\.tif cannot be read"),
        (
            lambda folder: write_heights(
                folder / "far.tif", np.zeros((9, 9)), transform=(0.1, 0.0, 10.0, 0.0, -0.1, 50.0)
            ),
            r"far\.tif does not lie under the image",
        ),
        (
            lambda folder: str(write_image(folder / "a.tif", np.zeros((1, 9, 9), np.float32))),
            r"a\.tif has no CRS on the Earth",
        ),
        (
            lambda folder: write_heights(
                folder / "mars.tif", np.zeros((9, 9)), crs="IAU_2015:49910"
            ),
            r"mars\.tif has no CRS on the Earth",
        ),
    ],
)
def test_a_raster_that_cannot_be_used_is_refused(
    tmp_path: Path, make: Callable[[Path], str], said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        over(make(tmp_path))


def test_heights_in_feet_are_refused(tmp_path: Path) -> None:
    path = write_heights(tmp_path / "feet.tif", hills(*cells()))
    with rasterio.open(path, "r+") as dataset:
        dataset.units = ("ft",)
    with pytest.raises(RequestError, match="is in 'ft', not in metres"):
        over(path)


def test_a_geoid_that_lies_elsewhere_is_refused(tmp_path: Path, mountains: str) -> None:
    small: Transform = (0.1, 0.0, 121.5, 0.0, -0.1, 25.0)
    geoid = write_heights(tmp_path / "geoid.tif", np.zeros((3, 3)), transform=small)
    with pytest.raises(RequestError, match=r"geoid .*geoid\.tif does not cover .*hills\.tif"):
        over(mountains, geoid=geoid)


def test_rays_that_miss_the_raster_have_no_place(tmp_path: Path) -> None:
    half: Transform = (CELL, 0.0, SCENE_RPCS.long_off, 0.0, -CELL, NORTH)
    terrain = over(write_heights(tmp_path / "east.tif", np.full((400, 400), 500.0), transform=half))
    world = terrain.to_world(np.array([[8000.0, 2000.0], [1000.0, 2000.0]]))
    assert np.isfinite(world).all(axis=1).tolist() == [True, False]
    assert np.isnan(world[1]).all()


def aslant(parallax: float) -> RpcModel:
    """A camera that looks far to the side."""
    samp = list(SCENE_RPCS.samp_num)
    samp[3] = -parallax
    return RpcModel(rpcs=replace(SCENE_RPCS, samp_num=tuple(samp)))


def test_cliffs_are_met_where_the_ray_comes_down_first(tmp_path: Path) -> None:
    # 500 m of height move a point by half of 0.1 degrees, 5 km; the wall is 800 m high.
    model = aslant(0.5)
    lon, _ = cells()
    heights = np.where((lon > 121.57) & (lon < 121.6), 900.0, 100.0)
    path = write_heights(tmp_path / "wall.tif", heights)
    terrain = on_terrain(model, INFO, path, geoid=None, open_raster=rasterio.open)
    assert isinstance(terrain, TerrainModel)
    row = np.stack([np.linspace(3000, 7000, 400), np.full(400, 2600.0)], axis=1)
    world = terrain.to_world(row)
    found = np.isfinite(world).all(axis=1)
    assert found.all()
    np.testing.assert_allclose(model.to_image(world), row, atol=1e-5)
    np.testing.assert_allclose(terrain.ground.at(world), world[:, 2], rtol=0, atol=0.0101)
    scanned = terrain._settle(row, np.full((400, 3), np.nan))
    assert len(scanned) > 0
    levels = np.linspace(900.02, 100, 4000)
    for pixel, place in zip(row[scanned][::10], world[scanned][::10], strict=True):
        ray = model.to_world(np.tile(pixel, (4000, 1)), levels)
        below = terrain.ground.at(ray) >= ray[:, 2]
        assert abs(levels[below.argmax()] - place[2]) < 0.5


def test_a_piece_is_cut_with_a_margin(mountains: str) -> None:
    ground = np.array([[121.5, 25.0], [121.51, 24.99], [np.nan, np.nan]])
    grid = cut(mountains, ground, geoid=None, open_raster=rasterio.open)
    assert 20 <= min(grid.heights.shape) <= max(grid.heights.shape) <= 30
    np.testing.assert_allclose(grid.at(ground[:2]), hills(*ground[:2].T), rtol=0, atol=3)
