"""What measures merging is right itself: the simulated detector, and the score."""

import numpy as np
import shapely

from benchmarks.merge_scenes import SCENES, grid_of, looked_at, scored, seen
from daskmr.core import features
from daskmr.core.truncation import CUT


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array([shapely.box(*row) for row in rows], dtype=object)


def test_a_perfect_answer_scores_one_and_a_missing_a_doubled_and_a_wrong_one_less() -> None:
    truth = boxes((0, 0, 10, 10), (20, 0, 30, 10))
    assert scored(truth, truth).f1(0.5) == 1.0
    missing = scored(truth[:1], truth)
    assert (missing.f1(0.5), missing.lost, missing.doubled) == (2 / 3, 0.5, 0.0)
    doubled = scored(np.concatenate([truth, truth[:1]]), truth)
    assert (doubled.f1(0.5), doubled.lost, doubled.doubled) == (0.8, 0.0, 0.5)
    half = scored(boxes((0, 0, 10, 6), (20, 0, 30, 10)), truth)
    assert (half.f1(0.5), half.f1(0.75)) == (1.0, 0.5)
    assert scored(boxes((50, 50, 60, 60)), truth).lost == 1.0


def test_the_detector_answers_what_tiles_show_and_tells_what_they_cut() -> None:
    objects = boxes((10, 10, 40, 40), (90, 20, 130, 60))
    grid = grid_of(200, 200, tile=100, overlap=20)
    view = seen(objects, grid, np.random.default_rng(0))
    found, tiles = features.boxes(view.table), grid.boxes()
    starts = view.table[["tile_col", "tile_row"]].to_numpy()
    assert len(view.truth) == 2
    assert ((found[:, :2] >= starts - 1e-9) & (found[:, 2:] <= starts + 100 + 1e-9)).all()
    assert {tuple(start) for start in starts.tolist()} <= {tuple(t[:2]) for t in tiles.tolist()}
    whole = view.table[view.table["x_max"] < 60]
    assert whole[CUT].tolist() == [0]
    assert np.abs(features.boxes(whole)[0] - [10, 10, 40, 40]).max() < 5
    assert (view.table[CUT] != 0).sum() >= 1


def test_a_scene_follows_from_its_seed() -> None:
    for scene in SCENES[:1] + SCENES[-1:]:
        one, again, other = (looked_at(scene, seed).table for seed in (1, 1, 2))
        assert (features.boxes(one) == features.boxes(again)).all()
        assert (
            features.boxes(one).shape != features.boxes(other).shape
            or (features.boxes(one) != features.boxes(other)).any()
        )
