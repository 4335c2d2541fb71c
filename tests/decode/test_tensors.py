import io
import json
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from daskmr.core.features import Detections
from daskmr.core.grid import Size
from daskmr.core.wire import Answer
from daskmr.decode import AnswerForm
from daskmr.decode.answers import decode
from daskmr.decode.tensors import npy, tensors
from daskmr.errors import BadResponseError

TILE = Size(height=64, width=96)
ROW = np.array([[10, 20, 30, 50, 0.5, 1]])
DATATYPES = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}


def texts(*values: str) -> bytes:
    coded = [value.encode() for value in values]
    return b"".join(len(value).to_bytes(4, "little") + value for value in coded)


def output(name: str, datatype: str, shape: Any, size: Any) -> dict[str, Any]:
    parameters = {"binary_data_size": size}
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": parameters}


def answer(outputs: Any, tail: bytes) -> Answer:
    head = json.dumps({"model_name": "m", "outputs": outputs}).encode()
    kind = "application/vnd.sagemaker-triton.binary+json"
    return Answer(head + tail, f"{kind};json-header-size={len(head)}")


def read(value: object, convention: str = "auto") -> Detections:
    form = AnswerForm(convention=convention, classes=("car", "ship"))
    return decode(value, tile=TILE, form=form)


def refusal(value: object, convention: str = "auto") -> str:
    with pytest.raises(BadResponseError) as caught:
        read(value, convention)
    return str(caught.value)


def ship(found: Detections) -> None:
    assert found.boxes.tolist() == [[10.0, 20.0, 30.0, 50.0]]
    assert (found.labels, found.scores) == (["ship"], [0.5])


# ---- .npy ----


def saved(array: NDArray[Any], **how: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **how)
    return file.getvalue()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f8"])
def test_an_npy_file_is_boxes(version: tuple[int, int], dtype: str) -> None:
    for array in (ROW, ROW[None], np.asfortranarray(np.vstack([ROW, ROW * 2])[:1])):
        body = saved(array.astype(dtype), version=version)
        for form in (body, bytearray(body), Answer(body, "application/x-npy")):
            ship(read(form))
            ship(read(form, "boxes"))


def test_an_npy_file_under_another_convention_is_refused() -> None:
    assert "set answer_format='boxes'" in refusal(saved(ROW), "coco")


@settings(deadline=None)
@given(
    array=st.sampled_from(["?", "u1", ">i4", "<u8", "<f2", ">f8"]).flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=4, min_side=0))
    )
)
def test_an_npy_file_reads_as_numpy_reads_it(array: NDArray[Any]) -> None:
    body = saved(array)
    wanted = np.load(io.BytesIO(body), allow_pickle=False)
    np.testing.assert_array_equal(npy(body), wanted)
    assert npy(body).shape == wanted.shape


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    return file.getvalue()


def header(text: str, rest: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + rest


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (pickled(), "not of numbers"),
        (saved(np.zeros(2, dtype=[("x", "f4")])), "not of numbers"),
        (saved(np.zeros((2, 4), dtype=complex)), "not of numbers"),
        (saved(np.array([["a"] * 4])), "not of numbers"),
        (saved(ROW)[:-1], "has 47 bytes, but its shape and type need 48"),
        (saved(ROW) + b"\0", "has 49 bytes, but its shape and type need 48"),
        (saved(ROW)[:50], "header cannot be read"),
        (b"\x93NUMPY", "header cannot be read"),
        (b"\x93NUMPY\x09\x00" + saved(ROW)[8:], "header cannot be read"),
        (header("{'descr': '<f3', 'fortran_order': False, 'shape': (1,)}"), "unknown type"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999,)}"), "shape"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 99999999999)}"), "shape"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 4)}"), "not of numbers"),
        (saved(np.zeros((2, 7))), "(2, 7)"),
    ],
)
def test_an_npy_file_that_is_not_boxes_is_refused(body: bytes, said: str) -> None:
    assert said in refusal(body)


# ---- KServe V2 ----


def test_raw_tensors_are_read_by_name() -> None:
    outputs = [
        output("det_boxes", "FP32", [1, 2, 4], 32),
        output("det_scores", "FP16", [1, 2], 4),
        output("det_classes", "INT32", [1, 2], 8),
    ]
    boxes = np.array([[[10, 20, 30, 50], [0, 0, 5, 5]]], dtype="<f4")
    tail = boxes.tobytes() + np.array([0.5, 0.25], "<f2").tobytes()
    found = read(answer(outputs, tail + np.array([1, 0], "<i4").tobytes()))
    assert found.boxes.tolist() == boxes[0].tolist()
    assert (found.labels, found.scores) == (["ship", "car"], [0.5, 0.25])


def test_a_count_cuts_the_padding_off() -> None:
    outputs: list[dict[str, Any]] = []
    tail = b""
    for shape in ([1, 3], [3]):
        outputs = [
            output("num_dets", "INT32", [1, 1], 4),
            output("boxes", "FP64", [*shape, 4], 96),
            output("scores", "FP64", shape, 24),
            output("labels", "BYTES", shape, 18),
        ]
        boxes = np.zeros((3, 4))
        boxes[0] = [10, 20, 30, 50]
        scores = np.array([0.5, 0, 0])
        tail = (
            np.array([1], "<i4").tobytes()
            + boxes.tobytes()
            + scores.tobytes()
            + texts("ship", "x", "x")
        )
        ship(read(answer(outputs, tail)))
    outputs[0]["shape"], bad = [1], np.array([7], "<i4").tobytes() + tail[4:]
    assert "counts 7 detections" in refusal(answer(outputs, bad))


def test_a_count_of_one_unbatched_box_keeps_the_box() -> None:
    outputs = [output("num_dets", "INT32", [1], 4), output("boxes", "FP64", [1, 4], 32)]
    tail = np.array([1], "<i4").tobytes() + np.array([10.0, 20, 30, 50]).tobytes()
    assert read(answer(outputs, tail)).boxes.tolist() == [[10.0, 20.0, 30.0, 50.0]]


def test_raw_and_json_tensors_may_stand_together() -> None:
    outputs = [
        {"name": "labels", "datatype": "BYTES", "shape": [1], "data": ["ship"]},
        output("boxes", "FP64", [1, 4], 32),
        {"name": "scores", "datatype": "FP32", "shape": [1, 1], "data": [0.5]},
    ]
    ship(read(answer(outputs, np.array([10.0, 20, 30, 50]).tobytes()), "kserve"))


def test_masks_are_read_from_raw_tensors() -> None:
    masks = np.zeros((2, 64, 96), dtype=bool)
    masks[0, 20:50, 10:30] = True
    outputs = [output("masks", "BOOL", [1, 2, 64, 96], masks.size)]
    found = read(answer(outputs, masks.tobytes().replace(b"\1", b"\7")))
    assert found.geometry[0].equals(shapely.box(10, 20, 30, 50))
    assert found.dropped == {"NO_SHAPE": 1}


def test_bfloat16_is_the_upper_half_of_float32() -> None:
    values = np.array([1.0, -2.5, 0.15625, np.inf], dtype="<f4")
    halves = (values.view("<u4") >> 16).astype("<u2")
    found = tensors({"outputs": [output("x", "BF16", [2, 2], 8)]}, halves.tobytes())
    assert found["x"].tolist() == [[1.0, -2.5], [0.15625, np.inf]]


@pytest.mark.parametrize(
    ("outputs", "tail", "said"),
    [
        ([output("x", "FP32", [1, 4], 16)], b"\0" * 15, "has 16 bytes, but 15 are left"),
        ([output("x", "FP32", [1, 4], 16)], b"\0" * 17, "1 bytes of the answer belong to no"),
        ([output("x", "FP32", [1, 4], 12)], b"\0" * 12, "has 12 bytes, but its shape"),
        ([output("x", "FP32", [-1, -4], 16)], b"\0" * 16, "has the shape [-1, -4]"),
        ([output("x", "FP32", [True, 4], 16)], b"\0" * 16, "has the shape [True, 4]"),
        ([output("x", "FP32", [2**40, 2**40], 16)], b"\0" * 16, "has the shape"),
        ([output("x", "FP32", [0, 2**28, 2**28], 0)], b"", "has the shape"),
        ([output("x", "FP32", [1] * 9, 4)], b"\0" * 4, "has the shape"),
        ([output("x", "FP32", {"a": 1}, 16)], b"\0" * 16, "has the shape"),
        ([output("x", "FP32", [1, 4], -1)], b"\0" * 16, "binary_data_size -1"),
        ([output("x", "FP32", [1, 4], "16")], b"\0" * 16, "binary_data_size '16'"),
        ([output("x", "FP8", [1, 4], 4)], b"\0" * 4, "datatype 'FP8'"),
        ([output("x", "FP32", [1, 4], 16)] * 2, b"\0" * 32, "repeated name"),
        ([{"datatype": "FP32"}], b"", "repeated name None"),
        ([3], b"", "repeated name None"),
        ([{"name": "x", "datatype": "FP32", "shape": [1]}], b"", "neither a list of data nor"),
        ([output("x", "BYTES", [2], 5)], texts("a"), "is not 2 texts in 5 bytes"),
        ([output("x", "BYTES", [1], 6)], texts("a") + b"\0", "is not 1 texts in 6 bytes"),
        ([output("x", "BYTES", [1], 4)], b"\xff\xff\xff\xff", "is not 1 texts in 4 bytes"),
        ([], b"", "no output of the answer is boxes or masks: there is none"),
        ([output("x", "FP32", [3], 12)], b"\0" * 12, "no output of the answer is boxes"),
        (
            [output("a", "INT8", [1, 4], 4), output("\ud800", "INT8", [2], 2)],
            b"\0" * 6,
            r"boxes or masks: a (1, 4), \ud800 (2,)",
        ),
        (
            [output("a_boxes", "INT8", [1, 4], 4), output("b_boxes", "INT8", [1, 4], 4)],
            b"\0" * 8,
            "several outputs of the answer could be boxes: a_boxes (1, 4), b_boxes (1, 4)",
        ),
        ([output("boxes", "INT8", [2, 1, 4], 8)], b"\0" * 8, "(2, 1, 4)"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(outputs: Any, tail: bytes, said: str) -> None:
    assert said in refusal(answer(outputs, tail))


@pytest.mark.parametrize(
    ("datatype", "data", "said"),
    [
        ("FP32", [1, 2, 3], "has data of shape (3,), but declares shape (1, 4)"),
        ("FP32", [[1, 2], [3, 4]], "has data of shape (2, 2)"),
        ("FP32", [1, 2, 3, "4"], "contain a str"),
        ("FP32", [[1, 2], [3]], "different lengths"),
        ("FP32", "1234", "neither a list of data"),
        ("BYTES", [1, 2, 3, 4], "contains values other than texts"),
        ("INT64", [1, 2, 3, 10**400], "output 'boxes'"),
    ],
)
def test_json_tensors_that_do_not_fit_are_refused(datatype: str, data: Any, said: str) -> None:
    outputs = [{"name": "boxes", "datatype": datatype, "shape": [1, 4], "data": data}]
    assert said in refusal(json.dumps({"outputs": outputs}))


def test_bytes_behind_json_are_refused_where_no_convention_knows_them() -> None:
    body = b'{"features": []}\0\0'
    said = Answer(body, "application/json;json-header-size=16")
    assert "2 bytes after its JSON, which is geojson" in refusal(said)
    assert "not JSON" in refusal(Answer(body))
    long = Answer(body, "application/json;json-header-size=99")
    assert "has 18 bytes, but its header counts 99" in refusal(long)


def test_an_exact_name_goes_before_an_ending() -> None:
    outputs = [output("boxes", "INT8", [1, 4], 4), output("anchor_boxes", "INT8", [1, 4], 4)]
    found = read(answer(outputs, bytes([1, 2, 3, 4, 0, 0, 9, 9])))
    assert found.boxes.tolist() == [[1.0, 2.0, 3.0, 4.0]]


@settings(deadline=None)
@given(
    drawn=st.lists(
        st.sampled_from(sorted(DATATYPES)).flatmap(
            lambda name: st.tuples(
                st.just(name), arrays(DATATYPES[name], array_shapes(min_side=0, max_dims=4))
            )
        ),
        max_size=4,
    ),
    words=st.lists(st.text(max_size=5), max_size=3),
)
def test_raw_tensors_read_as_a_client_of_triton_reads_them(
    drawn: list[tuple[str, NDArray[Any]]], words: list[str]
) -> None:
    http = pytest.importorskip("tritonclient.http")
    outputs = [output(f"t{i}", kind, [*a.shape], a.nbytes) for i, (kind, a) in enumerate(drawn)]
    tail = b"".join(array.tobytes() for _, array in drawn) + texts(*words)
    outputs.append(output("words", "BYTES", [len(words)], len(texts(*words))))
    said = answer(outputs, tail)
    found = tensors(json.loads(said.body[: said.json_bytes]), tail)
    client = http.InferenceServerClient
    oracle = client.parse_response_body(said.body, header_length=said.json_bytes)
    for index, (_, array) in enumerate(drawn):
        np.testing.assert_array_equal(found[f"t{index}"], oracle.as_numpy(f"t{index}"))
        assert found[f"t{index}"].dtype == array.dtype
    wanted = [] if not words else [text.decode() for text in oracle.as_numpy("words")]
    assert found["words"].tolist() == wanted == words


@settings(deadline=None, max_examples=200)
@given(
    kind=st.sampled_from([*DATATYPES, "BF16", "BYTES"]),
    name=st.sampled_from(["boxes", "masks", "labels", "x"]),
    shape=st.lists(st.integers(0, 6), max_size=4),
    tail=st.binary(max_size=200),
)
def test_any_raw_tensor_is_decoded_or_refused(
    kind: str, name: str, shape: list[int], tail: bytes
) -> None:
    said = answer([output(name, kind, shape, len(tail))], tail)
    try:
        found = decode(said, tile=Size(height=2, width=3))
    except BadResponseError:
        return
    assert np.isfinite(found.boxes).all()


@settings(deadline=None)
@given(raw=st.binary(min_size=96, max_size=96), kind=st.sampled_from(["FP16", "FP32", "FP64"]))
def test_any_floats_as_boxes_are_decoded_or_counted(raw: bytes, kind: str) -> None:
    n_rows = 96 // (np.dtype(DATATYPES[kind]).itemsize * 6)
    found = read(answer([output("x", kind, [n_rows, 6], 96)], raw))
    assert len(found) + sum(found.dropped.values()) == n_rows
    assert np.isfinite(found.boxes).all()
