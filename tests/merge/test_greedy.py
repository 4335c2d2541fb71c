"""Greedy suppression of arrays, against a plain loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from daskmr.core.boxes import Boxes, iou, polygons
from daskmr.merge import _greedy, _neighbours
from daskmr.merge._greedy import Scene
from daskmr.merge._shapes import Shapes, widen


def plain(found: Boxes, threshold: float, group: NDArray[np.int64]) -> list[int]:
    """The ten-line form: from best to worst, keep what no kept box overlaps too much."""
    kept: list[int] = []
    found = widen(found)
    for i in range(len(found)):
        rivals = [j for j in kept if group[j] == group[i]]
        same = np.repeat(found[i : i + 1], len(rivals), axis=0)
        if not (iou(found[rivals], same) > threshold).any():
            kept.append(i)
    return kept


def survivors(found: Boxes, threshold: float, group: NDArray[np.int64]) -> list[int]:
    """Positions that the fast form keeps."""
    shapes = Shapes(polygons(found), found, metric="iou", distance_px=0.1)
    scene = Scene(shapes, np.full(len(found), threshold), group)
    return sorted(scene.survivors(np.arange(len(found))).tolist())


@given(
    st.integers(0, 60),
    st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.75, 0.99, 1.0]),
    st.integers(0, 2**31),
    st.sampled_from([0.0, -3600.25, 1e6]),
    st.sampled_from([(20_000_000, 2_000_000, 50), (20, 7, 3)]),
)
def test_the_fast_form_is_the_plain_loop(
    n: int, threshold: float, seed: int, far: float, limits: tuple[int, int, int]
) -> None:
    random = np.random.default_rng(seed)
    corner = random.integers(-20, 30, (n, 2)) + far
    sides = random.choice([0.1, 1, 3, 9, 30, 200], (n, 2)) * random.random((n, 2)).round(1)
    found = np.hstack([corner, corner + sides])[random.integers(0, max(n, 1), n)]
    group = random.integers(0, 2, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_greedy, "MAX_PAIRS", limits[0])
        patch.setattr(_neighbours, "CHUNK", limits[1])
        patch.setattr(_greedy, "_ROUNDS", limits[2])
        kept = survivors(found, threshold, group)
    assert kept == plain(found, threshold, group)


def test_boxes_of_very_different_sizes_are_compared() -> None:
    random = np.random.default_rng(5)
    corner = random.random((3000, 2)) * 1000
    small = np.hstack([corner, corner + 3])
    giants = np.array([[0, 0, 1000, 1000], [0, 0, 1000, 990], [-5000, 0, 5000, 1]])
    found = np.vstack([giants, small])
    group = np.zeros(len(found), dtype=np.int64)
    for threshold in (0.0, 0.5):
        expected = plain(found, threshold, group)
        assert survivors(found, threshold, group) == expected


@pytest.mark.parametrize("side", [4.0**k for k in range(-5, 8)])
def test_boxes_at_the_border_of_a_size_class_meet_their_neighbours(side: float) -> None:
    sides = np.array([np.nextafter(side, 0), side, np.nextafter(side, np.inf), side / 4, side / 16])
    for first in sides:
        for second in sides:
            pair = np.array([[0, 0, first, first], [0, 0, second, second]])
            expected = plain(pair, 0.05, np.zeros(2, dtype=np.int64))
            assert survivors(pair, 0.05, np.zeros(2, dtype=np.int64)) == expected


def test_copies_of_one_box_leave_one() -> None:
    copies = np.tile([[0.0, 0, 10, 10]], (50_000, 1))
    assert survivors(copies, 0.5, np.zeros(50_000, dtype=np.int64)) == [0]
    assert survivors(copies, 0.5, np.arange(50_000) % 3) == [0, 1, 2]


def test_nothing_overlaps_more_than_wholly() -> None:
    copies = np.tile([[0.0, 0, 10, 10]], (50_000, 1))
    assert len(survivors(copies, 1.0, np.zeros(50_000, dtype=np.int64))) == 50_000


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.8])
def test_a_dense_crowd_is_the_plain_loop(threshold: float) -> None:
    random = np.random.default_rng(6)
    corner = random.random((5000, 2)) * 3
    crowd = np.hstack([corner, corner + 10 + random.random((5000, 2))])
    group = np.zeros(5000, dtype=np.int64)
    assert survivors(crowd, threshold, group) == plain(crowd, threshold, group)


def test_a_giant_among_many_small_ones_takes_all_or_none() -> None:
    random = np.random.default_rng(7)
    corner = np.stack(np.meshgrid(np.arange(142.0), np.arange(142.0)), axis=-1).reshape(-1, 2) * 10
    small = np.hstack([corner, corner + 1 + random.random((len(corner), 2)) * 8])
    scene = np.vstack([[[0.0, 0, 1420, 1420]], small])
    group = np.zeros(len(scene), dtype=np.int64)
    assert survivors(scene, 0.0, group) == [0]
    assert survivors(scene, 0.5, group) == list(range(len(scene)))
    last = np.roll(scene, -1, axis=0)
    assert survivors(last, 0.0, group) == list(range(len(small)))
