"""A sensor model: images whose file name says which square degree they cover."""

import re
from dataclasses import dataclass
from typing import Self

import numpy as np

from daskmr.core.imagery import ImageInfo
from daskmr.geolocate.base import Points


@dataclass(frozen=True, slots=True, kw_only=True)
class DegreeSquare:
    """``n48e011.png`` covers 48 to 49 degrees north, 11 to 12 degrees east."""

    west: float
    south: float
    width: int
    height: int

    @classmethod
    def from_image(cls, info: ImageInfo) -> Self | None:
        """The model of an image; None for one that has no such name."""
        found = re.search(r"([ns])(\d{2})([ew])(\d{3})\.\w+$", info.url)
        if found is None:
            return None
        south = float(found[2]) * (1 if found[1] == "n" else -1)
        west = float(found[4]) * (1 if found[3] == "e" else -1)
        return cls(west=west, south=south, width=info.width, height=info.height)

    def to_world(self, pixels: Points, heights: Points | None = None) -> Points:
        """lon, lat, height of pixels x, y; whole arrays at once."""
        lon = self.west + pixels[:, 0] / self.width
        lat = self.south + 1.0 - pixels[:, 1] / self.height
        height = np.zeros(len(pixels)) if heights is None else heights
        return _known(np.stack([lon, lat, height], axis=1))

    def to_image(self, world: Points) -> Points:
        """Pixels x, y of ground points."""
        x = (world[:, 0] - self.west) * self.width
        return _known(np.stack([x, (self.south + 1.0 - world[:, 1]) * self.height], axis=1))


def _known(points: Points) -> Points:
    """Points of which a part is unknown have no place at all."""
    points[~np.isfinite(points).all(axis=1)] = np.nan
    return points
