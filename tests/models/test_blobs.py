import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from daskmr.core.boxes import Boxes, iou
from daskmr.core.features import Detections
from daskmr.core.grid import Size
from daskmr.core.imagery import Pixels
from daskmr.decode.answers import decode
from daskmr.models.blobs import Blobs

_FINE = 8  # samples of a disc along each side of a pixel


@dataclass(frozen=True)
class Disc:
    x: float
    y: float
    diameter: float
    height: float


def scene(discs: list[Disc], *, size: int = 512, noise: float = 3.0, seed: int = 0) -> Pixels:
    """Discs on ground of level 100, their edges shared out among pixels by area."""
    ground = np.full((size, size), 100.0)
    for disc in discs:
        reach = int(disc.diameter / 2) + 2
        left, top = int(disc.x) - reach, int(disc.y) - reach
        n = 2 * reach + 1
        y, x = (np.mgrid[0 : n * _FINE, 0 : n * _FINE] + 0.5) / _FINE
        inside = np.hypot(x + left - disc.x, y + top - disc.y) <= disc.diameter / 2
        share = inside.reshape(n, _FINE, n, _FINE).mean(axis=(1, 3))
        rows = slice(max(-top, 0), size - top)
        cols = slice(max(-left, 0), size - left)
        part = share[rows, cols]
        row, col = max(top, 0), max(left, 0)
        ground[row : row + part.shape[0], col : col + part.shape[1]] += disc.height * part
    rough = np.random.default_rng(seed).normal(0.0, noise, (3, size, size))
    return np.clip(ground + rough, 0, 255).astype(np.uint8)


def boxes_of(discs: list[Disc]) -> Boxes:
    return np.array(
        [
            [d.x - d.diameter / 2, d.y - d.diameter / 2, d.x + d.diameter / 2, d.y + d.diameter / 2]
            for d in discs
        ]
    )


def detections(pixels: Pixels, **options: Any) -> Detections:
    height, width = pixels.shape[1:]
    return decode(Blobs(**options).detect(pixels), tile=Size(height=height, width=width))


def paired(found: Boxes, wanted: Boxes) -> NDArray[np.intp]:
    """For each wanted box the nearest found one."""
    centres = [(b[:, :2] + b[:, 2:]) / 2 for b in (wanted, found)]
    away = np.hypot(*(centres[0][:, None] - centres[1][None]).transpose(2, 0, 1))
    nearest: NDArray[np.intp] = away.argmin(axis=1)
    return nearest


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    noise=st.sampled_from([0.0, 2.0, 5.0]),
    places=st.lists(
        st.tuples(
            st.floats(-8, 8),
            st.floats(-8, 8),
            st.floats(6, 18),
            st.sampled_from([-70.0, -45.0, 45.0, 90.0]),
        ),
        min_size=9,
        max_size=9,
    ),
)
def test_every_disc_is_found_in_its_place_and_nothing_else(
    seed: int, noise: float, places: list[tuple[float, float, float, float]]
) -> None:
    discs = [
        Disc(x=50 + 70 * (i % 3) + dx, y=50 + 70 * (i // 3) + dy, diameter=size, height=height)
        for i, (dx, dy, size, height) in enumerate(places)
    ]
    found = detections(scene(discs, size=240, noise=noise, seed=seed))
    wanted = boxes_of(discs)
    assert len(found) == len(discs)
    match = paired(found.boxes, wanted)
    assert sorted(match.tolist()) == list(range(len(discs)))
    boxes = found.boxes[match]
    off = (boxes[:, :2] + boxes[:, 2:] - wanted[:, :2] - wanted[:, 2:]) / 2
    assert np.abs(off).max() < 0.3
    size = (boxes[:, 2:] - boxes[:, :2]) / (wanted[:, 2:] - wanted[:, :2])
    assert np.abs(size - 1).max() < 0.25
    for disc, index in zip(discs, match, strict=True):
        assert found.labels[index] == ("bright_object" if disc.height > 0 else "dark_object")


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_found_on_noise(seed: int) -> None:
    assert len(detections(scene([], noise=20, seed=seed))) == 0


@pytest.mark.parametrize("level", [0, 100, 255])
def test_nothing_is_found_on_constant_ground(level: int) -> None:
    assert len(detections(np.full((3, 128, 128), level, dtype=np.uint8))) == 0


def test_long_lines_and_edges_are_no_objects() -> None:
    pixels = scene([Disc(x=60, y=60, diameter=10, height=80)], size=256)
    pixels[:, :, 120:128] = 200
    pixels[:, 180:, :] = 30
    found = detections(pixels)
    assert found.labels == ["bright_object"]
    np.testing.assert_allclose(found.boxes, [[55, 55, 65, 65]], atol=0.6)


def test_scores_rise_with_contrast_and_stay_between_0_and_1() -> None:
    heights = [30, 60, 90, 150]
    discs = [Disc(x=40 + 60 * i, y=100, diameter=10, height=h) for i, h in enumerate(heights)]
    found = detections(scene(discs, size=280, noise=2))
    assert found.boxes[:, 0].tolist() == sorted(found.boxes[:, 0].tolist(), reverse=True)
    assert list(found.scores) == sorted(set(found.scores), reverse=True)
    assert len(found) == 4
    assert all(0.5 < score < 1 for score in found.scores)


def test_an_object_seen_by_two_overlapping_tiles_has_the_same_box() -> None:
    rng = np.random.default_rng(5)
    discs = [
        Disc(x=30 + 45 * i + rng.uniform(-5, 5), y=30 + 45 * j, diameter=10, height=50)
        for i in range(8)
        for j in range(8)
    ]
    pixels = scene(discs, size=400)
    first, second = detections(pixels[:, :300, :300]), detections(pixels[:, 100:, 100:])
    moved = second.boxes + 100
    shared = moved[((moved > 130) & (moved < 270)).all(axis=1)]
    assert len(shared) >= 9
    assert iou(first.boxes[paired(first.boxes, shared)], shared).min() > 0.8


def test_an_object_cut_by_the_tile_has_a_box_inside_the_tile() -> None:
    pixels = scene([Disc(x=2, y=64, diameter=12, height=90)], size=128)
    found = detections(pixels)
    np.testing.assert_allclose(found.boxes, [[0, 58, 8, 70]], atol=0.6)


def test_options_choose_kind_size_and_number() -> None:
    discs = [
        Disc(x=60, y=60, diameter=40, height=80),
        Disc(x=180, y=60, diameter=40, height=-60),
        Disc(x=60, y=180, diameter=40, height=-80),
    ]
    pixels = scene(discs, size=240)
    assert sorted(detections(pixels, size_px=40).labels) == [
        "bright_object",
        "dark_object",
        "dark_object",
    ]
    assert detections(pixels, size_px=40, polarity="bright").labels == ["bright_object"]
    assert list(detections(pixels, size_px=40, polarity="dark").labels) == ["dark_object"] * 2
    assert len(detections(pixels, size_px=40, max_objects=1)) == 1
    assert len(detections(pixels, size_px=40, threshold=1e6)) == 0


def test_the_answer_does_not_change_from_call_to_call() -> None:
    pixels = scene([Disc(x=100, y=90, diameter=9, height=60)], size=200)
    assert Blobs().detect(pixels) == Blobs().detect(pixels.copy())


def test_pixels_that_are_not_numbers_are_passed_over() -> None:
    pixels = scene([Disc(x=100, y=90, diameter=10, height=60)], size=200).astype(np.float64)
    pixels[:, :20] = np.nan
    pixels[:, -20:] = 1e300
    found = detections(pixels)
    np.testing.assert_allclose(found.boxes, [[95, 85, 105, 95]], atol=0.6)
    assert len(detections(np.full((1, 40, 40), np.nan))) == 0


def test_real_imagery_gives_small_boxes_inside_it(imagery: Path) -> None:
    with rasterio.open(imagery / "affine" / "RGB.byte.tif") as dataset:
        pixels = dataset.read()
    answer = Blobs().detect(pixels)
    found = decode(json.dumps(answer), tile=Size(height=pixels.shape[1], width=pixels.shape[2]))
    assert 0 < len(found) <= 500
    assert found.dropped == {}
    assert (found.boxes >= 0).all()
    assert ((found.boxes[:, 2:] - found.boxes[:, :2]) < 32).all()
