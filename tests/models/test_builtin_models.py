import json
import math
import pickle
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core.grid import Size
from daskmr.core.imagery import Pixels
from daskmr.decode.answers import decode
from daskmr.errors import BadResponseError, RequestError, UnknownNameError
from daskmr.models import MODELS, build, parse_attributes
from daskmr.models.base import ModelFault
from daskmr.models.centerpoint import Centerpoint
from daskmr.models.failure import Failure
from daskmr.models.flood import Flood

TILE = Size(height=512, width=512)
GREY = np.full((3, 512, 512), 128, dtype=np.uint8)


def coloured(*levels: int) -> Pixels:
    return np.broadcast_to(np.array(levels, np.uint8)[:, None, None], (len(levels), 64, 64))


def said(answer: object) -> dict[str, Any]:
    assert isinstance(answer, dict)
    (feature,) = answer["features"]
    properties: dict[str, Any] = feature["properties"]
    return properties


# ---- all of them ----


@pytest.mark.parametrize("name", MODELS.names())
def test_every_model_answers_a_grey_tile_and_survives_a_pickle(name: str) -> None:
    model = pickle.loads(pickle.dumps(build(name)))  # noqa: S301
    assert model == build(name)
    assert model.thread_safe
    found = decode(json.dumps(model.detect(GREY)), tile=TILE)
    assert len(found) == {"blobs": 0, "centerpoint": 1, "failure": 1, "flood": 100}[name]
    assert found.dropped == {}


@pytest.mark.parametrize("name", MODELS.names())
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float64", "complex64"])
def test_every_model_takes_every_kind_of_pixel(name: str, dtype: str) -> None:
    for shape in ((1, 9, 31), (4, 64, 32)):
        answer = build(name).detect(np.ones(shape, dtype=dtype))
        decode(json.dumps(answer), tile=TILE)


@pytest.mark.parametrize("attributes", ["flood_volume=3,seed=4", {"floodVolume": 3, "seed": "4"}])
def test_options_come_as_custom_attributes_or_as_a_mapping(attributes: Any) -> None:
    assert build("flood", attributes) == Flood(flood_volume=3, seed=4)


def test_attributes_of_the_server_are_passed_over() -> None:
    text = "model_selection=x, mock_latency_mean=5,mock_latency_std=1 , enable_segmentation=false,"
    assert build("centerpoint", text) == Centerpoint(enable_segmentation=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [("flood_volume=-1", "flood_volume"), ("volume=3", "volume"), ("seed", "'seed'"), ("=1", "''")],
)
def test_a_wrong_attribute_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        build("flood", text)


def test_an_unknown_model_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="'yolo'; known: blobs, centerpoint, failure, flood"):
        build("yolo")


@given(st.dictionaries(st.text("abc_", min_size=1), st.text("xyz0.=", min_size=1)))
def test_attributes_are_read_back_as_written(attributes: dict[str, str]) -> None:
    assert parse_attributes(",".join(f"{k}={v}" for k, v in attributes.items())) == attributes


# ---- centerpoint ----


def test_centerpoint_gives_model_runners_box_and_hexagon() -> None:
    found = said(Centerpoint().detect(GREY))
    assert found["imageBBox"] == pytest.approx([204.8, 204.8, 307.2, 307.2], abs=1e-9)
    half = 25.6 * math.sqrt(3) / 2
    left, right = 281.6 - half, 281.6 + half
    ring = [[281.6, 307.2], [left, 294.4], [left, 268.8], [281.6, 256.0], [right, 268.8]]
    ring += [[right, 294.4], [281.6, 307.2], [281.6, 307.2]]
    assert found["imageGeometry"]["type"] == "Polygon"
    np.testing.assert_allclose(found["imageGeometry"]["coordinates"], [ring], atol=1e-9)
    assert [round(left, 4), round(right, 4)] == [259.4297, 303.7703]
    assert found["featureClasses"] == [{"iri": "sample_object", "score": 1.0}]
    assert found["modelMetadata"]["modelName"] == "centerpoint"


def test_centerpoint_of_a_tile_that_is_not_square_keeps_to_its_sides() -> None:
    found = said(Centerpoint().detect(GREY[:, :256]))
    assert found["imageBBox"] == pytest.approx([204.8, 102.4, 307.2, 153.6])


def test_centerpoint_without_segmentation_gives_a_point() -> None:
    found = said(Centerpoint(enable_segmentation=False).detect(GREY))
    assert found["imageGeometry"] == {"type": "Point", "coordinates": [0.0, 0.0]}


# ---- flood ----


@given(volume=st.integers(0, 60), height=st.integers(1, 90), width=st.integers(1, 90))
def test_flood_boxes_are_many_and_inside_the_tile(volume: int, height: int, width: int) -> None:
    answer = Flood(flood_volume=volume).detect(np.zeros((1, height, width)))
    found = decode(answer, tile=Size(height=height, width=width))
    assert len(found) == volume
    assert (found.boxes[:, :2] >= 0).all()
    assert (found.boxes[:, 2:] <= np.array([width, height]) * (1 + 1e-12)).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert all(0 <= score < 1 for score in found.scores)


def test_flood_repeats_itself_for_the_same_pixels_only_with_a_seed() -> None:
    seeded, free = Flood(seed=1), Flood()
    assert seeded.detect(GREY) == seeded.detect(GREY.copy())
    assert seeded.detect(GREY) != seeded.detect(GREY + 1)
    assert seeded.detect(GREY) != Flood(seed=2).detect(GREY)
    assert free.detect(GREY) != free.detect(GREY)


# ---- failure ----


def test_a_red_tile_is_a_server_fault() -> None:
    with pytest.raises(ModelFault) as caught:
        Failure().detect(coloured(230, 10, 10))
    assert caught.value.status == 500
    assert pickle.loads(pickle.dumps(caught.value)).status == 500  # noqa: S301


def test_a_blue_tile_is_slow_and_then_a_timeout() -> None:
    began = time.perf_counter()
    with pytest.raises(ModelFault) as caught:
        Failure(delay_s=0.2).detect(coloured(10, 10, 230))
    assert caught.value.status == 408
    assert time.perf_counter() - began >= 0.2
    assert Failure().delay_s == 5.0


def test_a_green_tile_is_answered_with_broken_json() -> None:
    answer = Failure().detect(coloured(10, 230, 10))
    with pytest.raises(BadResponseError, match="not JSON"):
        decode(answer, tile=TILE)


def test_a_purple_tile_is_answered_with_a_key_too_many() -> None:
    answer = Failure().detect(coloured(128, 10, 128))
    assert isinstance(answer, dict)
    assert "invalid_key" in answer
    assert len(decode(answer, tile=TILE)) == 0


@pytest.mark.parametrize("levels", [(128, 128, 128), (230, 100, 10), (230,), (230, 10), (0, 0, 0)])
def test_any_other_tile_has_one_object(levels: tuple[int, ...]) -> None:
    found = decode(Failure().detect(coloured(*levels)), tile=TILE)
    assert found.boxes.tolist() == [[100.0, 100.0, 200.0, 200.0]]
    assert found.labels == ["test_object"]
