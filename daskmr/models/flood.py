"""A model that returns many random boxes for every tile, for load tests."""

import zlib
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from daskmr.core.imagery import Pixels
from daskmr.models.base import feature_class, feature_collection
from daskmr.registry import plugin

_SMALLEST, _LARGEST = 0.01, 0.1  # side of a box, of the tile's


@plugin
class Flood:
    """A model that returns random boxes for each tile."""

    thread_safe: ClassVar[bool] = True

    flood_volume: Annotated[int, Field(ge=0, le=100_000)] = 100
    """Number of boxes for each tile."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Seed of the random numbers: the same pixels then give the same boxes. None for different
    boxes in each call."""

    def detect(self, pixels: Pixels) -> dict[str, Any]:
        """Return boxes inside the tile, their scores uniform in [0, 1)."""
        height, width = pixels.shape[-2:]
        rng = np.random.default_rng(self._start(pixels))
        share = rng.uniform(_SMALLEST, _LARGEST, (self.flood_volume, 2))
        low = rng.uniform(0.0, 1.0, (self.flood_volume, 2)) * (1.0 - share)
        boxes = np.hstack([low, low + share]) * [width, height, width, height]
        scores = rng.random(self.flood_volume)
        return feature_collection(
            {"imageBBox": box, "featureClasses": feature_class("flood_object", score)}
            for box, score in zip(boxes.tolist(), scores.tolist(), strict=True)
        )

    def _start(self, pixels: Pixels) -> list[int] | None:
        return None if self.seed is None else [self.seed, zlib.crc32(pixels.tobytes())]
