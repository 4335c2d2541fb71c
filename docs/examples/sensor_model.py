"""A sensor model: images whose file name says which square degree they cover."""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from daskmr.core.imagery import ImageInfo
from daskmr.geolocate.base import Points


@dataclass(frozen=True, slots=True, kw_only=True)
class DegreeSquare:
    """``n48e011.png`` covers 48 to 49 degrees north, 11 to 12 degrees east."""

    rank: ClassVar[float] = 65.0
    """Tried after AFFINE (60) and before CORNERS (70); without it, only when it is named."""

    west: float
    south: float
    width: int
    height: int

    @classmethod
    def from_image(cls, info: ImageInfo) -> Self | None:
        """Return the model of an image; None for one that has no such name."""
        match = re.search(r"([ns])(\d{2})([ew])(\d{3})\.\w+$", info.url)
        if match is None:
            return None
        south = float(match[2]) * (1 if match[1] == "n" else -1)
        west = float(match[4]) * (1 if match[3] == "e" else -1)
        return cls(west=west, south=south, width=info.width, height=info.height)

    def to_world(self, pixels: Points, heights: Points | None = None) -> Points:
        """Return lon, lat, height of pixels x, y; whole arrays at once."""
        lon = self.west + pixels[:, 0] / self.width
        lat = self.south + 1.0 - pixels[:, 1] / self.height
        height = np.zeros(len(pixels)) if heights is None else heights
        return _known(np.stack([lon, lat, height], axis=1))

    def to_image(self, world: Points) -> Points:
        """Return pixels x, y of ground points."""
        x = (world[:, 0] - self.west) * self.width
        return _known(np.stack([x, (self.south + 1.0 - world[:, 1]) * self.height], axis=1))


def _known(points: Points) -> Points:
    """Return points, all NaN where a part of one is not finite."""
    points[~np.isfinite(points).all(axis=1)] = np.nan
    return points
