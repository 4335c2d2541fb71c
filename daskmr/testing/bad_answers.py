"""Answers that must never count as success, each with the reason that a tile fails for.

Bodies of error statuses look like features, so that a client that ignores the status shows.
"""

import io
import json
import pickle
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from daskmr.decode.columns import MAX_FEATURES
from daskmr.endpoints._transport import MAX_RESPONSE_BYTES
from daskmr.testing.faults import Fault, cut_off, huge, never, reset, saying, slowloris, status
from daskmr.testing.servers import EMPTY

_BOX = {"properties": {"imageBBox": [1, 1, 5, 5], "featureClasses": [{"iri": "x", "score": 1}]}}
_GOOD = json.dumps({"type": "FeatureCollection", "features": [_BOX]}).encode()
_BAD = "BAD_RESPONSE"


class BadAnswer(NamedTuple):
    """A fault, and the reason that its tile fails for."""

    fault: Fault
    reason: str


def _npy(array: object, *, size: int | None = None) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=True)
    return buffer.getvalue()[:size]


def _kserve(name: str, shape: list[int], data: object, *, datatype: str = "FP32") -> bytes:
    output = {"name": name, "datatype": datatype, "shape": shape, "data": data}
    return json.dumps({"model_name": "m", "outputs": [output]}).encode()


def _tensor(n_bytes: int) -> bytes:
    parameters = {"binary_data_size": n_bytes}
    output = {"name": "boxes", "datatype": "FP32", "shape": [2, 6], "parameters": parameters}
    return json.dumps({"outputs": [output]}).encode()


_STATUSES = (
    *((code, _GOOD) for code in (201, 202, 206, 301, 302, 307, 400, 404, 409, 413, 415, 418, 422)),
    *((code, b"{}") for code in (401, 403, 405, 410, 451)),
    *((code, b"[]") for code in (500, 501, 507)),
    *((code, EMPTY) for code in (408, 429, 502, 503, 504, 530)),
    (204, b""),
)

_BODIES: Mapping[str, bytes] = {
    "empty body": b"",
    "white space": b" \n\t ",
    "null": b"null",
    "true": b"true",
    "number": b"42",
    "text": b'"features"',
    "empty list": b"[]",
    "list of features": json.dumps([_BOX]).encode(),
    "list of numbers": b"[1, 2, 3]",
    "empty object": b"{}",
    "deep lists": b"[" * 100_000,
    "deep closed lists": b"[" * 50_000 + b"]" * 50_000,
    "deep objects": b'{"a":' * 100_000,
    "deep features": b'{"features":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "huge integer": b'{"features": ' + b"9" * 5000 + b"}",
    "cut off JSON": _GOOD[:-5],
    "two documents": _GOOD + _GOOD,
    "JSON lines": b'{"a": 1}\n{"b": 2}\n',
    "HTML": b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>",
    "XML": b"<?xml version='1.0'?><features/>",
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "UTF-16": _GOOD.decode().encode("utf-16"),
    "not UTF-8": b'{"features": "\xff\xfe"}',
    "gzip, not declared": b"\x1f\x8b\x08\x00" + bytes(40),
    "pickle": pickle.dumps([1, 2, 3]),
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "features null": b'{"type": "FeatureCollection", "features": null}',
    "features object": b'{"features": {}}',
    "features text": b'{"features": "none"}',
    "features number": b'{"features": 0}',
    "no features": b'{"type": "FeatureCollection"}',
    "features misspelt": b'{"type": "FeatureCollection", "Features": []}',
    "error document": b'{"error": "model not loaded"}',
    "message document": b'{"message": "Internal server error"}',
    "status document": b'{"status": "ok"}',
    "predictions null": b'{"predictions": null}',
    "predictions text": b'{"predictions": "none"}',
    "boxes text": b'{"boxes": "none"}',
    "boxes of three": b'{"boxes": [[1, 2, 3]]}',
    "boxes ragged": b'{"boxes": [[1, 2, 3, 4], [1, 2]]}',
    "scores too few": b'{"boxes": [[1, 2, 3, 4]], "scores": []}',
    "labels too many": b'{"boxes": [], "labels": ["a"]}',
    "outputs null": b'{"outputs": null}',
    "outputs empty": b'{"outputs": []}',
    "outputs unknown": _kserve("mystery", [1, 3], [1, 2, 3]),
    "tensor too short": _kserve("boxes", [2, 6], [1, 2, 3]),
    "tensor of text": _kserve("boxes", [1, 4], ["a", "b", "c", "d"]),
    "tensor negative": _kserve("boxes", [-1, 6], [1, 2, 3]),
    "tensor unknown type": _kserve("boxes", [1, 4], [1, 2, 3, 4], datatype="FP7"),
    "npy of objects": _npy([{"a": 1}, None]),
    "npy cut off": _npy(np.zeros((100, 6)), size=200),
    "npy of three axes": _npy(np.zeros((2, 2, 2))),
    "npy of text": _npy(np.array(["a", "b"])),
    "npy header only": b"\x93NUMPY\x01\x00",
    "too many features": b'{"features": [' + b"{}," * MAX_FEATURES + b"{}]}",
}

BAD_ANSWERS: Mapping[str, BadAnswer] = {
    **{f"status {code}": BadAnswer(status(code, body), f"HTTP_{code}") for code, body in _STATUSES},
    **{name: BadAnswer(saying(body), _BAD) for name, body in _BODIES.items()},
    "KServe header beyond the body": BadAnswer(
        saying(b"{}", content_type="application/octet-stream;json-header-size=5000"), _BAD
    ),
    "KServe tensor beyond the body": BadAnswer(
        saying(
            _tensor(48),
            content_type=f"application/octet-stream;json-header-size={len(_tensor(48))}",
        ),
        _BAD,
    ),
    "KServe tensor of another size": BadAnswer(
        saying(
            _tensor(7) + bytes(7),
            content_type=f"application/octet-stream;json-header-size={len(_tensor(7))}",
        ),
        _BAD,
    ),
    "another encoding than declared": BadAnswer(
        status(200, _GOOD, headers={"Content-Encoding": "gzip"}), "RESET"
    ),
    "connection reset": BadAnswer(reset(), "RESET"),
    "cut off": BadAnswer(cut_off(_GOOD), "RESET"),
    "slowloris": BadAnswer(slowloris(600, _GOOD), "TIMEOUT"),
    "never": BadAnswer(never(), "TIMEOUT"),
    "huge": BadAnswer(huge(MAX_RESPONSE_BYTES + 2**20), "TOO_LARGE"),
}
"""Bad answers by name."""
