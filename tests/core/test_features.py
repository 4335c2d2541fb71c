"""The feature table: from tiles to the full image, in one order, with stable identities."""

import numpy as np
import shapely
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core import features
from daskmr.core.boxes import area, bounds, iou, polygons, shift
from daskmr.core.features import Detections, Sighting
from daskmr.core.grid import Window


def sighting(row: int, col: int, boxes: list[list[float]]) -> Sighting:
    found = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    n = len(found)
    return Sighting(
        tile=Window(row=row, col=col, height=100, width=100),
        inferred_at="2026-01-02T03:04:05Z",
        detections=Detections(
            geometry=polygons(found),
            boxes=found,
            labels=["x"] * n,
            scores=[0.5] * n,
            classes=["[]"] * n,
            properties=["{}"] * n,
        ),
    )


def test_tiles_are_moved_to_where_they_lie() -> None:  # F1
    point = Sighting(
        tile=Window(row=344, col=716, height=512, width=512),
        inferred_at="",
        detections=Detections(
            geometry=np.array([shapely.Point(15, 25)], dtype=object),
            boxes=np.array([[10.0, 20, 30, 40]]),
            labels=[""],
            scores=[float("nan")],
            classes=["[]"],
            properties=["{}"],
        ),
    )
    table = features.gather([point])
    assert features.boxes(table).tolist() == [[726, 364, 746, 384]]
    assert table.geometry.iloc[0].coords[0] == (731.0, 369.0)


def test_rows_have_one_order_whoever_found_them_first() -> None:
    tiles = [sighting(r, c, [[0, 0, 5, 5], [1, 1, 2, 2]]) for r in (0, 90) for c in (0, 90)]
    expected = features.gather(tiles)
    assert features.gather(tiles[::-1]).equals(expected)
    parts = [features.gather(tiles[2:]), features.empty(), features.gather(tiles[:2])]
    assert features.concat(parts).equals(expected)
    assert expected["answer_index"].tolist() == [0, 1] * 4


def test_identities_tell_tile_place_and_content_apart() -> None:
    table = features.gather(
        [sighting(0, 0, [[0, 0, 5, 5]] * 2), sighting(0, 90, [[0, 0, 5, 5], [0, 0, 5, 6]])]
    )
    assert table["feature_id"].is_unique
    again = features.gather([sighting(0, 90, [[0, 0, 5, 5]])])
    assert again["feature_id"].iloc[0] == table["feature_id"].iloc[2]


def test_tables_without_rows_have_every_column() -> None:
    for table in (features.empty(), features.gather([]), features.concat([])):
        assert len(table) == 0
        assert table.columns.tolist() == [*features.COLUMNS, "geometry"]
        assert table.dtypes.drop("geometry").to_dict() == dict(features.COLUMNS)
        assert table.crs is None


pairs = st.lists(st.tuples(*[st.integers(-50, 50)] * 8), min_size=1, max_size=20)


@given(pairs)
def test_overlap_is_what_shapely_says(values: list[tuple[int, ...]]) -> None:
    corners = np.array(values, dtype=np.float64).reshape(-1, 2, 2, 2)
    first, second = (
        np.hstack([corners[:, i].min(axis=1), corners[:, i].max(axis=1)]) for i in (0, 1)
    )
    shapes = polygons(first), polygons(second)
    shared = shapely.area(shapely.intersection(*shapes))
    union = shapely.area(shapes[0]) + shapely.area(shapes[1]) - shared
    expected = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    assert np.allclose(iou(first, second), expected, rtol=0, atol=1e-12)
    assert np.array_equal(area(first), shapely.area(shapes[0]))
    assert np.array_equal(
        bounds(polygons(shift(first, x=3, y=-2))), first + np.array([3, -2, 3, -2])
    )
