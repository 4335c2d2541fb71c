"""Non-maximum suppression of tables: against a plain loop, and the ancestor's cases D."""

import os
import subprocess
import sys
from random import Random

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core.boxes import iou
from daskmr.core.features import boxes
from daskmr.errors import RequestError, UnknownNameError
from daskmr.merge import merger
from daskmr.merge.nms import Nms
from daskmr.merge.none import KeepAll
from daskmr.testing.contracts_merge import MergeContract, crowd, ids, table


class TestNms(MergeContract):
    def make(self) -> Nms:
        return Nms(iou_threshold=0.3)


class TestNmsAcrossClasses(MergeContract):
    def make(self) -> Nms:
        return Nms(iou_threshold=0.3, class_aware=False)


Row = tuple[float, float, float, float, float, str]
"""x_min, y_min, width, height, score, label."""

ROWS = st.lists(
    st.tuples(
        st.sampled_from([-3.0, 0.0, 1.0, 2.5, 4.0]),
        st.sampled_from([-1.0, 0.0, 1.0, 3.9, 4.0]),
        st.sampled_from([0.0, 0.05, 0.1, 2.0, 4.0, 5.0, 40.0]),
        st.sampled_from([0.0, 0.1, 3.0, 4.0, 5.0]),
        st.sampled_from([np.nan, -np.inf, -1.0, 0.0, 0.5, 1.0]),
        st.sampled_from(["", "car", "ship"]),
    ),
    max_size=40,
)


def plain(rows: list[Row], threshold: float) -> list[int]:
    """The ten-line form: from best to worst, keep what no kept row of the label overlaps."""

    def rank(i: int) -> tuple[object, ...]:
        x, y, width, height, score, label = rows[i]
        unknown = bool(np.isnan(score))
        return (unknown, 0.0 if unknown else -score, x, y, x + width, y + height, label, i)

    def box(i: int) -> list[list[float]]:
        x, y, width, height = rows[i][:4]
        x_max, y_max = x + width, y + height
        return [[x, y, x_max if width else x + 0.1, y_max if height else y + 0.1]]

    chosen: list[int] = []
    for i in sorted(range(len(rows)), key=rank):
        rivals = [j for j in chosen if rows[j][5] == rows[i][5]]
        if all(iou(np.array(box(j)), np.array(box(i)))[0] <= threshold for j in rivals):
            chosen.append(i)
    return sorted(chosen)


@given(ROWS, st.sampled_from([0.0, 0.2, 0.5, 0.75, 1.0]), st.randoms(use_true_random=False))
def test_a_table_in_any_order_gives_what_the_plain_loop_gives(
    rows: list[Row], threshold: float, random: Random
) -> None:
    x, y, width, height, scores, labels = map(list, zip(*rows, strict=True)) if rows else [[]] * 6
    low = np.array([x, y], dtype=np.float64).T.reshape(-1, 2)
    sides = np.array([width, height], dtype=np.float64).T.reshape(-1, 2)
    before = table(np.hstack([low, low + sides]), scores, labels)
    order = random.sample(range(len(rows)), len(rows))
    after = Nms(iou_threshold=threshold)(before.iloc[order])
    assert [int(one, 16) for one in ids(after)] == plain(rows, threshold)
    assert ids(Nms(iou_threshold=threshold)(after)) == ids(after)


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


def test_a_box_without_width_is_ranked_by_what_the_model_said() -> None:
    assert kept(table([[0, 0, 0.05, 9], [0, 0, 0, 9]], [0.5, 0.5]), 0.4) == [1]


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


def test_chains_of_ever_weaker_neighbours_are_decided_one_by_one() -> None:
    starts = np.arange(500.0)
    chain = np.stack([starts * 4, starts * 0, starts * 4 + 10, starts * 0 + 10], axis=1)
    assert kept(table(chain, -starts), 0.4) == list(range(0, 500, 2))


def test_each_pair_of_a_large_image_leaves_one_wherever_it_lies() -> None:  # D1, D2
    first = [
        [20904, 7904, 20924, 7924], [20905, 7905, 20925, 7925], [17500, 10000, 17510, 10010],
        [17500, 10000, 17510, 10010], [4000, 4000, 4010, 4010], [4000, 4000, 4010, 4010],
        [10000, 4000, 10010, 4010], [10000, 4000, 10010, 4010], [10, 10, 10, 10], [10, 10, 10, 10],
    ]  # fmt: skip
    second = [
        [19804, 9904, 19824, 9924], [19805, 9905, 19825, 9925], [13900, 11000, 17510, 13910],
        [13900, 11000, 17510, 13910], *first[4:6], [16000, 4000, 16010, 4010],
        [16000, 4000, 16010, 4010], *first[8:],
    ]  # fmt: skip
    assert kept(table(first, [0.5] * 10)) == [0, 2, 4, 6, 8]
    assert kept(table(second, [0.5] * 10)) == [0, 2, 4, 6, 8]


def test_five_boxes_of_two_models_leave_four() -> None:  # D3
    found = [
        [10, 10, 40, 40],
        [15, 15, 45, 45],
        [60, 60, 90, 90],
        [20, 20, 50, 50],
        [70, 70, 100, 100],
    ]
    rows = table(found, [0.9, 0.85, 0.6, 0.8, 0.7], ["1", "1", "2", "1", "2"])
    assert kept(rows, 0.5) == [0, 2, 3, 4]


def test_the_label_is_that_of_the_highest_score() -> None:  # D12
    rows = table([[0, 0, 9, 9]] * 2, [0.95, 0.8], ["y", "y"])
    rows["classes"] = [
        '[{"iri":"x","score":0.9},{"iri":"y","score":0.95}]', '[{"iri":"y","score":0.8}]',
    ]  # fmt: skip
    assert kept(rows) == [0]


def test_a_box_that_a_tile_has_clipped_a_little_is_a_duplicate() -> None:  # D21
    assert kept(table([[3480, 100, 3580, 200], [3484, 100, 3580, 200]], [0.9, 0.9])) == [0]


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_the_answer_does_not_depend_on_the_seed_of_hashes(hash_seed: str) -> None:  # D16, D28
    code = """
from daskmr.merge import merger
from daskmr.testing.contracts_merge import crowd, ids, table
print(len(merger("nms", {})(table([[0, 0, 9, 9]] * 4, [0.5] * 4, list("0123")))))
print(ids(merger("nms", {"iou_threshold": 0.3})(crowd(100, 1))))
"""
    said = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert said == ["4", str(ids(Nms(iou_threshold=0.3)(crowd(100, 1))))]


def test_merges_are_picked_by_name() -> None:
    assert merger("NMS", {"iou_threshold": 0.4}) == Nms(iou_threshold=0.4)
    assert isinstance(merger("None", {"iou_threshold": 0.4}), KeepAll)
    with pytest.raises(
        UnknownNameError, match=r"'magic'; known: edge_aware, nmm, nms, none, soft_nms, wbf"
    ):
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
