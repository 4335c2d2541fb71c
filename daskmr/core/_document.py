"""The JSON object of a request: small, shallow, unambiguous."""

import json
import math
from collections.abc import Mapping
from typing import Any

from daskmr.errors import RequestError

MAX_BYTES = 256 * 2**10
"""Most bytes of a request."""
_MAX_DEPTH = 40


def parse_document(text: object) -> dict[str, Any]:
    """Parse the JSON object of a request.

    Parameters
    ----------
    text
        JSON as text or bytes, or a mapping of plain values.

    Raises
    ------
    RequestError
        When it is no JSON object, larger than `MAX_BYTES`, nested too deeply, has a key twice, or
        values that JSON does not have (NaN, half a surrogate pair).
    """
    try:
        return _read(text)
    except (TypeError, ValueError, RecursionError) as error:
        msg = f"request: not the JSON object of a request: {' '.join(str(error).split())[:200]}"
        raise RequestError(msg) from None


def _read(text: object) -> dict[str, Any]:
    raw = json.dumps(dict(text), allow_nan=False) if isinstance(text, Mapping) else text
    raw = raw.encode() if isinstance(raw, str) else raw
    if not isinstance(raw, bytes | bytearray):
        msg = f"it is of type {type(text).__name__}"
        raise TypeError(msg)
    if len(raw) > MAX_BYTES:
        msg = f"{len(raw):,} bytes, more than {MAX_BYTES:,}"
        raise ValueError(msg)
    value = json.loads(
        raw, object_pairs_hook=_unique_keys, parse_constant=_number, parse_float=_number
    )
    if not isinstance(value, dict) or _depth(value) > _MAX_DEPTH:
        msg = f"it is of type {type(value).__name__}, or nested deeper than {_MAX_DEPTH}"
        raise TypeError(msg)
    json.dumps(value, ensure_ascii=False).encode()  # fails for half a surrogate pair
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            msg = f"key {repr(name)[:80]} stands twice"
            raise ValueError(msg)
        members[name] = value
    return members


def _number(text: str) -> float:
    if not math.isfinite(float(text)):  # also NaN and Infinity, which are no JSON
        msg = f"{text[:40]} is not a JSON number"
        raise ValueError(msg)
    return float(text)


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(_depth, inner), default=0) if isinstance(value, dict | list) else 0
