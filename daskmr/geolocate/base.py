"""What a sensor model is: pixels to the ground and back."""

from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from daskmr.core.imagery import ImageInfo

Points = NDArray[np.float64]


class SensorModel(Protocol):
    """Maps image pixels to the world and back, for arrays of points.

    Frozen, picklable, exact for every point. Pixels are x right, y down from the outer corner of
    the first pixel; the world is lon, lat in degrees (WGS 84) and height in metres above the
    ellipsoid.
    """

    @classmethod
    def from_image(cls, info: ImageInfo) -> Self | None:
        """The model of an image, or None when the image has no such metadata.

        Raises
        ------
        ValueError
            When it has such metadata and they cannot be used; `daskmr.geolocate.pick` takes the
            next best model then, and tells the words.
        ImageError
            When they make no sense, and nothing else should be tried.
        """

    def to_world(self, pixels: Points, heights: Points | None = None) -> Points:
        """Ground points of pixels.

        Parameters
        ----------
        pixels
            x, y; shape (N, 2).
        heights
            Where each ray of sight is cut, metres above the ellipsoid; shape (N,). None for the
            height that the model has for itself.

        Returns
        -------
        lon within -180 and 180, lat, height; shape (N, 3); NaN where there is no answer.
        """

    def to_image(self, world: Points) -> Points:
        """Pixels of ground points.

        Parameters
        ----------
        world
            lon, lat or lon, lat, height; shape (N, 2) or (N, 3). Without a height, points lie at
            the one that the model has for itself.

        Returns
        -------
        x, y; shape (N, 2); NaN where there is no answer.
        """
