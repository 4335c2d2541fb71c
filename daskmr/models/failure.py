"""A model that fails by the colour of the tile: to see what a pipeline makes of failures."""

import time
from http import HTTPStatus
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from daskmr.core.imagery import Pixels
from daskmr.models.base import ModelFault, classified, collection
from daskmr.registry import plugin

_BRIGHT, _HALF, _DARK = 200.0, 100.0, 50.0  # of 255


@plugin
class Failure:
    """Fail red, green, purple and blue tiles, each in its own way; answer all others."""

    thread_safe: ClassVar[bool] = True

    delay_s: Annotated[float, Field(ge=0, le=600)] = 5.0
    """Seconds that a blue tile takes before it is given up."""

    def detect(self, pixels: Pixels) -> dict[str, Any] | str:
        """One ``test_object``, unless the mean colour of the tile asks for a failure.

        Red: HTTP 500. Green: text that is not JSON. Purple: a FeatureCollection with a key that
        does not belong there. Blue: a wait, then HTTP 408.
        """
        colour = _colour(pixels)
        if colour == "red":
            raise ModelFault(HTTPStatus.INTERNAL_SERVER_ERROR, "the tile is red")
        if colour == "blue":
            time.sleep(self.delay_s)
            raise ModelFault(HTTPStatus.REQUEST_TIMEOUT, "the tile is blue")
        if colour == "green":
            return '{"type": "FeatureCollection", "features": [{"type": "Feature", '
        if colour == "purple":
            return {**collection([]), "invalid_key": "invalid_value"}
        box = [100.0, 100.0, 200.0, 200.0]
        return collection([{"imageBBox": box, "featureClasses": classified("test_object", 1.0)}])


def _colour(pixels: Pixels) -> str:
    """Name of the mean colour of the first three bands; a single band is grey."""
    if pixels.shape[0] < 3:  # noqa: PLR2004
        return "grey"
    levels = np.abs(pixels[:3]).mean(axis=(1, 2), dtype=np.float64)
    bright, dark = levels > _BRIGHT, levels < _DARK
    for name, index in (("red", 0), ("green", 1), ("blue", 2)):
        if bright[index] and dark.sum() == 2:  # noqa: PLR2004  the two others
            return name
    red, _, blue = levels
    return "purple" if min(red, blue) > _HALF and dark[1] else "grey"
