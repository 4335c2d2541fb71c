import json
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from daskmr.core.features import Detections
from daskmr.core.grid import Size
from daskmr.decode import masks as module
from daskmr.decode.answers import decode
from daskmr.decode.masks import outlines
from daskmr.errors import BadResponseError

TILE = Size(height=6, width=8)
RING = np.zeros((6, 8), dtype=bool)
RING[1:6, 2:7] = True
RING[2:4, 3:5] = False
HOLED = shapely.Polygon([(2, 1), (7, 1), (7, 6), (2, 6)], [[(3, 2), (5, 2), (5, 4), (3, 4)]])
PIECES = np.zeros((6, 8), dtype=bool)
PIECES[0:2, 0:2] = True
PIECES[2:4, 2:4] = True  # touches only at a corner
TWO = shapely.MultiPolygon([shapely.box(0, 0, 2, 2), shapely.box(2, 2, 4, 4)])
EMPTY = np.zeros((6, 8), dtype=bool)


def read(answer: object) -> Detections:
    return decode(answer, tile=TILE)


def refusal(answer: object, *, tile: Size = TILE) -> str:
    with pytest.raises(BadResponseError) as caught:
        decode(answer, tile=tile)
    return str(caught.value)


def test_a_mask_is_outlined_along_the_outer_corners_of_its_pixels() -> None:
    found = read({"masks": np.ones((1, 6, 8), dtype=bool)})
    assert found.geometry[0].equals(shapely.box(0, 0, 8, 6))
    assert found.boxes.tolist() == [[0.0, 0.0, 8.0, 6.0]]


@pytest.mark.parametrize(
    "stack",
    [
        np.stack([RING, PIECES]),
        np.stack([RING, PIECES]).astype(np.uint8) * 255,
        np.stack([RING, PIECES]).astype(np.int64) * -3,
        np.where(np.stack([RING, PIECES]), np.float32(0.7), np.float32(0.5)),
        np.stack([RING, PIECES])[None],
        np.stack([RING, PIECES])[:, None],
        [RING, PIECES],
        np.stack([RING, PIECES]).tolist(),
    ],
    ids=["bool", "uint8", "int64", "float32", "batch", "torchvision", "arrays", "lists"],
)
def test_holes_and_pieces_are_kept_whatever_masks_are_made_of(stack: Any) -> None:
    found = read({"masks": stack, "scores": [0.9, 0.8], "labels": ["ship", "car"]})
    assert found.geometry[0].equals(HOLED)
    assert found.geometry[1].equals(TWO)
    assert found.boxes.tolist() == [[2.0, 1.0, 7.0, 6.0], [0.0, 0.0, 4.0, 4.0]]
    assert (found.labels, found.scores, found.dropped) == (["ship", "car"], [0.9, 0.8], {})


def test_masks_are_read_from_json() -> None:
    found = read(json.dumps({"masks": RING[None].astype(int).tolist(), "labels": [3]}))
    assert found.geometry[0].equals(HOLED)
    assert found.labels == ["3"]


def test_a_mask_without_a_pixel_is_counted_and_takes_its_score_along() -> None:
    found = read({"masks": [EMPTY, RING], "scores": [0.1, 0.9], "labels": ["a", "b"]})
    assert (found.labels, found.scores, found.dropped) == (["b"], [0.9], {"NO_SHAPE": 1})
    assert found.geometry[0].equals(HOLED)


def test_boxes_beside_masks_stay_the_boxes() -> None:
    boxes = [[1, 1, 7, 6], [0, 0, np.nan, 1], [0, 0, 4, 4]]
    found = read({"boxes": boxes, "masks": [RING, RING, EMPTY]})
    assert found.boxes.tolist() == [[1.0, 1.0, 7.0, 6.0]]
    assert found.geometry[0].equals(HOLED)
    assert found.dropped == {"NOT_FINITE": 1, "NO_SHAPE": 1}


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint64])
def test_each_number_of_an_image_is_an_instance(dtype: Any) -> None:
    image = RING.astype(dtype) * 7
    image[:1, :2] = 2
    image[5:, :2] = 2
    found = read({"masks": image, "labels": ["two", "seven"]})
    assert found.labels == ["two", "seven"]
    assert found.geometry[0].equals(
        shapely.MultiPolygon([shapely.box(0, 0, 2, 1), shapely.box(0, 5, 2, 6)])
    )
    assert found.geometry[1].equals(HOLED)


def test_an_image_of_zeros_holds_no_instance() -> None:
    assert len(read({"masks": np.zeros((6, 8), dtype=np.int32)})) == 0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"masks": np.ones((2, 5, 8))}, "shape (2, 5, 8), but the tile has height 6 and width 8"),
        ({"masks": np.ones((8, 6), dtype=int)}, "height 6 and width 8"),
        ({"masks": np.ones((2, 2, 6, 8))}, "height 6 and width 8"),
        ({"masks": np.ones((6, 8))}, "whole numbers"),
        ({"masks": "iVBOR"}, "not numbers"),
        ({"masks": [[["a"]]]}, "contain a str"),
        ({"masks": [RING, [[1]]]}, "different lengths"),
        ({"masks": [RING], "scores": [1, 2]}, "1 masks, but 2 scores"),
        ({"masks": RING.astype(int), "labels": ["a", "b"]}, "2 labels"),
        ({"masks": [RING], "boxes": [[0, 0, 1, 1]] * 2}, "2 boxes, but 1 masks"),
    ],
)
def test_masks_that_do_not_fit_are_refused(answer: object, said: str) -> None:
    assert said in refusal(answer)


def test_too_many_pixels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PIXELS", 100)
    assert "144 pixels, more than 100" in refusal({"masks": np.zeros((3, 6, 8))})
    assert len(read({"masks": np.ones((2, 6, 8))})) == 2


def test_masks_of_noise_are_refused_before_each_pixel_is_a_polygon() -> None:
    side = 2048
    noise = np.indices((side, side)).sum(axis=0) % 2
    for answer in ({"masks": noise}, {"masks": noise[None]}):
        assert "8384512 pixel edges" in refusal(answer, tile=Size(height=side, width=side))


@settings(deadline=None, max_examples=150)
@given(image=arrays(np.int16, (6, 8), elements=st.integers(-2, 3)))
def test_outlines_cover_exactly_the_pixels_of_their_instance(image: NDArray[Any]) -> None:
    values = [value for value in np.unique(image) if value]
    alike = outlines([image == value for value in values], TILE)
    found = outlines(image, TILE)
    assert len(found) == len(alike) == len(values)
    for value, shape, other in zip(values, found, alike, strict=True):
        assert shape.is_valid
        assert shape.equals(other)
        rows, cols = np.nonzero(image == value)
        assert shape.area == len(rows)
        assert shapely.contains_xy(shape, cols + 0.5, rows + 0.5).all()
