"""Greedy merging of duplicates into what covers them."""

import json

import numpy as np
import pytest
import shapely

from daskmr.core.boxes import polygons
from daskmr.core.features import boxes
from daskmr.core.truncation import CUT, LEFT, MERGED_FROM, RIGHT, TOP, cuts
from daskmr.merge.nmm import Nmm
from daskmr.merge.nms import Nms
from daskmr.testing.contracts_merge import MergeContract, crowd, ids, table


class TestNmm(MergeContract):
    joins = True

    def make(self) -> Nmm:
        return Nmm(iou_threshold=0.3)


class TestNmmOverTheSmaller(MergeContract):
    joins = True

    def make(self) -> Nmm:
        return Nmm(iou_threshold=0.5, metric="ios", class_aware=False)


def test_the_best_covers_what_yields_to_it() -> None:
    rows = table([[0, 0, 10, 10], [2, 1, 12, 10], [40, 0, 50, 10]], [0.9, 0.8, 0.7])
    rows["tile_col"], rows["tile_row"] = [0, 8, 8], [0, 0, 4]
    after = Nmm(iou_threshold=0.5)(rows)
    assert ids(after) == [f"{0:032x}", f"{2:032x}"]
    assert boxes(after).tolist() == [[0, 0, 12, 10], [40, 0, 50, 10]]
    assert shapely.equals(after.geometry.to_numpy(), polygons(boxes(after))).all()
    assert after["score"].tolist() == [0.9, 0.7]
    assert json.loads(after[MERGED_FROM][0]) == {"count": 2, "tiles": [[0, 0], [8, 0]]}
    assert after[MERGED_FROM][1] == ""


def test_a_feature_that_has_grown_draws_in_no_more_neighbours() -> None:
    starts = [[x, 0, x + 10, 10] for x in (0, 4, 8)]
    after = Nmm(iou_threshold=0.4)(table(starts, [0.9, 0.8, 0.7]))
    assert boxes(after).tolist() == [[0, 0, 14, 10], [8, 0, 18, 10]]


def test_it_keeps_what_nms_keeps() -> None:
    for seed in range(5):
        rows = crowd(300, seed)
        assert ids(Nmm(iou_threshold=0.2)(rows)) == ids(Nms(iou_threshold=0.2)(rows))


def test_oriented_boxes_become_one_and_polygons_their_union() -> None:
    diamond = shapely.Polygon([(0, 10), (10, 0), (20, 10), (10, 20)])
    moved = shapely.transform(diamond, lambda points: points + 2)
    rows = table([[0, 0, 20, 20], [2, 2, 22, 22]], [0.9, 0.8]).set_geometry([diamond, moved])
    (one,) = Nmm(iou_threshold=0.5)(rows).geometry
    assert len(one.exterior.coords) == 5
    assert one.area == pytest.approx(diamond.area + 2 * np.sqrt(2) * diamond.length / 4)
    assert shapely.buffer(one, 1e-6).covers(diamond)
    triangle = shapely.Polygon([(0, 0), (20, 0), (0, 20)])
    rows = rows.set_geometry(
        [triangle, shapely.transform(triangle, lambda p: p + np.array([1, 0]))]
    )
    (one,) = Nmm(iou_threshold=0.5)(rows).geometry
    assert one.area == pytest.approx(219.5)


def test_points_keep_the_place_of_the_best() -> None:
    rows = table([[0, 0, 10, 10], [1, 0, 11, 10]], [0.9, 0.8])
    after = Nmm(iou_threshold=0.5)(rows.set_geometry(shapely.points([5, 6], [5, 5])))
    assert after.geometry.to_numpy()[0] == shapely.Point(5, 5)
    assert boxes(after).tolist() == [[0, 0, 11, 10]]


def test_a_side_is_cut_no_more_when_a_tile_reaches_beyond_it() -> None:
    rows = table([[0, 0, 10, 10], [1, 0, 12, 10]], [0.9, 0.8])
    rows["tile_col"] = [0, 8]
    rows[CUT] = np.array([RIGHT | TOP, LEFT], dtype=np.uint8)
    assert cuts(Nmm(iou_threshold=0.5)(rows)).tolist() == [TOP]
    rows[CUT] = np.array([RIGHT, LEFT | RIGHT], dtype=np.uint8)
    assert cuts(Nmm(iou_threshold=0.5)(rows)).tolist() == [RIGHT]
