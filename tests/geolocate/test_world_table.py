import logging
from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry.base import BaseGeometry

from daskmr.core import features as table
from daskmr.geolocate.affine import AffineModel
from daskmr.geolocate.base import SensorModel
from daskmr.geolocate.table import to_world
from daskmr.geolocate.terrain.models import LevelModel

MODEL = AffineModel(transform=(3e-6, 0.0, 5.4, 0.0, -2e-6, 50.0), crs="EPSG:4326")
COLUMNS = [
    "feature_id",
    "label",
    "score",
    "geometry",
    "image_geometry",
    *table.IMAGE_BOX,
    "center_longitude",
    "center_latitude",
    "tile_row",
    "tile_col",
    "inferred_at",
    "classes",
    "properties",
]


def pixels(geometries: Sequence[BaseGeometry | None], boxes: Any = None) -> gpd.GeoDataFrame:
    array = np.empty(len(geometries), dtype=object)
    array[:] = geometries
    found = shapely.bounds(array).reshape(-1, 4) if boxes is None else np.array(boxes, dtype=float)
    n = len(geometries)
    columns = {
        "feature_id": [f"id{i}" for i in range(n)],
        "label": ["boat"] * n,
        "score": [0.25 + i for i in range(n)],
        "tile_row": [512] * n,
        "tile_col": [1024] * n,
        "answer_index": list(range(n)),
        "inferred_at": ["2026-01-01T00:00:00Z"] * n,
        "classes": ["[]"] * n,
        "properties": ['{"a":1}'] * n,
    }
    return table.table(array, found, columns)


@pytest.mark.parametrize("model", [MODEL, None])
@pytest.mark.parametrize("n", [0, 2])
def test_the_columns_are_the_same_with_and_without_a_model_or_rows(
    model: SensorModel | None, n: int
) -> None:
    world = to_world(pixels([shapely.box(0, 0, 9, 9)] * n), model)
    assert list(world.columns) == COLUMNS
    assert len(world) == n
    assert world.geometry.name == "geometry"
    assert world.image_geometry.crs is None
    assert (world.crs == "EPSG:4326") if model else (world.crs is None)
    kinds = {name: str(kind) for name, kind in world.dtypes.items()}
    assert kinds["geometry"] == kinds["image_geometry"] == "geometry"
    assert {kinds[side] for side in table.IMAGE_BOX} == {"float64"}
    assert kinds["inferred_at"] == "datetime64[ms, UTC]"
    assert kinds["score"] == kinds["center_longitude"] == kinds["center_latitude"] == "float64"
    assert kinds["tile_row"] == kinds["tile_col"] == "int64"


def test_the_other_columns_keep_their_values_and_types() -> None:
    features = pixels([shapely.Point(1, 2), shapely.Point(3, 4)])
    world = to_world(features, MODEL)
    for name in ["feature_id", "label", "score", "tile_row", "properties"]:
        assert world[name].equals(features[name])
        assert world[name].dtype == features[name].dtype
    assert world["inferred_at"].tolist() == [pd.Timestamp("2026-01-01T00:00:00Z")] * 2


def test_the_index_is_kept() -> None:
    features = pixels([shapely.Point(1, 2), shapely.Point(3, 4), shapely.Point(5, 6)])
    world = to_world(features[[True, False, True]], MODEL)
    assert world.index.tolist() == [0, 2]
    assert [shape.x for shape in world.image_geometry] == [1.0, 5.0]
    assert world.center_longitude.tolist() == pytest.approx([5.4 + 3e-6, 5.4 + 15e-6], abs=1e-13)


def test_a_box_becomes_the_polygon_of_its_corners() -> None:
    world = to_world(pixels([shapely.box(450, 480, 550, 520)]), MODEL)
    corners = shapely.get_coordinates(world.geometry.iloc[0])
    expected = {(5.40135, 49.99896), (5.40165, 49.99896), (5.40165, 49.99904), (5.40135, 49.99904)}
    assert {(round(x, 9), round(y, 9)) for x, y in corners} == expected
    assert not world.has_z.any()
    assert world[table.IMAGE_BOX].iloc[0].tolist() == [450.0, 480.0, 550.0, 520.0]
    assert world.center_longitude.iloc[0] == pytest.approx(5.4015, abs=1e-12)
    assert world.center_latitude.iloc[0] == pytest.approx(49.999, abs=1e-12)


def test_nothing_is_rounded() -> None:
    world = to_world(pixels([shapely.Point(500.123456789, 500)]), MODEL)
    point = world.geometry.iloc[0]
    assert (point.x, point.y) == pytest.approx((5.401500370370367, 49.999), abs=1e-14)


def test_the_box_of_the_model_is_kept_beside_a_point() -> None:
    world = to_world(pixels([shapely.Point(500, 500)], [[450, 480, 550, 520]]), MODEL)
    assert world[table.IMAGE_BOX].iloc[0].tolist() == [450.0, 480.0, 550.0, 520.0]
    assert world.geometry.iloc[0].geom_type == "Point"


def test_a_box_and_an_outline_of_a_tile_each_have_their_own_place() -> None:
    # A detector that answers a centred box of a fifth of the tile, and an outline off its centre.
    x0, y0, tile = 1024.0, 512.0, 512.0
    box = [x0 + 0.4 * tile, y0 + 0.4 * tile, x0 + 0.6 * tile, y0 + 0.6 * tile]
    outline = shapely.Point(x0 + 281.6, y0 + 281.6).buffer(60, quad_segs=4)
    world = to_world(pixels([outline], [box]), MODEL)
    np.testing.assert_allclose(world[table.IMAGE_BOX].iloc[0], [1228.8, 716.8, 1331.2, 819.2])
    assert world.center_longitude.iloc[0] == pytest.approx(5.4 + 3e-6 * 1305.6, abs=1e-12)
    assert world.center_latitude.iloc[0] == pytest.approx(50 - 2e-6 * 793.6, abs=1e-12)


LINE = shapely.LineString([(0, 0), (5, 7), (9, 1)])
HOLED = shapely.Polygon(
    [(0, 0), (0, 30), (30, 30), (30, 0)], [[(10, 10), (10, 20), (20, 20), (20, 10)]]
)


@pytest.mark.parametrize(
    "shape",
    [
        shapely.MultiPoint([(0, 0), (5, 7)]),
        LINE,
        shapely.MultiLineString([[(0, 0), (5, 7)], [(1, 1), (2, 2), (3, 1)]]),
        HOLED,
        shapely.MultiPolygon([HOLED, shapely.box(40, 40, 50, 50)]),
        shapely.GeometryCollection([shapely.Point(1, 1), HOLED, LINE]),
        shapely.Polygon([(0, 0, 5), (0, 9, 5), (9, 9, 5)]),
    ],
    ids=lambda shape: shape.geom_type,
)
def test_every_kind_of_geometry_keeps_its_structure(shape: BaseGeometry) -> None:
    placed = to_world(pixels([shape]), MODEL).geometry.iloc[0]
    assert placed.geom_type == shape.geom_type
    assert not placed.has_z  # nothing tells how high the ground is
    level = LevelModel(model=MODEL, height=-12.5)
    high = to_world(pixels([shape]), level).geometry.iloc[0]
    assert (shapely.get_coordinates(high, include_z=True)[:, 2] == -12.5).all()
    assert shapely.equals_exact(shapely.force_2d(high), placed, tolerance=0)

    def back(points: Any) -> Any:
        return np.rint((points - [5.4, 50.0]) / [3e-6, -2e-6])

    returned = shapely.transform(placed, back)
    assert shapely.equals_exact(returned, shapely.force_2d(shape), tolerance=0)


def test_without_a_model_everything_stays_in_pixels() -> None:
    features = pixels([HOLED, shapely.Point(3, 4)])
    world = to_world(features, None)
    assert world.geometry.tolist() == features.geometry.tolist()
    assert world.image_geometry.tolist() == features.geometry.tolist()
    assert world.center_longitude.isna().all()
    assert world.center_latitude.isna().all()


def test_a_feature_without_a_place_keeps_its_row_and_loses_its_geometry(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pole = AffineModel(transform=(1.0, 0.0, 0.0, 0.0, -1.0, 90.0), crs="EPSG:4326")
    lost, found = shapely.box(0, -9, 5, 1), shapely.box(0, 10, 2, 12)
    with caplog.at_level(logging.WARNING, logger="daskmr"):
        world = to_world(pixels([found, lost, found]), pole)
    assert world.geometry.isna().tolist() == [False, True, False]
    assert world.image_geometry.tolist() == [found, lost, found]
    assert world.geometry.iloc[2].bounds == (0.0, 78.0, 2.0, 80.0)
    assert np.isnan(world.center_latitude.iloc[1])
    [event] = caplog.records
    assert event.__dict__["n_features"] == 1


def test_an_empty_or_missing_geometry_is_placed_by_its_box(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = to_world(pixels([shapely.Polygon(), None], [[0, 0, 10, 20], [10, 10, 20, 20]]), MODEL)
    assert world.geometry.iloc[0].is_empty
    assert world.geometry.iloc[1] is None
    expected = [5.4 + 3e-6 * 5, 5.4 + 3e-6 * 15]
    assert world.center_longitude.tolist() == pytest.approx(expected, abs=1e-13)
    assert not caplog.records


def test_the_table_in_pixels_is_not_changed() -> None:
    features = pixels([HOLED, shapely.Point(3, 4)])
    before = features.copy(deep=True)
    to_world(features, MODEL)
    assert features.equals(before)
    assert not features.geometry.has_z.any()


rings = st.lists(
    st.tuples(st.floats(0, 5000), st.floats(0, 5000)), min_size=3, max_size=12, unique=True
)


@settings(deadline=None, max_examples=40)
@given(st.lists(rings, max_size=6))
def test_every_vertex_goes_through_the_model(shapes: list[list[tuple[float, float]]]) -> None:
    model = AffineModel(transform=(0.4, 0.3, 600_000.0, 0.3, -0.4, 5_000_000.0), crs="EPSG:32631")
    world = to_world(pixels([shapely.Polygon(shape) for shape in shapes]), model)
    for shape, placed in zip(shapes, world.geometry, strict=True):
        one_by_one = [model.to_world(np.array([point]))[0, :2] for point in [*shape, shape[0]]]
        found = shapely.get_coordinates(placed)
        np.testing.assert_array_equal(found, one_by_one)
