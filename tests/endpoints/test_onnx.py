"""ONNX detectors in the worker's own process, on small real graphs and on a real detector."""

import json
import os
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import pi
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from daskmr.core.boxes import area, iou, polygons
from daskmr.core.grid import Size
from daskmr.decode.answers import decode
from daskmr.endpoints import Hints, choose
from daskmr.endpoints._boxes import DecodeOptions, decode_outputs
from daskmr.endpoints.base import LocalModel
from daskmr.endpoints.onnx import OnnxModel, _start_session
from daskmr.errors import PermanentError, RequestError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

ANY_IMAGE = ("n", "c", "h", "w")
Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a model with one input and what its nodes or constants make; gives its path."""

    def made(
        shape: Sequence[int | str] = ANY_IMAGE,
        *,
        constants: Mapping[str, NDArray[Any]] | None = None,
        squeeze: int | None = None,
        dtype: str = "float32",
        name: str = "model.onnx",
    ) -> str:
        helper, numpy_helper = onnx.helper, onnx.numpy_helper
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        nodes, weights, outputs = [], [], []
        if squeeze is not None:
            weights.append(numpy_helper.from_array(np.array([squeeze]), "axis"))
            nodes.append(helper.make_node("Squeeze", ["image", "axis"], ["rows"]))
            outputs.append(helper.make_tensor_value_info("rows", kind, [None] * 3))
        for output, values in (constants or {}).items():
            weights.append(numpy_helper.from_array(values, f"{output}_values"))
            nodes.append(helper.make_node("Identity", [f"{output}_values"], [output]))
            element = helper.np_dtype_to_tensor_dtype(values.dtype)
            outputs.append(helper.make_tensor_value_info(output, element, values.shape))
        image = helper.make_tensor_value_info("image", kind, list(shape))
        graph = helper.make_graph(nodes, "detector", [image], outputs, weights)
        opset = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / name)
        return str(tmp_path / name)

    return made


def tile_of(height: int = 64, width: int = 96, bands: int = 3, dtype: str = "uint8") -> Any:
    return np.zeros((bands, height, width), dtype)


def rows_of(*rows: Sequence[float]) -> NDArray[np.float32]:
    """Rows as a model gives them for one tile."""
    return np.array([rows], dtype=np.float32)


def as_tile(*rows: Sequence[float], height: int = 9) -> NDArray[np.float32]:
    """A tile of 6 columns whose pixels are the rows that the model answers with."""
    tile = np.zeros((1, height, 6), np.float32)
    if rows:
        tile[0, : len(rows)] = rows
    return tile


def rows_model(make: Make, **options: Any) -> OnnxModel:
    """A model that answers with the pixels of its tile, batch of any size."""
    shape = (options.pop("batch", "n"), 1, "h", 6)
    return OnnxModel(path=make(shape, squeeze=1), scale=1.0, **options)


# Final boxes


def test_rows_of_boxes_are_answered_by_score_and_cut_at_the_tile(make: Make) -> None:
    rows = rows_of(
        (10, 20, 30, 40, 0.5, 1),
        (-5, 50, 20, 80, 0.9, 0),
        (10, 20, 30, 40, 0.24, 0),  # too low a score
        (96, 0, 120, 9, 0.9, 0),  # beside the tile
        (30, 20, 10, 40, 0.9, 0),  # inside out
        (10, 20, np.nan, 40, 0.9, 0),
        (1, 2, 3, 4, 0.25, 7),
        (1, 2, 3, 5, 0.25, np.nan),
    )
    for shape in (rows, rows[0]):
        model = OnnxModel(path=make(constants={"output0": shape}), classes=("ship", "car"))
        said = model.detect(tile_of())
        assert said["boxes"].tolist() == [
            [0, 50, 20, 64],
            [10, 20, 30, 40],
            [1, 2, 3, 4],
            [1, 2, 3, 5],
        ]
        assert said["scores"].tolist() == pytest.approx([0.9, 0.5, 0.25, 0.25])
        assert said["labels"] == ["ship", "car", "7", "-1"]


def test_class_numbers_stay_numbers_until_they_are_named(make: Make) -> None:
    model = OnnxModel(path=make(constants={"output0": rows_of((1, 2, 3, 4, 0.5, 6))}))
    said = model.detect(tile_of())
    assert said["labels"] == [6]
    assert decode(said, tile=Size(height=64, width=96)).labels == ["6"]


def test_three_outputs_are_known_by_their_names(make: Make) -> None:
    constants: dict[str, NDArray[Any]] = {
        "det_labels": np.array([[3, 4]]),
        "det_scores": np.array([[0.5, 0.75]], np.float32),
        "det_boxes": np.array([[[1, 2, 3, 4], [5, 6, 7, 8]]], np.float16),
        "features": np.zeros((1, 7), np.float32),
    }
    said = OnnxModel(path=make(constants=constants)).detect(tile_of())
    assert said["boxes"].tolist() == [[5, 6, 7, 8], [1, 2, 3, 4]]
    assert (said["scores"].tolist(), said["labels"]) == ([0.75, 0.5], [4, 3])
    flat = {name: values[0] for name, values in constants.items()}
    assert OnnxModel(path=make(constants=flat)).detect(tile_of())["labels"] == [4, 3]


def test_the_best_are_kept_when_there_are_too_many(make: Make) -> None:
    rows = rows_of(*((n, n, n + 5, n + 5, n / 10, 0) for n in range(3, 10)))
    model = OnnxModel(path=make(constants={"output0": rows}), max_detections=2)
    assert model.detect(tile_of())["scores"].tolist() == pytest.approx([0.9, 0.8])


def test_no_detections_are_an_answer(make: Make) -> None:
    said = OnnxModel(path=make(constants={"output0": np.zeros((1, 0, 6), "f4")})).detect(tile_of())
    assert said["boxes"].shape == (0, 4)
    assert len(decode(said, tile=Size(height=64, width=96))) == 0


# Input


def test_pixels_are_scaled_shifted_and_ordered_as_declared(make: Make) -> None:
    # 6 bands are a row of the answer: x1, y1, x2, y2, score, class
    path = make(("n", "h", 1, 6), squeeze=2)
    wanted = np.array([[0.25, 1.0, 0.75, 3.0, 0.5, 2.0], [0.0, 0.0, 1.0, 1.0, 1.0, 5.0]])
    mean, std = (1.0, 0.5, 0.25, 0.0, 2.0, 4.0), (0.5, 2.0, 1.0, 4.0, 0.25, 0.5)
    stored = (wanted * std + mean) * 8
    tile = np.zeros((7, 5, 1), np.float64)
    tile[6:0:-1, :2, 0] = stored.T
    tile[6:0:-1, 2:, 0] = (np.array(mean) * 8)[:, None]
    bands = (7, 6, 5, 4, 3, 2)
    model = OnnxModel(path=path, layout="NHWC", bands=bands, scale=0.125, mean=mean, std=std)
    said = model.detect(tile)
    assert said["boxes"].tolist() == [[0, 0, 1, 1], [0.25, 1, 0.75, 3]]
    assert (said["scores"].tolist(), said["labels"]) == ([1.0, 0.5], [5, 2])


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_each_type_of_input_is_fed(make: Make, dtype: Any) -> None:
    path = make((1, 1, "h", 6), squeeze=1, dtype=dtype)
    tile = as_tile((1, 2, 3, 4, 1, 5)).astype(np.uint8)
    said = OnnxModel(path=path, dtype=dtype, scale=1.0).detect(tile)
    assert (said["boxes"].tolist(), said["labels"]) == ([[1, 2, 3, 4]], [5])


def test_padding_makes_no_detections(make: Make) -> None:
    # 9 rows become 16, 6 columns 16; the model has a fixed input and sees boxes in its padding
    rows = rows_of((0, 8, 16, 16, 0.9, 0), (7, 0, 16, 16, 0.9, 0), (0, 9, 6, 16, 0.9, 0))
    path = make((1, 1, 16, 16), constants={"output0": rows})
    said = OnnxModel(path=path, multiple=16).detect(as_tile())
    assert said["boxes"].tolist() == [[0, 8, 6, 9]]
    with pytest.raises(PermanentError, match=r"'H': 16, 'W': 16.* \(9, 6\) .* makes 9 x 6"):
        OnnxModel(path=path).detect(as_tile())


def test_padding_is_zeros_behind_the_tile(make: Make) -> None:
    model = rows_model(make, multiple=6, mean=(-1.0,), score_threshold=0.0)
    said = model.detect(as_tile((0, 1, 2, 3, 0.5, 4), height=1))
    assert said["boxes"].tolist() == []  # the row is (1, 2, 3, 4, 1.5, 5): below the tile
    said = model.detect(as_tile((0, -1, 2, 3, 0.5, 4), height=1))
    assert (said["boxes"].tolist(), said["scores"].tolist()) == ([[1, 0, 3, 1]], [1.5])


# Batches


def test_a_batch_is_answered_tile_by_tile(make: Make) -> None:
    model = rows_model(make, max_batch=3)
    tiles = [as_tile((0, 0, n, n, 0.5, n)) for n in range(1, 6)]
    said = model.detect_batch(tiles)
    assert [one["boxes"].tolist() for one in said] == [[[0, 0, n, n]] for n in range(1, 6)]
    assert [one["labels"] for one in said] == [[n] for n in range(1, 6)]


def test_tiles_of_unlike_shapes_are_answered_one_by_one(make: Make) -> None:
    model = rows_model(make, max_batch=4)
    row = (0, 0, 2, 2, 0.5, 3)
    wrong = np.zeros((2, 9, 6), np.float32)
    first, second, bad = model.detect_batch([as_tile(row), as_tile(row, height=4), wrong])
    assert first["labels"] == second["labels"] == [3]
    assert isinstance(bad, PermanentError)
    assert str(bad) == "onnx:model.onnx: the model takes 1 channels, but the image has 2 bands"


def test_an_output_without_a_batch_is_asked_for_tile_by_tile(make: Make) -> None:
    two = np.array([[1, 2, 3, 4, 0.5, 6]] * 2, np.float32)
    model = OnnxModel(path=make(constants={"output0": two}), max_batch=2)
    assert len(model.detect(tile_of())["labels"]) == 2
    said = model.detect_batch([tile_of()] * 2)  # two rows, not one for each of two tiles
    assert [len(one["labels"]) for one in said] == [2, 2]


@pytest.mark.parametrize(("batch", "max_batch"), [(1, 2), (4, 1), (4, 4)])
def test_a_fixed_batch_is_refused_by_its_number(make: Make, batch: int, max_batch: int) -> None:
    model = rows_model(make, batch=batch, max_batch=max_batch)
    wanted = f"max_batch: {max_batch} is declared, but the model's batch is fixed at {batch}"
    with pytest.raises(RequestError, match=wanted):
        model.check()
    assert rows_model(make, batch=1).detect(as_tile((0, 0, 1, 1, 1, 0)))["labels"] == [0]


# Raw outputs


def yolo_rows() -> NDArray[np.float32]:
    """Centre, size and two classes of four detections, shape (4, 6)."""
    rows = [
        (20, 20, 10, 10, 0.9, 0.1),
        (21, 20, 10, 10, 0.8, 0.1),  # overlaps the first by 9/11
        (20, 20, 10, 10, 0.1, 0.7),  # the same place, another class
        (90, 60, 20, 20, 0.6, 0.0),  # crosses the corner
    ]
    return np.array(rows, np.float32)


@pytest.mark.parametrize("classes", [("a", "b"), ()])
def test_raw_yolo_detections_are_thinned_in_each_class(
    make: Make, classes: tuple[str, ...]
) -> None:
    rows = np.vstack([yolo_rows(), np.zeros((6, 6), np.float32)])
    for output in (rows[None], rows.T[None]):
        path = make(constants={"output0": np.ascontiguousarray(output)})
        said = OnnxModel(path=path, boxes="yolo", classes=classes).detect(tile_of())
        assert said["boxes"].tolist() == [[15, 15, 25, 25], [15, 15, 25, 25], [80, 50, 96, 64]]
        assert said["scores"].tolist() == pytest.approx([0.9, 0.7, 0.6])
        assert said["labels"] == (["a", "b", "a"] if classes else [0, 1, 0])
    path = make(constants={"output0": rows[None]})
    said = OnnxModel(path=path, boxes="yolo", iou_threshold=0.9).detect(tile_of())
    assert said["scores"].tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])


def test_declared_classes_tell_which_axis_is_which(make: Make) -> None:
    path = make(constants={"output0": yolo_rows()[None]})  # 4 detections, 6 values
    model = OnnxModel(path=path, boxes="yolo", classes=("a", "b"))
    assert len(model.detect(tile_of())["labels"]) == 3
    with pytest.raises(PermanentError, match=r"\(4, 6\), but 3 classes need an axis of 7"):
        OnnxModel(path=path, boxes="yolo", classes=("a", "b", "c")).detect(tile_of())
    with pytest.raises(PermanentError, match=r"\(4, 6\) has no room for 4 and a class"):
        OnnxModel(path=path, boxes="yolo").detect(tile_of())


def test_oriented_boxes_are_polygons(make: Make) -> None:
    rows = [
        (40, 30, 20, 10, 0.9, 0.0, 0.0),
        (40, 30, 20, 10, 0.8, 0.0, pi / 2),  # across it: IoU 100 / 300
        (40, 30, 10, 20, 0.7, 0.0, pi / 2),  # the first one again
        (40, 30, 20, 10, 0.0, 0.6, 0.0),  # another class
        (0, 0, 10, 10, 0.5, 0.0, pi / 4),  # around the corner of the tile
        (-9, 20, 10, 10, 0.5, 0.0, pi / 4),  # its bounds touch no pixel of the tile
        (40, 30, 20, 0, 0.9, 0.0, 0.3),
        (np.nan, 30, 20, 5, 0.9, 0.0, np.inf),
    ]
    output = np.array(rows, np.float32).T[None]
    path = make(constants={"output0": np.ascontiguousarray(output)})
    found = OnnxModel(path=path, boxes="yolo_obb", classes=("a", "b")).detect(tile_of())
    assert isinstance(found, gpd.GeoDataFrame)
    assert found["label"].tolist() == ["a", "a", "b", "a"]
    assert found["score"].tolist() == pytest.approx([0.9, 0.8, 0.6, 0.5])
    first, across, other, corner = found.geometry.to_numpy()
    assert shapely.equals(first, shapely.box(30, 25, 50, 35))
    assert shapely.bounds(across).tolist() == pytest.approx([35, 20, 45, 40], abs=1e-5)
    assert shapely.equals(other, first)
    assert shapely.area(corner) == pytest.approx(25)
    decoded = decode(found, tile=Size(height=64, width=96))
    assert decoded.labels == ["a", "a", "b", "a"]
    assert decoded.boxes[0].tolist() == [30, 25, 50, 35]


def test_an_angle_turns_clockwise_as_seen() -> None:
    row = np.array([[40, 30, 20, 1, 0.9, pi / 6]])
    found = decode_outputs("yolo_obb", {"rows": row}, rules(classes=("a",)))
    corners = shapely.get_coordinates(found.geometry.to_numpy())
    right = corners[corners[:, 0].argmax()]
    assert right[1] > 30 + 4  # y is down: the right end lies lower


def centernet(*peaks: tuple[int, int, int, float]) -> dict[str, NDArray[np.float32]]:
    """Outputs for a 96 x 64 input: peaks at (class, row, column), sides 1, 2, 3, 4 px away."""
    scores = np.zeros((1, 2, 16, 24), np.float32)
    for label, row, col, score in peaks:
        scores[0, label, row, col] = score
    sides = np.broadcast_to(np.array([1, 2, 3, 4], "f4")[:, None, None], (4, 16, 24))
    return {"keypoints": scores, "wh": np.ascontiguousarray(sides[None])}


def test_peaks_are_boxes_around_the_corner_of_their_cell(make: Make) -> None:
    constants = centernet((0, 5, 7, 0.5), (0, 5, 8, 0.4), (1, 5, 8, 0.6), (0, 15, 23, 0.3))
    said = OnnxModel(path=make(constants=constants), boxes="centernet").detect(tile_of())
    assert said["boxes"].tolist() == [[31, 18, 35, 24], [27, 18, 31, 24], [91, 58, 95, 64]]
    assert said["scores"].tolist() == pytest.approx([0.6, 0.5, 0.3])
    assert said["labels"] == [1, 0, 0]


def test_distances_and_scores_of_unlike_grids_are_refused(make: Make) -> None:
    constants = centernet() | {"wh": np.zeros((1, 4, 16, 23), np.float32)}
    model = OnnxModel(path=make(constants=constants), boxes="centernet")
    with pytest.raises(PermanentError, match=r"wh have shape \(4, 16, 23\)"):
        model.detect(tile_of())


@pytest.mark.parametrize("dtype", ["float32", "uint8", "bool"])
def test_masks_are_cut_to_the_tile(make: Make, dtype: str) -> None:
    masks = np.zeros((1, 3, 64, 96), np.float32)
    masks[0, 0, 10:20, 30:50] = 0.9
    masks[0, 0, 50:, 80:] = 0.4
    masks[0, 1, 55:, :] = 1.0  # below the tile
    masks[0, 2, 40:, 60:70] = 0.8
    kind = masks if dtype == "float32" else (masks > 0.5).astype(dtype)
    constants: dict[str, NDArray[Any]] = {
        "masks": kind,
        "scores": np.array([[0.5, 0.9, 0.7]], np.float32),
        "labels": np.array([[0, 1, 1]]),
    }
    options: dict[str, Any] = {"boxes": "masks", "classes": ("a", "b"), "multiple": 32}
    model = OnnxModel(path=make(constants=constants), **options)
    said = model.detect(tile_of(height=50, width=96))
    assert said["masks"].shape == (2, 50, 96)
    found = decode(said, tile=Size(height=50, width=96))
    assert found.labels == ["b", "a"]
    assert found.boxes.tolist() == [[60, 40, 70, 50], [30, 10, 50, 20]]
    with pytest.raises(PermanentError, match="input has height 32 and width 96"):
        model.detect(tile_of(height=30))


def rules(**changed: Any) -> DecodeOptions:
    plain: dict[str, Any] = {
        "height": 64,
        "width": 96,
        "input_height": 64,
        "input_width": 96,
        "score_threshold": 0.25,
        "iou_threshold": 0.5,
        "max_detections": 1000,
        "classes": ("a", "b"),
    }
    return DecodeOptions(**(plain | changed))


DETECTIONS = st.lists(
    st.tuples(
        st.integers(0, 96),
        st.integers(0, 64),
        st.integers(1, 40),
        st.integers(1, 40),
        st.floats(0, 1),
        st.floats(0, 1),
    ),
    min_size=1,
    max_size=30,
)


@given(rows=DETECTIONS, threshold=st.floats(0.1, 0.9), turned=st.booleans())
def test_what_is_left_out_overlaps_a_better_one_that_is_kept(
    rows: list[tuple[float, ...]], threshold: float, *, turned: bool
) -> None:
    values = np.array(rows, dtype=np.float64)
    values[:, 4] = np.linspace(0.3, 0.9, len(rows))  # scores differ: one order
    values[:, 5] = 0.0
    allowed = rules(height=500, width=500, iou_threshold=threshold)
    values[:, :2] += 100
    half = values[:, 2:4] / 2
    every = np.hstack([values[:, :2] - half, values[:, :2] + half])
    if turned:  # by nothing: polygons that are boxes
        given_rows = np.hstack([values, np.zeros((len(values), 1))])
        table = decode_outputs("yolo_obb", {"rows": pad(given_rows, 7)}, allowed)
        scores = table["score"].to_numpy()
        assert shapely.area(table.geometry.to_numpy()) == pytest.approx(
            area(every[np.isin(values[:, 4], scores)])[::-1]
        )
    else:
        scores = decode_outputs("yolo", {"rows": pad(values, 6)}, allowed)["scores"]
    kept = np.isin(values[:, 4], scores)
    assert kept.sum() == len(scores)
    for index in range(len(every)):
        better = kept & (values[:, 4] > values[index, 4])
        same = np.broadcast_to(every[index], (int(better.sum()), 4))
        most = iou(same, every[better]).max(initial=0.0)
        assert most <= threshold + 1e-9 if kept[index] else most > threshold - 1e-9


def pad(rows: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """More rows than columns, so that no other axis is as long as a row."""
    return np.vstack([rows, np.zeros((width + 1 - min(len(rows), width), width))])


@pytest.mark.parametrize(
    ("convention", "outputs"),
    [
        ("yolo", {"rows": np.zeros((6, 20))}),
        ("yolo_obb", {"rows": np.zeros((7, 20))}),
        ("centernet", {"peaks": np.zeros((2, 16, 24)), "wh": np.ones((4, 16, 24))}),
        ("masks", {"masks": np.zeros((1, 64, 96)), "scores": np.ones(1), "labels": np.zeros(1)}),
    ],
)
def test_a_tile_without_detections_is_read(
    convention: str, outputs: Mapping[str, NDArray[Any]]
) -> None:
    found = decode(decode_outputs(convention, outputs, rules()), tile=Size(height=64, width=96))
    assert (len(found), sum(found.dropped.values())) == (0, 0)


def test_boxes_as_polygons_lie_where_the_boxes_do() -> None:
    values = pad(yolo_rows().astype(np.float64), 6)
    plain = decode_outputs("yolo", {"rows": values}, rules(height=100, width=150))
    turned = np.hstack([values, np.zeros((len(values), 1))])
    table = decode_outputs("yolo_obb", {"rows": pad(turned, 7)}, rules(height=100, width=150))
    assert table["label"].tolist() == plain["labels"]
    assert shapely.equals(table.geometry.to_numpy(), polygons(plain["boxes"])).all()


# What does not fit


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        (ANY_IMAGE, {"dtype": "float16"}, r"dtype float16 .* is a tensor\(float\)"),
        (("n", "c", "h"), {}, r"layout NCHW .* of shape \['n', 'c', 'h'\]"),
        ((1, 640, 640, 3), {"bands": (1, 2, 3)}, "bands: 3 .* layout NCHW, .* has 640 channels"),
        ((1, 3, "h", "w"), {"bands": (1, 2)}, "bands: 2 are declared .* has 3 channels"),
        ((1, 3, "h", "w"), {"mean": (0.5,)}, "mean: 1 are declared .* has 3 channels"),
        (ANY_IMAGE, {"boxes": "centernet"}, "ends with wh, but the model has 'output0'"),
        (ANY_IMAGE, {"boxes": "masks"}, "ends with masks, but the model has 'output0'"),
    ],
)
def test_a_model_that_is_not_what_was_declared_is_refused(
    make: Make, shape: tuple[int | str, ...], options: dict[str, Any], message: str
) -> None:
    path = make(shape, constants={"output0": rows_of((1, 2, 3, 4, 0.5, 6))})
    with pytest.raises(RequestError, match=message) as caught:
        OnnxModel.load(path, **options)
    assert path in str(caught.value)


def test_a_raw_convention_has_one_output(make: Make) -> None:
    two = {"output0": yolo_rows()[None], "output1": yolo_rows()[None]}
    with pytest.raises(RequestError, match=r"yolo is one output, .* has 2: 'output0', 'output1'"):
        OnnxModel.load(make(constants=two), boxes="yolo")


@pytest.mark.parametrize(
    ("options", "tile", "message"),
    [
        ({}, tile_of(bands=4), "the model takes 3 channels, but the image has 4 bands"),
        ({"bands": (1, 2, 5)}, tile_of(bands=4), r"bands \(1, 2, 5\) .* the image has 4"),
        ({}, tile_of(dtype="complex64"), "dtype float32 cannot hold complex64 pixels"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(
    make: Make, options: dict[str, Any], tile: Any, message: str
) -> None:
    path = make((1, 3, "h", "w"), constants={"output0": rows_of((1, 2, 3, 4, 0.5, 6))})
    with pytest.raises(PermanentError, match=f"onnx:model.onnx: {message}") as caught:
        OnnxModel(path=path, **options).detect(tile)
    assert caught.value.reason == "MODEL_ERROR"


def test_wider_pixels_are_not_squeezed_into_bytes(make: Make) -> None:
    path = make(dtype="uint8", constants={"output0": rows_of((1, 2, 3, 4, 0.5, 6))})
    model = OnnxModel(path=path, dtype="uint8")
    assert model.detect(tile_of())["labels"] == [6]
    with pytest.raises(PermanentError, match="uint8 is declared, but the image has uint16"):
        model.detect(tile_of(dtype="uint16"))


def test_an_unreadable_output_is_the_tiles_failure(make: Make) -> None:
    path = make(constants={"output0": np.zeros((1, 5, 7), np.float32)})
    with pytest.raises(PermanentError, match=r"rows have shape \(5, 7\); \(N, 6\) is wanted"):
        OnnxModel(path=path).detect(tile_of())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": 0.5}, "score"),
        ({"layout": "HWC"}, "layout"),
        ({"score_threshold": 1.5}, "score_threshold"),
        ({"threads": 0}, "threads"),
        ({"max_batch": 0}, "max_batch"),
        ({"bands": (0,)}, "bands.0"),
        ({"bands": ()}, "bands: none"),
        ({"std": (1.0, 0.0)}, "std: .* holds 0"),
        ({"bands": (1, 2), "mean": (0.5,)}, "mean: 1 values for 2 bands"),
        ({"dtype": "uint8", "scale": 0.5}, "scale: 0.5 cannot be used with dtype uint8"),
        ({"dtype": "uint8", "mean": (1.0,)}, "mean"),
    ],
)
def test_a_wrong_option_is_refused_by_name(
    make: Make, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=rf"model\.onnx: {message}"):
        OnnxModel.load(make(constants={"rows": np.zeros((1, 1, 6), "f4")}), **options)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    missing = str(tmp_path / "nothing.onnx")
    for made in (OnnxModel.load, lambda path: OnnxModel(path=path)):
        with pytest.raises(RequestError, match=r"nothing\.onnx: path: there is no such file"):
            made(missing)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(RequestError, match=r"text\.onnx: onnxruntime cannot open the model"):
        OnnxModel.load(str(tmp_path / "text.onnx"))


def test_without_onnxruntime_the_extra_is_named(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(constants={"rows": np.zeros((1, 1, 6), "f4")})
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RequestError, match=r"pip install 'daskmr\[onnx\]'"):
        OnnxModel.load(path)


# Options beside the model


@pytest.mark.parametrize("spelled", ["scoreThreshold", "score_threshold"])
def test_the_sidecar_holds_the_options(make: Make, spelled: str) -> None:
    path = make(constants={"rows": rows_of((1, 2, 3, 4, 0.5, 1))})
    said = {spelled: 0.6, "classes": ["a", "b"]}
    Path(path).with_suffix(".json").write_text(json.dumps(said))
    model = OnnxModel.load(path)
    assert model == OnnxModel(path=path, score_threshold=0.6, classes=("a", "b"))
    assert model.detect(tile_of())["labels"] == []
    assert OnnxModel.load(path, score_threshold=0.5).detect(tile_of())["labels"] == ["b"]
    chosen = choose(path, hints=Hints(options={"score_threshold": 0.5}))
    assert chosen == OnnxModel(path=path, score_threshold=0.5, classes=("a", "b"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"model\.json: not JSON"),
        ("[]", r"model\.json: a JSON object of options is wanted, not a list"),
        ('{"scores": 1}', r"model\.json: scores"),
        ('{"maxBatch": 1, "max_batch": 2}', "gives an option twice: maxBatch, max_batch"),
        ('{"path": "other.onnx"}', "names the model itself"),
    ],
)
def test_a_sidecar_that_cannot_be_used_is_refused(make: Make, text: str, message: str) -> None:
    path = make(constants={"rows": np.zeros((1, 1, 6), "f4")})
    Path(path).with_suffix(".json").write_text(text)
    with pytest.raises(RequestError, match=message):
        OnnxModel.load(path)


def test_it_is_a_local_model_and_plain_data(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(constants={"rows": rows_of((1, 2, 3, 4, 0.5, 1))}, name="ships v2.onnx")
    model = OnnxModel.load(path)
    assert isinstance(model, LocalModel)
    assert (model.name, model.thread_safe, model.max_batch) == ("onnx:ships v2.onnx", True, 1)
    again = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own bytes
    assert again == model
    assert again.detect(tile_of())["labels"] == [1]
    monkeypatch.chdir(tmp_path)
    assert OnnxModel.load("ships v2.onnx") == model  # workers may run in another folder


# Sessions


def test_many_threads_open_the_model_once(make: Make) -> None:
    before = _start_session.cache_info().misses
    model = rows_model(make)
    tiles = [as_tile((0, 0, n % 5 + 1, 1, 0.5, n)) for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(model.detect, tiles))
    assert [one["labels"] for one in said] == [[n] for n in range(40)]
    other = OnnxModel(path=model.path, scale=1.0, score_threshold=0.9)
    assert other.detect(tiles[0])["labels"] == []
    assert _start_session.cache_info().misses == before + 1


def test_a_model_that_was_replaced_is_read_again(make: Make) -> None:
    model = OnnxModel.load(make(constants={"rows": rows_of((1, 2, 3, 4, 0.5, 1))}))
    assert model.detect(tile_of())["labels"] == [1]
    make(constants={"rows": rows_of((1, 2, 3, 4, 0.5, 2), (1, 2, 3, 4, 0.4, 3))})
    assert model.detect(tile_of())["labels"] == [2, 3]
    Path(model.path).unlink()
    with pytest.raises(PermanentError, match=r"onnx:model\.onnx: FileNotFoundError"):
        model.detect(tile_of())


# A real detector

MODELS = Path(os.environ.get("DASKMR_MODELS", "no-models"))
BOATS = MODELS.parent / "images" / "sahi" / "boats.jpg"
COCO_BOAT = 8


def detector() -> OnnxModel:
    file = MODELS / "centernet-mbv3.onnx"
    if not file.is_file() or not BOATS.is_file():
        pytest.skip("DASKMR_MODELS names no folder of models with a folder of images beside it")
    return OnnxModel.load(str(file), layout="NHWC", scale=1.0, multiple=32, boxes="centernet")


def test_a_real_detector_finds_boats() -> None:
    from PIL import Image

    model = detector()
    with Image.open(BOATS) as picture:
        tile = np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0)
    found = decode(model.detect(tile), tile=Size(height=tile.shape[1], width=tile.shape[2]))
    boats = found.boxes[np.array(found.labels) == str(COCO_BOAT)]
    assert len(boats) >= 10
    assert (boats >= 0).all()
    assert (boats[:, 2:] <= [tile.shape[2], tile.shape[1]]).all()
    assert (area(boats) > 50).all()


def test_a_real_detector_sees_a_mirrored_picture_mirrored() -> None:
    from PIL import Image

    model = detector()
    with Image.open(BOATS.with_name("small-vehicles1.jpeg")) as picture:
        tile = np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0)[:, :576, :1056]
    plain, turned = model.detect(tile)["boxes"], model.detect(tile[:, :, ::-1])["boxes"]
    mirrored = turned[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [1056, 0, 1056, 0]
    shifts = []
    for box in plain:
        overlaps = iou(np.broadcast_to(box, mirrored.shape), mirrored)
        if overlaps.max() > 0.7:
            shifts.append(box - mirrored[overlaps.argmax()])
    assert len(shifts) >= 10
    assert np.abs(np.median(shifts, axis=0)).max() < 2.0  # half a cell would be 4
