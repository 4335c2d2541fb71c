"""Oriented boxes, polygons and points by their own geometry, against shapely pair by pair."""

from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core.features import boxes, table
from daskmr.merge._ranking import ranking
from daskmr.merge._shapes import Shapes, widen
from daskmr.merge.edge_aware import EdgeAware
from daskmr.merge.nms import Nms
from daskmr.testing.contracts_merge import crowd, ids


def shapes_of(rows: gpd.GeoDataFrame, metric: Literal["iou", "ios"] = "iou") -> Shapes:
    geometry = rows.geometry.to_numpy()
    return Shapes(geometry, boxes(rows), metric=metric, distance_px=0.1)


def solid(rows: gpd.GeoDataFrame) -> list[Any]:
    """What rows are compared as, one by one."""
    found = []
    for shape, box in zip(rows.geometry, widen(boxes(rows)), strict=True):
        whole = shapely.make_valid(shape, method="structure", keep_collapsed=False)
        found.append(whole if whole.area > 0 else shapely.box(*box))
    return found


def ships(n: int, turn: float, *, pitch: float = 16.0) -> gpd.GeoDataFrame:
    """Ships of 12 x 60 pixels side by side, turned, each seen twice with a little noise."""
    random = np.random.default_rng(0)
    turned = shapely.affinity.rotate(shapely.box(-6, -30, 6, 30), turn, origin=(0, 0))
    angle = np.radians(turn)
    place = np.arange(n)[:, None] * pitch * np.array([np.cos(angle), np.sin(angle)])
    places = np.concatenate([place, place + random.normal(0, 0.7, place.shape)])
    shapes = np.array([shapely.affinity.translate(turned, *p) for p in places], dtype=object)
    columns = {
        "score": random.random(2 * n),
        "answer_index": np.arange(2 * n),
        "feature_id": [f"{i:032x}" for i in range(2 * n)],
    }
    return table(shapes, shapely.bounds(shapes), columns)


@given(st.integers(0, 2**31), st.sampled_from(["iou", "ios"]), st.sampled_from([0.0, 0.3, 0.7]))
def test_overlap_is_that_of_shapely_pair_by_pair(
    seed: int, metric: Literal["iou", "ios"], above: float
) -> None:
    rows = crowd(14, seed)
    rows = rows[rows.geometry.geom_type != "Point"].reset_index(drop=True)
    one, other = np.triu_indices(len(rows), 1)
    found = shapes_of(rows, metric).overlap(one, other, above=above)
    whole = solid(rows)
    for i, j, value in zip(one, other, found, strict=True):
        shared = whole[i].intersection(whole[j]).area
        both = whole[i].union(whole[j]).area
        smaller = min(whole[i].area, whole[j].area)
        expected = shared / (both if metric == "iou" else smaller)
        if expected > above + 1e-9 or value > above + 1e-9:
            assert value == pytest.approx(expected, abs=1e-9)


@given(st.integers(0, 60), st.integers(0, 2**31), st.sampled_from([0.0, 0.2, 0.5]))
def test_nms_of_shapes_is_the_plain_loop(n: int, seed: int, threshold: float) -> None:
    rows = crowd(n, seed)
    rows = rows[rows.geometry.geom_type != "Point"].reset_index(drop=True)
    one, other = np.triu_indices(len(rows), 1)
    overlap = np.zeros((len(rows), len(rows)))
    overlap[one, other] = overlap[other, one] = shapes_of(rows).overlap(one, other)
    kept: list[int] = []
    for i in ranking(rows).tolist():
        rivals = [j for j in kept if rows["label"][j] == rows["label"][i]]
        if not (overlap[i, rivals] > threshold).any():
            kept.append(i)
    assert sorted(ids(Nms(iou_threshold=threshold)(rows))) == sorted(rows["feature_id"][kept])


@pytest.mark.parametrize("turn", [0.0, 20.0, 45.0, 90.0])
def test_ships_side_by_side_are_neither_lost_nor_doubled(turn: float) -> None:
    rows = ships(40, turn)
    assert len(Nms(iou_threshold=0.3)(rows)) == 40
    assert len(Nms(iou_threshold=0.5)(rows)) == 40
    assert len(EdgeAware(iou_threshold=0.3)(rows)) == 40


def test_a_thin_ship_and_a_box_of_quite_another_size_are_compared() -> None:
    ship = shapely.Polygon([(0, 0), (4, 0), (4, 4), (400, 400), (0, 4)])
    shapes = np.array([ship, shapely.box(0, 0, 4, 4)])
    rows = table(shapes, np.array([[0, 0, 400, 400], [0, 0, 4, 4.0]]), {})
    assert shapes_of(rows, "ios").overlap(np.array([0]), np.array([1]))[0] > 0.99
    rows = rows.assign(score=[0.9, 0.8], feature_id=["a", "b"])
    assert ids(Nms(iou_threshold=0.5, metric="ios")(rows)) == ["a"]


def test_a_polygon_says_more_than_the_box_that_came_with_it() -> None:
    triangles = [
        shapely.Polygon([(0, 0), (9, 0), (0, 9)]),
        shapely.Polygon([(9, 9), (9, 0.5), (0.5, 9)]),
    ]
    rows = table(np.array(triangles), np.array([[0, 0, 9, 9.0]] * 2), {"feature_id": ["a", "b"]})
    assert ids(Nms(iou_threshold=0.1)(rows)) == ["a", "b"]
    same = rows.set_geometry([triangles[0]] * 2)
    assert ids(Nms(iou_threshold=0.1)(same)) == ["a"]


def test_rings_that_cross_themselves_are_compared_by_what_they_enclose() -> None:
    tie = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    rows = table(np.array([tie, shapely.box(0, 0, 10, 10)]), np.array([[0, 0, 10, 10.0]] * 2), {})
    assert shapes_of(rows).overlap(np.array([0]), np.array([1])).tolist() == pytest.approx([0.5])


def test_points_are_compared_by_distance_unless_they_have_a_box() -> None:  # D18, D19
    def kept(apart: float, **options: float) -> int:
        points = shapely.points([5.0, 5.0 + apart], [7, 7])
        rows = table(points, shapely.bounds(points), {"feature_id": ["a", "b"]})
        return len(Nms(**options)(rows))  # type: ignore[arg-type]

    assert [kept(apart) for apart in (0.0, 0.01, 0.09, 0.11, 1.0)] == [1, 1, 1, 2, 2]
    assert [kept(apart, distance_px=20) for apart in (0.0, 19.9, 20.1)] == [1, 1, 2]
    assert kept(5, distance_px=0) == 2
    points = shapely.points([50, 51], [10, 10])
    boxed = table(
        points, np.array([[0, 0, 100, 20], [1, 0, 101, 20.0]]), {"feature_id": ["a", "b"]}
    )
    assert ids(Nms()(boxed)) == ["a"]
    assert ids(Nms(iou_threshold=0.99)(boxed)) == ["a", "b"]


def test_holes_and_parts_count() -> None:
    ring = shapely.box(0, 0, 10, 10).difference(shapely.box(1, 1, 9, 9))
    both = shapely.MultiPolygon([shapely.box(0, 0, 2, 10), shapely.box(8, 0, 10, 10)])
    rows = table(
        np.array([ring, shapely.box(2, 2, 8, 8), both]), np.array([[0, 0, 10, 10.0]] * 3), {}
    )
    shapes = shapes_of(rows, "ios")
    assert shapes.overlap(np.array([0, 1]), np.array([1, 2])).tolist() == [0, 0]
    assert shapes.overlap(np.array([0]), np.array([2]))[0] == pytest.approx(24 / 36)
