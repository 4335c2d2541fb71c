"""Whether tiles fit into what an endpoint takes."""

from math import isqrt
from typing import Any

from daskmr.core.imagery import ImageInfo
from daskmr.endpoints.base import Endpoint

_STEP = 64


def limit(model: Any) -> int | None:
    """Most bytes of one tile that a model is known, or documented, to take."""
    if not isinstance(model, Endpoint):
        return None
    return model.max_payload_bytes or getattr(model, "usual_payload_bytes", None)


def fitting(info: ImageInfo, most: int) -> int:
    """Side of the largest square tile whose pixels fit into so many bytes, in steps of 64."""
    return max(_STEP, isqrt(most // (info.bands * info.itemsize)) // _STEP * _STEP)
