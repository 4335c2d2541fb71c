"""Features on the antimeridian and round the poles."""

import math

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core import features as table
from daskmr.geolocate._meridian import cut
from daskmr.geolocate.affine import AffineModel
from daskmr.geolocate.base import SensorModel
from daskmr.geolocate.table import to_world

DATE_LINE = AffineModel(
    transform=(0.001, 0.0, 179.0, 0.0, -0.001, 1.0), crs="EPSG:4326", centre=(1000.0, 1000.0)
)
POLAR = AffineModel(transform=(100.0, 0.0, -1e5, 0.0, -100.0, 1e5), crs="EPSG:3413")
SOUTH = AffineModel(transform=(100.0, 0.0, -1e5, 0.0, -100.0, 1e5), crs="EPSG:3031")
WORLD = AffineModel(transform=(0.1, 0.0, -180.0, 0.0, -0.1, 90.0), crs="EPSG:4326")


def placed(model: SensorModel, *shapes: shapely.Geometry) -> gpd.GeoDataFrame:
    array = np.empty(len(shapes), dtype=object)
    array[:] = shapes
    n = len(shapes)
    columns = {
        "feature_id": [f"id{i}" for i in range(n)], "label": ["boat"] * n, "score": [0.5] * n,
        "tile_row": [0] * n, "tile_col": [0] * n, "answer_index": list(range(n)),
        "inferred_at": [""] * n, "classes": ["[]"] * n, "properties": ["{}"] * n,
    }  # fmt: skip
    return to_world(table.table(array, shapely.bounds(array).reshape(-1, 4), columns), model)


def test_a_box_across_the_antimeridian_is_two() -> None:
    world = placed(DATE_LINE, shapely.box(900, 0, 1200, 100), shapely.box(0, 0, 100, 100))
    crossing, plain = world.geometry
    west, east = sorted(crossing.geoms, key=lambda part: part.bounds[0])
    assert west.bounds == pytest.approx((-180.0, 0.9, -179.8, 1.0))
    assert east.bounds == pytest.approx((179.9, 0.9, 180.0, 1.0))
    assert not crossing.has_z
    assert all(part.exterior.is_ccw for part in crossing.geoms)
    assert plain.geom_type == "Polygon"
    assert world.center_longitude[0] == pytest.approx(-179.95)


def test_lines_and_holes_are_cut_and_points_are_not() -> None:
    ring = shapely.Polygon(
        [(900, 0), (1200, 0), (1200, 300), (900, 300)],
        [[(950, 50), (1150, 50), (1150, 250), (950, 250)]],
    )
    line, polygon, points = placed(
        DATE_LINE,
        shapely.LineString([(900, 0), (1200, 300)]),
        ring,
        shapely.MultiPoint([(900, 0), (1200, 0)]),
    ).geometry
    assert (line.geom_type, len(line.geoms)) == ("MultiLineString", 2)
    assert line.length == pytest.approx(math.hypot(0.3, 0.3))
    assert polygon.area == pytest.approx(0.3 * 0.3 - 0.2 * 0.2)
    assert points.geom_type == "MultiPoint"


def test_a_shape_as_wide_as_most_of_the_world_is_no_crossing() -> None:
    (shape,) = placed(WORLD, shapely.box(100, 100, 3500, 200)).geometry
    assert shape.geom_type == "Polygon"
    assert shape.bounds == pytest.approx((-170.0, 70.0, 170.0, 80.0))


@pytest.mark.parametrize(("model", "pole"), [(POLAR, 90.0), (SOUTH, -90.0)])
def test_a_shape_round_a_pole_reaches_it(model: SensorModel, pole: float) -> None:
    (shape,) = placed(model, shapely.box(900, 900, 1100, 1100).segmentize(5)).geometry
    west, south, east, north = shape.bounds
    assert (west, east) == pytest.approx((-180.0, 180.0))
    assert pole in {south, north}
    assert shape.is_valid
    near = math.copysign(89.95, pole)
    assert shapely.covers(shape, shapely.points([(-179.9, near), (0, near), (90, near)])).all()
    far = math.copysign(89.8, pole)
    assert not shapely.intersects(shape, shapely.points([(-179.9, far), (0, far)])).any()


@given(
    st.floats(-0.9, 0.9), st.floats(0.01, 1.0), st.floats(-80, 80), st.floats(0.01, 5.0),
    st.floats(0, 3.1),
)  # fmt: skip
def test_parts_together_are_the_shape(
    offset: float, half: float, lat: float, tall: float, turn: float
) -> None:
    centre = 180.0 + offset
    angles = turn + np.array([0.3, 1.5, 2.7, 4.1, 5.6])
    lon, lat_ = centre + half * np.cos(angles), lat + tall * np.sin(angles)
    whole = shapely.Polygon(np.column_stack([lon, lat_, np.full(5, 7.0)]))
    wrapped = shapely.Polygon(np.column_stack([(lon + 180) % 360 - 180, lat_, np.full(5, 7.0)]))
    (found,) = cut(np.array([wrapped]), np.array([(centre + 180) % 360 - 180]))
    assert found.is_valid
    assert found.area == pytest.approx(whole.area, rel=1e-6)
    west, _, east, _ = shapely.bounds(shapely.get_parts(found)).T
    assert (east - west <= 2.0 + 1e-9).all()
    assert np.abs([west, east]).max() <= 180.0
    assert np.allclose(shapely.get_coordinates(found, include_z=True)[:, 2], 7.0)
