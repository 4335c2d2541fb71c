"""Fusion of duplicates into their mean."""

import json

import numpy as np
import pytest
import shapely

from daskmr.core.boxes import polygons
from daskmr.core.features import boxes
from daskmr.core.truncation import MERGED_FROM
from daskmr.merge.nms import Nms
from daskmr.merge.wbf import Wbf
from daskmr.testing.contracts_merge import MergeContract, crowd, ids, table


class TestWbf(MergeContract):
    joins = True

    def make(self) -> Wbf:
        return Wbf(iou_threshold=0.3)


PAIR = [[0, 0, 10, 10], [3, 0, 13, 10]]


def test_scores_weigh_the_mean() -> None:
    after = Wbf(iou_threshold=0.5)(table(PAIR, [0.8, 0.4]))
    assert boxes(after).tolist() == [[1, 0, 11, 10]]
    assert shapely.equals(after.geometry.to_numpy(), polygons(boxes(after))).all()
    assert after["score"].tolist() == [0.8]
    assert json.loads(after[MERGED_FROM][0])["count"] == 2


@pytest.mark.parametrize(
    ("scores", "left"),
    [
        ((np.nan, np.nan), 1.5),
        ((0.5, np.nan), 0.0),
        ((0, 0), 1.5),
        ((-1, -2), 1.5),
        ((1e308, 1e308), 1.5),
    ],
)
def test_scores_that_say_nothing_weigh_nothing(scores: tuple[float, float], left: float) -> None:
    after = Wbf(iou_threshold=0.5)(table(PAIR, scores))
    assert boxes(after).tolist() == [[left, 0, left + 10, 10]]


def test_other_shapes_are_moved_and_stretched_with_their_boxes() -> None:
    rows = table([[0, 0, 20, 20], [2, 0, 22, 24]], [0.5, 0.5])
    circles = shapely.buffer(shapely.points([10, 12], [10, 12]), [10, 11])
    after = Wbf(iou_threshold=0.5)(rows.set_geometry(circles))
    assert boxes(after).tolist() == [[1, 0, 21, 22]]
    assert after.geometry.total_bounds.tolist() == pytest.approx([1, 0, 21, 22])
    points = rows.set_geometry(shapely.points([10, 12], [10, 12]))
    (moved,) = Wbf(iou_threshold=0.5)(points).geometry
    assert (moved.x, moved.y) == (11, 11)


def test_it_keeps_what_nms_keeps() -> None:
    rows = crowd(300, 1)
    assert ids(Wbf(iou_threshold=0.2)(rows)) == ids(Nms(iou_threshold=0.2)(rows))


def test_the_mean_lies_among_its_members() -> None:
    rows = crowd(300, 2)
    before, after = boxes(rows), boxes(Wbf(iou_threshold=0.2)(rows))
    assert after.min() >= before.min() - 1e-9
    assert after.max() <= before.max() + 1e-9
