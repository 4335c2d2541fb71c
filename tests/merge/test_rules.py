"""Options that the algorithms share."""

import pickle
from typing import Any

import numpy as np
import pytest

from daskmr.errors import RequestError, UnknownNameError
from daskmr.merge import MERGES, best, merger, usual_iou
from daskmr.merge._rules import Rules
from daskmr.testing.contracts_merge import crowd, ids, table

ALL = [name for name in MERGES.names() if name != "none"]
NESTED = [[0, 0, 100, 100], [10, 10, 40, 40]]


def kept(found: object, scores: object, labels: object = "", **options: Any) -> list[int]:
    """Positions of the rows that survive NMS."""
    rows = merger("nms", options)(table(found, scores, labels))
    return sorted(int(one, 16) for one in ids(rows))


def test_overlap_over_the_smaller_takes_what_lies_within() -> None:
    assert kept(NESTED, [0.9, 0.8], iou_threshold=0.5) == [0, 1]
    assert kept(NESTED, [0.9, 0.8], iou_threshold=0.5, metric="ios") == [0]
    tiny = [[0, 0, 1000, 1000], [3, 3, 4, 4]]
    assert kept(tiny, [0.8, 0.9], iou_threshold=0.5, metric="ios") == [1]


def test_labels_compete_as_they_are_grouped() -> None:
    same, labels = [[0, 0, 9, 9]] * 4, ["car", "van", "ship", ""]
    scores = [0.1, 0.2, 0.3, 0.4]
    assert kept(same, scores, labels) == [0, 1, 2, 3]
    assert kept(same, scores, labels, class_aware=False) == [3]
    assert kept(same, scores, labels, class_groups=[["car", "van"]]) == [1, 2, 3]


def test_each_class_may_have_its_own_overlap() -> None:
    pairs = [[0, 0, 10, 10], [0, 0, 10, 6], [50, 0, 60, 10], [50, 0, 60, 6]]
    labels, scores = ["car", "car", "van", "van"], [0.9, 0.8, 0.9, 0.8]
    assert kept(pairs, scores, labels, class_thresholds={"van": 0.5}) == [0, 1, 2]
    mixed = {"class_thresholds": {"van": 0.5}, "class_aware": False}
    assert kept(pairs[:2], scores[:2], ["car", "van"], **mixed) == [0]
    assert kept(pairs[:2], scores[:2], ["van", "car"], **mixed) == [0]


def test_low_scores_are_left_out() -> None:
    apart = [[20 * i, 0, 20 * i + 9, 9] for i in range(4)]
    scores, labels = [0.1, 0.5, np.nan, 0.3], ["car", "car", "car", "van"]
    assert kept(apart, scores, labels, score_threshold=0.5) == [1, 2]
    assert kept(apart, scores, labels, class_scores={"van": 0.4}) == [0, 1, 2]
    both = {"score_threshold": 0.4, "class_scores": {"van": 0.2}}
    assert kept(apart, scores, labels, **both) == [1, 2, 3]


@pytest.mark.parametrize("name", ALL)
def test_the_count_is_of_the_best_of_the_whole_result(name: str) -> None:
    rows = crowd(200, 1)
    everything = merger(name, {"iou_threshold": 0.3})(rows)
    few = merger(name, {"iou_threshold": 0.3, "max_count": 10})(rows)
    assert len(few) == 10
    assert ids(few) == ids(best(everything, 10))
    assert few["score"].min() >= everything["score"].sort_values(ascending=False).iloc[9]


@pytest.mark.parametrize("name", ALL)
def test_a_high_score_threshold_leaves_what_it_says(name: str) -> None:
    after = merger(name, {"iou_threshold": 0.3, "score_threshold": 0.7})(crowd(200, 1))
    assert len(after)
    raw = crowd(200, 1).set_index("feature_id")["score"][ids(after)]
    assert not (raw < 0.7).any()


@pytest.mark.parametrize("name", MERGES.names())
def test_algorithms_are_plain_data(name: str) -> None:
    options = {"class_groups": [["a", "b"]], "class_thresholds": {"a": 0.5}}
    merge = merger(name, {"iou_threshold": 0.4, **options})
    assert pickle.loads(pickle.dumps(merge)) == merge  # noqa: S301 - our own
    assert hash(pickle.loads(pickle.dumps(merge))) == hash(merge)  # noqa: S301 - our own


def test_options_may_be_written_as_on_the_command_line() -> None:
    said = {"score_threshold": "0.5", "class_aware": "false", "class_scores": '{"car":0.25}'}
    merge = merger("NMS", said)
    assert isinstance(merge, Rules)
    assert (merge.score_threshold, merge.class_aware) == (0.5, False)
    assert merge.class_scores == {"car": 0.25}
    assert merger("nms", {"classScores": {"car": 0.25}, "maxCount": 3}).max_count == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("iou_threshold", 2), ("metric", "giou"), ("max_count", 0), ("class_scores", "{"), ("iuo", 1),
     ("class_thresholds", {"car": 3}), ("distance_px", -1)],
)  # fmt: skip
def test_wrong_options_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(RequestError, match=name):
        merger("nms", {name: value})


def test_each_algorithm_has_its_usual_overlap() -> None:
    assert [usual_iou(name) for name in ("NMS", "soft_nms", "edge_aware", "none")] == [
        0.75, 0.75, 0.5, 0.75,
    ]  # fmt: skip
    with pytest.raises(UnknownNameError, match="magic"):
        merger("magic", {"iou_threshold": usual_iou("magic")})
