"""Many random boxes in every tile: to load a pipeline with features."""

import zlib
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from daskmr.core.imagery import Pixels
from daskmr.models.base import classified, collection
from daskmr.registry import plugin

_SMALLEST, _LARGEST = 0.01, 0.1  # side of a box, of the tile's


@plugin
class Flood:
    """Answer each tile with random boxes."""

    thread_safe: ClassVar[bool] = True

    flood_volume: Annotated[int, Field(ge=0, le=100_000)] = 100
    """Boxes for each tile."""
    seed: Annotated[int, Field(ge=0)] | None = None
    """Start of the random numbers: with it, the same pixels give the same boxes. Always other
    boxes when None."""

    def detect(self, pixels: Pixels) -> dict[str, Any]:
        """Boxes inside the tile, their scores uniform in [0, 1)."""
        height, width = pixels.shape[-2:]
        rng = np.random.default_rng(self._start(pixels))
        share = rng.uniform(_SMALLEST, _LARGEST, (self.flood_volume, 2))
        low = rng.uniform(0.0, 1.0, (self.flood_volume, 2)) * (1.0 - share)
        boxes = np.hstack([low, low + share]) * [width, height, width, height]
        scores = rng.random(self.flood_volume)
        return collection(
            {"imageBBox": box, "featureClasses": classified("flood_object", score)}
            for box, score in zip(boxes.tolist(), scores.tolist(), strict=True)
        )

    def _start(self, pixels: Pixels) -> list[int] | None:
        return None if self.seed is None else [self.seed, zlib.crc32(pixels.tobytes())]
