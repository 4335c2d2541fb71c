"""Non-maximum suppression: against a plain loop, and the ancestor's cases D."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from daskmr.core.boxes import Boxes, iou
from daskmr.core.features import boxes
from daskmr.errors import RequestError, UnknownNameError
from daskmr.merge import _greedy, merger
from daskmr.merge._greedy import keep_mask
from daskmr.merge.nms import Nms
from daskmr.merge.none import KeepAll
from daskmr.testing.contracts_merge import MergeContract, ids, table


class TestNms(MergeContract):
    def make(self) -> Nms:
        return Nms(iou_threshold=0.3)


class TestNmsAcrossClasses(MergeContract):
    def make(self) -> Nms:
        return Nms(iou_threshold=0.3, class_aware=False)


class TestKeepAll(MergeContract):
    def make(self) -> KeepAll:
        return KeepAll()


def plain(found: Boxes, threshold: float, group: NDArray[np.int64]) -> list[int]:
    """The ten-line form: from best to worst, keep what no kept box overlaps too much."""
    kept: list[int] = []
    for i in range(len(found)):
        rivals = [j for j in kept if group[j] == group[i]]
        same = np.repeat(found[i : i + 1], len(rivals), axis=0)
        if not (iou(found[rivals], same) > threshold).any():
            kept.append(i)
    return kept


@given(
    st.integers(0, 60),
    st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.75, 0.99, 1.0]),
    st.integers(0, 2**31),
    st.sampled_from([(20_000_000, 2_000_000, 50), (20, 7, 3)]),
)
def test_the_fast_form_is_the_plain_loop(
    n: int, threshold: float, seed: int, limits: tuple[int, int, int]
) -> None:
    random = np.random.default_rng(seed)
    corner = random.integers(-20, 30, (n, 2)).astype(np.float64)
    sides = random.choice([0.1, 1, 3, 9, 30, 200], (n, 2)) * random.random((n, 2)).round(1)
    found = np.hstack([corner, corner + sides])
    group = random.integers(0, 2, n)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in zip(("MAX_PAIRS", "_CHUNK", "_ROUNDS"), limits, strict=True):
            patch.setattr(_greedy, name, value)
        kept = keep_mask(found, threshold, group=group)
    assert np.flatnonzero(kept).tolist() == plain(found, threshold, group)


def kept(rows: gpd.GeoDataFrame, threshold: float = 0.75) -> list[int]:
    """Positions of the rows that survive."""
    return sorted(int(one, 16) for one in ids(Nms(iou_threshold=threshold)(rows)))


def test_overlap_must_be_strictly_above_the_threshold() -> None:  # D9, D10
    whole = [0, 0, 100, 100]
    assert kept(table([whole, [0, 0, 100, 75]], [0.9, 0.8])) == [0, 1]
    assert kept(table([whole, [0, 0, 100, 76]], [0.9, 0.8])) == [0]


def test_published_pairs_merge_where_they_should() -> None:  # D5, D6, D7
    three = np.array([[10, 10, 40, 40], [15, 15, 45, 45], [60, 60, 90, 90]])
    assert kept(table(three, [0.9, 0.85, 0.6]), 0.5) == [0, 2]
    pair = [[50, 50, 100, 100], [45, 45, 101, 101], [250, 250, 300, 275]]
    assert len(kept(table(pair, [1, 1, 1]))) == 2
    pair = [[40, 40, 90, 90], [50, 50, 100, 100]]
    assert (kept(table(pair, [2, 1]), 0.4), kept(table(pair, [2, 1]), 0.7)) == ([0], [0, 1])


def test_classes_leave_each_other_alone() -> None:  # D8, D16
    assert kept(table([[0, 0, 9, 9]] * 4, [0.5] * 4, ["0", "1", "2", "3"])) == [0, 1, 2, 3]


def test_a_tie_goes_to_the_box_nearer_the_origin_then_to_the_smaller_hash() -> None:  # D11
    assert kept(table([[1, 0, 100, 100], [0, 0, 100, 100]], [0.5, 0.5])) == [1]
    assert kept(table([[0, 0, 9, 9]] * 3, [0.5] * 3)) == [0]


def test_a_feature_without_a_score_yields_to_any_other() -> None:  # D17
    assert kept(table([[0, 0, 9, 9], [0, 0, 9, 9]], [np.nan, 0.1])) == [1]
    assert kept(table([[0, 0, 9, 9], [0, 0, 9, 9]], [np.nan, np.nan])) == [0]


def test_points_are_compared_by_their_boxes() -> None:  # D18, D19
    rows = table([[0, 0, 100, 20], [1, 0, 101, 20]], [0.9, 0.8])
    rows["geometry"] = shapely.points([50, 51], [10, 10])
    assert kept(rows) == [0]
    same = [[5, 5, 5, 5], [5.001, 5, 5.001, 5], [9, 9, 9, 9]]
    assert kept(table(same, [0.9, 0.8, 0.7])) == [0, 2]


def test_the_outcome_is_the_same_wherever_the_pair_lies() -> None:  # D22
    for shift in (0, 1000.25, 3600, 123_456.75):
        pair = np.array([[0, 0, 100, 100], [2, 0, 102, 100]]) + shift
        assert kept(table(pair, [0.9, 0.8])) == [0]


def test_boxes_of_very_different_sizes_are_compared() -> None:
    random = np.random.default_rng(5)
    corner = random.random((3000, 2)) * 1000
    small = np.hstack([corner, corner + 3])
    giants = np.array([[0, 0, 1000, 1000], [0, 0, 1000, 990], [-5000, 0, 5000, 1]])
    found = np.vstack([giants, small])
    scores = np.linspace(1, 0, len(found))
    group = np.zeros(len(found), dtype=np.int64)
    for threshold in (0.0, 0.5):
        expected = plain(found, threshold, group)
        assert kept(table(found, scores), threshold) == expected


def test_crowds_and_copies_stay_fast_and_small() -> None:
    group = np.zeros(20_000, dtype=np.int64)
    copies = np.tile([[0.0, 0, 10, 10]], (20_000, 1))
    assert keep_mask(copies, 0.5, group=group).sum() == 1
    random = np.random.default_rng(6)
    crowd = np.hstack([random.random((20_000, 2)), 10 + random.random((20_000, 2))])
    survivors = np.flatnonzero(keep_mask(crowd, 0.8, group=group))
    assert 1 <= len(survivors) < 100
    assert plain(crowd[survivors], 0.8, group) == list(range(len(survivors)))


def test_chains_of_ever_weaker_neighbours_are_decided_one_by_one() -> None:
    starts = np.arange(500.0)
    chain = np.stack([starts * 4, starts * 0, starts * 4 + 10, starts * 0 + 10], axis=1)
    assert kept(table(chain, -starts), 0.4) == list(range(0, 500, 2))


def test_merges_are_picked_by_name() -> None:
    assert merger("NMS", {"iou_threshold": 0.4}) == Nms(iou_threshold=0.4)
    assert isinstance(merger("None", {"iou_threshold": 0.4}), KeepAll)
    with pytest.raises(UnknownNameError, match=r"'magic'; known: nms, none"):
        merger("magic", {})
    with pytest.raises(RequestError, match="iou"):
        merger("nms", {"iou_threshold": 2})


def test_rows_come_back_in_canonical_order() -> None:
    rows = table([[i * 50, 0, i * 50 + 9, 9] for i in range(4)], [0.1, 0.9, 0.5, 0.7])
    rows["tile_row"] = [5, 1, 1, 3]
    merged = Nms()(rows)
    assert merged["tile_row"].tolist() == [1, 1, 3, 5]
    assert boxes(merged)[:, 0].tolist() == [50, 100, 150, 0]
    assert merged.index.tolist() == [0, 1, 2, 3]
