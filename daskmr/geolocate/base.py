"""Protocol of sensor models: from pixels to the ground and back."""

from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from daskmr.core.imagery import ImageInfo

Points = NDArray[np.float64]
Place = tuple[Points, Points]
"""Two coordinates of points in a plane; shape (N,) each."""


class SensorModel(Protocol):
    """Maps image pixels to the world and back, for arrays of points.

    Frozen, picklable, exact for every point. Pixels are x right, y down from the outer corner of
    the first pixel; the world is lon, lat in degrees (WGS 84) and height in metres above the
    ellipsoid.
    """

    @classmethod
    def from_image(cls, info: ImageInfo) -> Self | None:
        """Return the model of an image, or None when the image has no such metadata.

        Raises
        ------
        ValueError
            When such metadata are not supported; `daskmr.geolocate.pick` then tries the next model,
            and reports the message.
        ImageError
            When they are invalid, and no other model should be tried.
        """

    def to_world(self, pixels: Points, heights: Points | None = None) -> Points:
        """Return ground points of pixels.

        Parameters
        ----------
        pixels
            x, y; shape (N, 2).
        heights
            Height of the ground on each line of sight, metres above the ellipsoid; shape (N,). None
            for the model's default height.

        Returns
        -------
        lon within -180 and 180, lat, height; shape (N, 3); NaN for pixels off the ground.
        """

    def to_image(self, world: Points) -> Points:
        """Return pixels of ground points.

        Parameters
        ----------
        world
            lon, lat or lon, lat, height; shape (N, 2) or (N, 3). Without a height, points lie at
            the model's default height.

        Returns
        -------
        x, y; shape (N, 2); NaN for points that the model cannot place.
        """


@runtime_checkable
class Heighted(Protocol):
    """A sensor model that says whether it knows the height of the ground; others do."""

    @property
    def has_heights(self) -> bool:
        """Whether the heights of its ground points mean anything; False where all are 0."""


def has_heights(model: SensorModel | None) -> bool:
    """Return whether a sensor model knows the height of the ground; see `Heighted`."""
    return model is not None and (not isinstance(model, Heighted) or model.has_heights)


@runtime_checkable
class Ranked(Protocol):
    """A sensor model of another package that `daskmr.geolocate.pick` tries automatically."""

    rank: float
    """Place in the order; the built-in ones have 10, 20, ... in the order of their table."""
