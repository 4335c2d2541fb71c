"""Whether tiles fit into what an endpoint takes."""

from math import isqrt
from typing import Any

from daskmr.core.imagery import ImageInfo
from daskmr.endpoints.base import Endpoint, PayloadHint

_STEP = 64


def limit(model: Any) -> int | None:
    """Return most bytes of one tile that a model is known, or documented, to take."""
    if not isinstance(model, Endpoint):
        return None
    usual = model.usual_payload_bytes if isinstance(model, PayloadHint) else None
    return model.max_payload_bytes or usual


def fitting(info: ImageInfo, most: int) -> int:
    """Side of the largest square tile whose pixels fit into so many bytes, in steps of 64."""
    return max(_STEP, isqrt(most // (info.bands * info.itemsize)) // _STEP * _STEP)
