"""Duplicates that lose their score: against the plain loop, and the ancestor's cases D."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from daskmr.core.features import boxes
from daskmr.errors import RequestError
from daskmr.merge import _decay, merger
from daskmr.merge._decay import decay
from daskmr.merge.soft_nms import SoftNms
from daskmr.testing.contracts_merge import MergeContract, ids, table

HALF = [[0, 0, 100, 100], [0, 0, 100, 50]]


class TestGaussian(MergeContract):
    joins = True

    def make(self) -> SoftNms:
        return SoftNms(iou_threshold=0.3)


class TestLinear(MergeContract):
    joins = True

    def make(self) -> SoftNms:
        return SoftNms(iou_threshold=0.3, method="linear")


def scores(found: object, said: object, labels: object = "", **options: float | str) -> list[float]:
    merge = merger("soft_nms", {"iou_threshold": 0.75, **options})
    return [float(score) for score in merge(table(found, said, labels))["score"]]


def test_a_duplicate_loses_score_by_its_overlap() -> None:  # D13
    assert scores(HALF, [0.9, 0.8]) == pytest.approx([0.9, 0.8 * np.exp(-0.25 / 0.1)])
    assert scores(HALF, [0.9, 0.8], sigma=0.5) == pytest.approx([0.9, 0.8 * np.exp(-0.5)])


def test_a_duplicate_leaves_when_its_score_is_gone() -> None:  # D14, D15
    assert scores([[0, 0, 9, 9]] * 2, [0.9, 0.8]) == [0.9]
    assert scores(HALF, [0.9, 0.8], skip_box_threshold=0.1) == [0.9]
    assert scores([[0, 0, 9, 9]], [0.5], skip_box_threshold=0.5) == []


def test_the_linear_form_counts_large_overlaps_only() -> None:  # D4
    first = [[0.1, 0.1, 0.4, 0.4], [0.15, 0.15, 0.45, 0.45], [0.6, 0.6, 0.9, 0.9]]
    second = [[0.2, 0.2, 0.5, 0.5], [0.7, 0.7, 1.0, 1.0]]
    found = np.array([*first, *second]) * 1000
    said, labels = [0.9, 0.85, 0.6, 0.8, 0.7], ["1", "1", "2", "1", "2"]
    linear: dict[str, float | str] = {"method": "linear", "iou_threshold": 0.5}
    linear["skip_box_threshold"] = 0.001
    left = scores(found, said, labels, **linear)
    assert len(left) == 5
    overlap = 0.25**2 / (2 * 0.3**2 - 0.25**2)
    assert left[1] == pytest.approx(0.85 * (1 - overlap) ** 2)
    assert [left[i] for i in (0, 2, 3, 4)] == [0.9, 0.6, 0.8, 0.7]


def test_classes_tell_the_score_that_is_left_and_the_own() -> None:
    rows = table(HALF, [0.9, 0.8], ["car", "car"])
    said = '[{"iri":"van","score":0.1},{"iri":"car","score":0.8,"x":1}]'
    rows["classes"] = ['[{"iri":"car","score":0.9}]', said]
    after = SoftNms()(rows)
    first, second = map(json.loads, after["classes"])
    assert first == [{"iri": "car", "score": 0.9, "rawScore": 0.9}]
    left = after["score"][1]
    assert second == [
        {"iri": "van", "score": 0.1},
        {"iri": "car", "score": left, "x": 1, "rawScore": 0.8},
    ]


def test_classes_leave_each_other_alone() -> None:
    assert scores(HALF, [0.9, 0.8], ["car", "van"]) == [0.9, 0.8]


def test_a_feature_without_a_score_leaves_when_another_covers_it() -> None:
    same = [[0, 0, 100, 100]] * 3
    assert scores(same, [np.nan, 0.2, np.nan]) == [0.2]
    assert len(scores(same, [np.nan] * 3)) == 1
    assert len(scores([[0, 0, 100, 100], [0, 0, 100, 75]], [np.nan, 0.9])) == 2
    assert len(scores(same, [np.nan, 0.00001, np.nan])) == 1


def test_wrong_options_are_refused() -> None:
    for name, value in {"sigma": 0, "method": "hard", "skip_box_threshold": 2, "sgima": 1}.items():
        with pytest.raises(RequestError, match=name):
            merger("soft_nms", {name: value})


def plain(
    raw: NDArray[np.float64], weights: NDArray[np.float64], least: float
) -> NDArray[np.float64]:
    """The ten-line form: take the highest score that is left, and lower the others."""
    left, is_open = raw.copy(), raw > least
    while is_open.any():
        i = min(np.flatnonzero(is_open), key=lambda k: (-left[k], k))
        is_open[i] = False
        left[is_open] *= weights[i, is_open]
        is_open &= left > least
    return left


@given(
    st.integers(0, 25),
    st.integers(0, 2**31),
    st.sampled_from([0.0, 0.1, 0.3]),
    st.floats(0.02, 1),
    st.sampled_from([0, 1, 2, 50]),
)
def test_many_at_a_time_is_the_plain_loop(
    n: int, seed: int, least: float, share: float, rounds: int
) -> None:
    random = np.random.default_rng(seed)
    raw = np.sort(random.integers(0, 9, n) / 8)[::-1].copy()
    weights = np.ones((n, n))
    one, other = np.triu_indices(n, 1)
    some = random.random(len(one)) < share
    one, other = one[some], other[some]
    weight = random.choice([0.0, 0.25, 0.5, 0.75, 1.0], len(one))  # exact in any order
    weights[one, other] = weights[other, one] = weight
    shuffled = random.permutation(len(one))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_decay, "_ROUNDS", rounds)
        pairs = one[shuffled], other[shuffled]
        left = decay(raw, pairs, weight[shuffled], least=least)
    expected = plain(raw, weights, least)
    assert (left > least).tolist() == (expected > least).tolist()
    assert left[left > least].tolist() == expected[expected > least].tolist()


def test_a_long_chain_of_ever_weaker_neighbours_ends() -> None:
    starts = np.arange(3000.0)
    chain = np.stack([starts * 4, starts * 0, starts * 4 + 10, starts * 0 + 10], axis=1)
    after = SoftNms(sigma=0.5)(table(chain, np.linspace(1, 0.5, 3000)))
    assert len(after) > 2000
    assert after["score"].max() == 1
    assert boxes(after)[:, 0].tolist() == sorted(boxes(after)[:, 0])
    assert ids(after)[0] == f"{0:032x}"
