"""A model that fails depending on the colour of the tile, to test the handling of failures."""

import time
from http import HTTPStatus
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from daskmr.core.imagery import Pixels
from daskmr.models.base import ModelFault, feature_class, feature_collection
from daskmr.registry import plugin

_BRIGHT, _HALF, _DARK = 200.0, 100.0, 50.0  # of 255


@plugin
class Failure:
    """A model that fails in different ways for red, green, purple and blue tiles."""

    thread_safe: ClassVar[bool] = True

    delay_s: Annotated[float, Field(ge=0, le=600)] = 5.0
    """Seconds before a blue tile is answered with HTTP 408."""

    def detect(self, pixels: Pixels) -> dict[str, Any] | str:
        """Return one ``test_object``, or fail depending on the mean colour of the tile.

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
            return {**feature_collection([]), "invalid_key": "invalid_value"}
        box = [100.0, 100.0, 200.0, 200.0]
        return feature_collection(
            [{"imageBBox": box, "featureClasses": feature_class("test_object", 1.0)}]
        )


def _colour(pixels: Pixels) -> str:
    """Return the name of the mean colour of the first three bands; fewer bands are grey."""
    if pixels.shape[0] < 3:  # noqa: PLR2004
        return "grey"
    levels = np.abs(pixels[:3]).mean(axis=(1, 2), dtype=np.float64)
    bright, dark = levels > _BRIGHT, levels < _DARK
    for name, index in (("red", 0), ("green", 1), ("blue", 2)):
        if bright[index] and dark.sum() == 2:  # noqa: PLR2004  the two others
            return name
    red, _, blue = levels
    return "purple" if min(red, blue) > _HALF and dark[1] else "grey"
