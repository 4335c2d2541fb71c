"""Read tensors: ``.npy`` files, and outputs of KServe V2 as JSON or as raw bytes.

Each length is checked against the number of bytes before numpy allocates an array.
"""

import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskmr.core.features import Detections
from daskmr.decode.columns import Reading, nested, numbers, refusal
from daskmr.decode.masks import from_arrays, keys_of

NPY = b"\x93NUMPY"
"""First bytes of a ``.npy`` file."""

MAX_ELEMENTS = 2**28
"""Largest number of elements of a tensor."""

_MAX_HEADER = 10_000
_MAX_DIMENSIONS = 8
_MAX_LISTED = 20
_PREFIX = 4  # bytes of the length before a text
_DTYPES: Mapping[str, str] = {
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
    "BF16": "<u2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_ENDINGS: Mapping[str, Sequence[str]] = {
    "boxes": ("boxes",),
    "scores": ("scores", "confidences"),
    "labels": ("labels", "classes", "class_ids"),
    "masks": ("masks",),
    "count": ("num_detections", "num_dets"),
}
"""Endings of the names of outputs, by role."""

_BATCHED: Mapping[str, int] = {"boxes": 3, "scores": 2, "labels": 2, "masks": 4}  # dimensions


def npy(body: bytes) -> NDArray[Any]:
    """Return the array of a ``.npy`` file; refuse pickled objects and types other than numbers.

    Raises
    ------
    BadResponseError
        When the header is malformed, the type is not numeric, or the length does not match.
    """
    version, wide = body[6:7], body[6:7] != b"\x01"
    start = 12 if wide else 10
    end = start + int.from_bytes(body[8:start], "little")
    if version not in {b"\x01", b"\x02", b"\x03"} or end > min(len(body), start + _MAX_HEADER):
        msg = f"the answer is an .npy file of {len(body)} bytes whose header cannot be read"
        raise refusal(msg)
    head = body[start:end].decode("latin-1")
    kind = re.search(r"""['"]descr['"]: *['"]([<>|=]?[biuf][0-9]{1,2})['"]""", head)
    order = re.search(r"""['"]fortran_order['"]: *(True|False)""", head)
    lengths = re.search(r"""['"]shape['"]: *\(([0-9, ]*)\)""", head)
    if not (kind and order and lengths):
        msg = f"the answer is an .npy file, but not of numbers: {head.strip()[:80]!a}"
        raise refusal(msg)
    shape = _shape([int(part) for part in re.findall("[0-9]{1,20}", lengths[1])], ".npy array")
    try:
        dtype = np.dtype(kind[1])
    except TypeError:
        msg = f"the answer is an .npy file of the unknown type {kind[1]}"
        raise refusal(msg) from None
    _check_bytes(len(body) - end, prod(shape) * dtype.itemsize, ".npy array")
    flat = _from_buffer(body[end:], dtype)
    return flat.reshape(shape, order="F" if order[1] == "True" else "C")


def _from_buffer(data: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the numbers in bytes; for booleans any byte other than 0 is true."""
    if dtype.kind == "b":
        return np.asarray(np.frombuffer(data, np.uint8) != 0)
    return np.frombuffer(data, dtype)


def _check_bytes(n_bytes: int, n_expected: int, name: str) -> None:
    if n_bytes != n_expected:
        msg = f"{name} of the answer has {n_bytes} bytes, but its shape and type need {n_expected}"
        raise refusal(msg)


def _excerpt(value: object) -> str:
    """Return the beginning of a value, short enough for a message."""
    try:
        return ascii(value)[:80]
    except ValueError:  # an integer of more than 4300 digits
        return f"a {type(value).__name__} of too many digits"


def _shape(value: object, name: str) -> tuple[int, ...]:
    """Return a checked shape: whole, not negative, and within `MAX_ELEMENTS` in all."""
    items = value if isinstance(value, list) else [None]
    lengths = [n for n in items[:_MAX_DIMENSIONS] if type(n) is int and 0 <= n <= MAX_ELEMENTS]
    if len(lengths) < len(items) or prod(max(n, 1) for n in lengths) > MAX_ELEMENTS:
        msg = f"{name} of the answer has the shape {_excerpt(value)}"
        raise refusal(msg)
    return tuple(lengths)


def kserve(value: object, reading: Reading) -> Detections:
    """Return the detections of a KServe V2 answer, whose outputs are told apart by their names."""
    outputs = tensors(value, reading.tail)
    roles = {role: _output_of_role(role, outputs) for role in _ENDINGS}
    if roles["boxes"] is None and roles["masks"] is None:
        if len(outputs) != 1 or not _is_boxes(*outputs.values()):
            msg = f"no output of the answer is boxes or masks: {_describe_outputs(outputs)}"
            raise refusal(msg)
        roles = {"boxes": next(iter(outputs.values())), "count": None}
    count = roles.pop("count")
    if count is not None:
        n_detections = _count(count)
        roles = {role: _first_rows(role, values, n_detections) for role, values in roles.items()}
    return from_arrays(roles, reading)


def _is_boxes(values: NDArray[Any]) -> bool:
    """Return whether the shape is (N, 4..6), or (1, N, 4..6)."""
    rows = values[0] if values.ndim == 3 and len(values) == 1 else values  # noqa: PLR2004
    return rows.ndim == 2 and 4 <= rows.shape[1] <= 6  # noqa: PLR2004


def _describe_outputs(outputs: Mapping[str, NDArray[Any]]) -> str:
    texts = [f"{ascii(name[:80])[1:-1]} {values.shape}" for name, values in outputs.items()]
    return ", ".join(texts[:_MAX_LISTED]) or "there is none"


def _output_of_role(role: str, outputs: Mapping[str, NDArray[Any]]) -> NDArray[Any] | None:
    """Return the only output whose name equals, or else ends with, an ending of the role."""
    endings = tuple(_ENDINGS[role])
    names = [name for name in outputs if name.lower() in endings]
    names = names or [name for name in outputs if name.lower().endswith(endings)]
    if len(names) > 1:
        msg = f"several outputs of the answer could be {role}: {_describe_outputs(outputs)}"
        raise refusal(msg)
    return outputs[names[0]] if names else None


def _count(values: NDArray[Any]) -> int:
    """Return the number of detections; outputs of fixed length are padded beyond it."""
    count = values.reshape(-1).tolist() if values.dtype.kind in "iuf" else []
    if len(count) != 1 or not float(count[0]).is_integer() or count[0] < 0:
        msg = f"the count of the answer is {count[:5]} in an array of type {values.dtype}"
        raise refusal(msg)
    return int(count[0])


def _first_rows(role: str, values: NDArray[Any] | None, n_detections: int) -> NDArray[Any] | None:
    """Return the rows of the first detections of an output."""
    if values is None:
        return None
    rows = values[0] if values.ndim == _BATCHED[role] and len(values) == 1 else values
    if not rows.ndim or len(rows) < n_detections:
        msg = f"the answer counts {n_detections} detections, but an output has shape {values.shape}"
        raise refusal(msg)
    return rows[:n_detections]


def tensors(value: object, tail: bytes) -> dict[str, NDArray[Any]]:
    """Return the outputs of a KServe V2 answer by name; texts as arrays of objects.

    Parameters
    ----------
    value
        The parsed JSON.
    tail
        Raw tensors after the JSON, in the order of the outputs.
    """
    outputs = value.get("outputs") if isinstance(value, Mapping) else None
    if not isinstance(outputs, list):
        kind = keys_of(value) if isinstance(value, Mapping) else f"is a {type(value).__name__} and"
        msg = f'the answer {kind} has no list of "outputs"'
        raise refusal(msg)
    arrays: dict[str, NDArray[Any]] = {}
    start = 0
    for output in outputs:
        name = output.get("name") if isinstance(output, Mapping) else None
        if not isinstance(name, str) or name in arrays:
            msg = f"an output of the answer has the invalid or repeated name {_excerpt(name)}"
            raise refusal(msg)
        size = _binary_size(output)
        if size is None:
            arrays[name] = _from_json(output)
            continue
        if size > len(tail) - start:
            msg = f"output {name[:80]!a} has {size} bytes, but {len(tail) - start} are left"
            raise refusal(msg)
        arrays[name] = _from_bytes(output, tail[start : start + size])
        start += size
    if start != len(tail):
        msg = f"{len(tail) - start} bytes of the answer belong to no output"
        raise refusal(msg)
    return arrays


def _binary_size(output: Mapping[str, Any]) -> int | None:
    """Return the number of bytes of an output after the JSON; None for data in the JSON."""
    parameters = output.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, Mapping) else None
    if size is not None and (type(size) is not int or size < 0):
        msg = f"an output of the answer has the binary_data_size {_excerpt(size)}"
        raise refusal(msg)
    return size


def _output_header(output: Mapping[str, Any]) -> tuple[str, tuple[int, ...], str]:
    """Return the datatype, the shape and the name in messages of an output."""
    name, datatype = f"output {output['name'][:80]!a}", output.get("datatype")
    if not isinstance(datatype, str) or datatype not in {*_DTYPES, "BYTES"}:
        msg = f"{name} of the answer has the datatype {_excerpt(datatype)}"
        raise refusal(msg)
    return datatype, _shape(output.get("shape"), name), name


def _from_bytes(output: Mapping[str, Any], data: bytes) -> NDArray[Any]:
    """Return a tensor of raw, little-endian bytes."""
    datatype, shape, name = _output_header(output)
    if datatype == "BYTES":
        return _objects(_texts(data, prod(shape), name), shape)
    dtype = np.dtype(_DTYPES[datatype])
    _check_bytes(len(data), prod(shape) * dtype.itemsize, name)
    values = _from_buffer(data, dtype)
    if datatype == "BF16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.reshape(shape)


def _texts(data: bytes, n_texts: int, name: str) -> list[object]:
    """Return texts, each preceded by its length in bytes."""
    texts: list[object] = []
    start = 0
    while start + _PREFIX <= len(data) and len(texts) < n_texts:
        end = start + _PREFIX + int.from_bytes(data[start : start + _PREFIX], "little")
        if end > len(data):
            break
        texts.append(data[start + _PREFIX : end].decode("utf-8", "replace"))
        start = end
    if start != len(data) or len(texts) != n_texts:
        msg = f"{name} of the answer is not {n_texts} texts in {len(data)} bytes"
        raise refusal(msg)
    return texts


def _objects(values: Sequence[object], shape: tuple[int, ...]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array.reshape(shape)


def _from_json(output: Mapping[str, Any]) -> NDArray[Any]:
    """Return a tensor of numbers or texts in lists, flat or nested like its shape."""
    datatype, shape, name = _output_header(output)
    data = output.get("data")
    if not isinstance(data, list):
        msg = f"{name} of the answer has neither a list of data nor a binary_data_size"
        raise refusal(msg)
    if datatype == "BYTES":
        data_shape, texts = nested(data, name)
        if not all(isinstance(text, str) for text in texts):
            msg = f"{name} of the answer contains values other than texts"
            raise refusal(msg)
        values = _objects(texts, (len(texts),))
    else:
        values = numbers(data, name)
        data_shape = values.shape
    if data_shape not in {shape, (prod(shape),)}:
        msg = f"{name} of the answer has data of shape {data_shape}, but declares shape {shape}"
        raise refusal(msg)
    return values.reshape(shape)
