import numpy as np
import pytest
import shapely
from shapely.geometry.base import BaseGeometry

from daskmr.core.grid import Size
from daskmr.errors import RequestError
from daskmr.geolocate.affine import AffineModel
from daskmr.geolocate.base import SensorModel
from daskmr.geolocate.rpc import RpcModel
from daskmr.geolocate.table import roi_to_pixels
from daskmr.geolocate.terrain.models import LevelModel
from daskmr.testing.contracts_geolocate import SCENE_RPCS

PIXEL = 4.487879136029412e-06
DEGREES = AffineModel(
    transform=(PIXEL, 0.0, -43.681640625, 0.0, -PIXEL, -22.939453125), crs="EPSG:4326"
)
SIZE = Size(height=8000, width=12000)
UTM = AffineModel(
    transform=(10.0, 0.0, 400_000.0, 0.0, -10.0, 8_000_000.0),
    crs="EPSG:32631",
    centre=(6000.0, 4000.0),
)


def ground(model: AffineModel, *pixels: tuple[float, float]) -> list[list[float]]:
    found: list[list[float]] = model.to_world(np.array(pixels, dtype=float))[:, :2].tolist()
    return found


def test_a_polygon_of_degrees_falls_on_whole_pixels() -> None:
    corners = [
        (-43.681640625, -22.939453125),
        (-43.59375, -22.939453125),
        (-43.59375, -23.02734375),
        (-43.681640625, -23.02734375),
    ]
    found = roi_to_pixels(shapely.Polygon(corners), DEGREES)
    assert shapely.box(0, 0, 19584, 19584).symmetric_difference(found).area < 0.49
    assert found.bounds == pytest.approx((0, 0, 19584, 19584), abs=0.01)


def test_heights_of_the_area_do_not_matter() -> None:
    flat = shapely.box(-43.68, -23.0, -43.6, -22.95)
    assert roi_to_pixels(shapely.force_3d(flat, 10.0), DEGREES).equals(roi_to_pixels(flat, DEGREES))


def test_an_edge_follows_its_parallel_over_the_image() -> None:
    # On this UTM image a parallel sags between its ends: corners alone would be far off.
    (west, north), (east, _) = ground(UTM, (0, 100), (12000, 100))
    area = shapely.box(west, north - 0.2, east, north)
    found = roi_to_pixels(area, UTM)
    lon = np.linspace(west, east, 50)[1:-1]
    edge = UTM.to_image(np.stack([lon, np.full_like(lon, north)], axis=1))
    distances = shapely.distance(shapely.points(edge), found.boundary)
    assert distances.max() < 0.05
    coarse = roi_to_pixels(area, UTM, step_px=1e9)
    assert shapely.distance(shapely.points(edge), coarse.boundary).max() > 5


def test_no_edge_is_longer_than_a_step() -> None:
    area = shapely.box(2.2, 71.6, 2.9, 71.8)
    ring = shapely.get_coordinates(roi_to_pixels(area, UTM, step_px=50))
    assert np.hypot(*np.diff(ring, axis=0).T).max() <= 50 * 1.01


def test_holes_and_parts_are_kept() -> None:
    hole = ground(UTM, (1200, 1200), (1800, 1200), (1800, 1800), (1200, 1800))
    outline = ground(UTM, (1000, 1000), (2000, 1000), (2000, 2000), (1000, 2000))
    other = ground(UTM, (5000, 5000), (5500, 5000), (5500, 5500), (5000, 5500))
    area = shapely.MultiPolygon([shapely.Polygon(outline, [hole]), shapely.Polygon(other)])
    for size in (None, SIZE):
        found = roi_to_pixels(area, UTM, size=size)
        assert found.geom_type == "MultiPolygon"
        assert found.area == pytest.approx(1000**2 - 600**2 + 500**2, rel=1e-3)
        assert not found.contains(shapely.Point(1500, 1500))
        assert found.contains(shapely.Point(1100, 1500))
        assert found.contains(shapely.Point(5250, 5250))


@pytest.mark.parametrize("size", [None, SIZE])
def test_an_area_beside_the_image_does_not_touch_it(size: Size | None) -> None:
    corners = ground(UTM, (-2000, -2000), (-1500, -2000), (-1500, -1500), (-2000, -1500))
    found = roi_to_pixels(shapely.Polygon(corners), UTM, size=size)
    assert not found.intersects(shapely.box(0, 0, 12000, 8000))
    if size is None:
        assert found.bounds == pytest.approx((-2000, -2000, -1500, -1500), abs=2)


def test_the_whole_world_covers_the_image() -> None:
    world = shapely.box(-180, -90, 180, 90)
    found = roi_to_pixels(world, UTM, size=SIZE)
    assert found.contains(shapely.box(0, 0, 12000, 8000))


def test_an_area_on_the_other_side_of_the_world_is_empty() -> None:
    assert roi_to_pixels(shapely.box(-178, -20, -177, -19), UTM, size=SIZE).is_empty


def test_an_area_of_either_sign_of_longitude_meets_an_image_on_the_date_line() -> None:
    model = AffineModel(
        transform=(0.001, 0.0, 175.0, 0.0, -0.001, 4.0), crs="EPSG:4326", centre=(6000.0, 4000.0)
    )
    west = roi_to_pixels(shapely.box(178, -1, 180, 1), model, size=SIZE)
    east = roi_to_pixels(shapely.box(-180, -1, -178, 1), model, size=SIZE)
    over = roi_to_pixels(shapely.box(178, -1, 182, 1), model, size=SIZE)
    assert west.bounds == pytest.approx((3000, 3000, 5000, 5000))
    assert east.bounds == pytest.approx((5000, 3000, 7000, 5000))
    assert over.bounds == pytest.approx((3000, 3000, 7000, 5000))


def test_the_pole_inside_a_polar_image_is_covered() -> None:
    polar = AffineModel(
        transform=(250.0, 0.0, -1_400_000.0, 0.0, -250.0, 1_000_000.0), crs="EPSG:3413"
    )
    found = roi_to_pixels(shapely.box(-180, 60, 180, 90), polar, size=SIZE)
    seen = found.intersection(shapely.box(0, 0, 12000, 8000))
    assert seen.area == pytest.approx(12000 * 8000, rel=1e-3)


@pytest.mark.parametrize("shape", [shapely.Point(1, 2), shapely.LineString([(0, 0), (1, 1)])])
def test_only_areas_are_areas_of_interest(shape: BaseGeometry) -> None:
    with pytest.raises(RequestError, match=f"region of interest is a {shape.geom_type}"):
        roi_to_pixels(shape, UTM)


def test_an_area_that_crosses_itself_is_mended() -> None:
    bow = ground(UTM, (1000, 1000), (2000, 2000), (2000, 1000), (1000, 2000))
    found = roi_to_pixels(shapely.Polygon(bow), UTM)
    assert found.is_valid
    assert found.area == pytest.approx(500_000, rel=1e-2)


@pytest.mark.parametrize(
    "model",
    [RpcModel(rpcs=SCENE_RPCS), LevelModel(model=RpcModel(rpcs=SCENE_RPCS), height=1500.0)],
)
def test_an_area_is_found_through_rpcs_at_the_height_of_the_ground(model: SensorModel) -> None:
    corners = np.array([[1000.0, 500.0], [3000.0, 500.0], [3000.0, 4000.0], [1000.0, 4000.0]])
    area = shapely.Polygon(model.to_world(corners)[:, :2])
    size = Size(height=5212, width=8819)
    found = roi_to_pixels(area, model, size=size)
    expected = shapely.Polygon(corners)
    assert expected.symmetric_difference(found).area < 1e-3 * expected.area
    world = roi_to_pixels(shapely.box(-180, -90, 180, 90), model, size=size)
    assert world.contains(shapely.box(0, 0, 8819, 5212))
