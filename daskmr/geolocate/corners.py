"""Sensor model of images with four known corners: a homography."""

from dataclasses import dataclass
from itertools import combinations
from typing import Self

import numpy as np

from daskmr.core.imagery import ImageInfo
from daskmr.geolocate import _crs
from daskmr.geolocate._control import Control, control
from daskmr.geolocate.base import Points

_LEAST_AREA = 1e-6
Matrix = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CornersModel:
    """A homography from pixels to the axes of a CRS; heights are 0 by default."""

    matrix: Matrix
    """Row by row, 3 x 3, of pixels less `centre` to points less `origin`; the last is 1."""
    centre: tuple[float, float]
    """x, y."""
    origin: tuple[float, float]
    """Along the axes of `crs`."""
    crs: str

    @property
    def has_heights(self) -> bool:
        """False: nothing tells how high the ground is."""
        return False

    @classmethod
    def from_image(cls, info: ImageInfo) -> Self | None:
        """Return the model through the corners of an image; None also for corners without area.

        Raises
        ------
        ImageError
            When PROJ does not understand the CRS of the corners.
        """
        points = control(info.corners, info) if info.corners else None
        if points is None or not _spans(points):
            return None
        centre, origin = points.pixels.mean(axis=0), points.plane.mean(axis=0)
        matrix = _homography(points.pixels - centre, points.plane - origin)
        return cls(
            matrix=tuple(matrix.ravel().tolist()),
            centre=(float(centre[0]), float(centre[1])),
            origin=(float(origin[0]), float(origin[1])),
            crs=points.crs,
        )

    def to_world(self, pixels: Points, heights: Points | None = None) -> Points:
        """Return ground points of pixels; see `SensorModel.to_world`."""
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        across, up = _map_points(self._matrix(), (pixels[:, 0], pixels[:, 1]), self.centre)
        placed = _crs.from_plane(self.crs, across + self.origin[0], up + self.origin[1])
        return _crs.at_heights(placed, heights)

    def to_image(self, world: Points) -> Points:
        """Return pixels of ground points, whatever their height; see `SensorModel.to_image`."""
        across, up = _crs.to_plane(self.crs, np.asarray(world), middle=self.origin[0])
        inverse = np.linalg.inv(self._matrix())
        x, y = _map_points(inverse / inverse[2, 2], (across, up), self.origin)
        pixels = np.stack([x + self.centre[0], y + self.centre[1]], axis=1)
        pixels[~np.isfinite(pixels).all(axis=1)] = np.nan
        return pixels

    def _matrix(self) -> Points:
        return np.array(self.matrix).reshape(3, 3)


def _map_points(
    matrix: Points, place: tuple[Points, Points], start: tuple[float, float]
) -> tuple[Points, Points]:
    """Return points through a homography; NaN for those beyond its horizon."""
    (a, b, c), (d, e, f), (g, h, one) = matrix.tolist()
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        x, y = place[0] - start[0], place[1] - start[1]
        depth = g * x + h * y + one
        depth = np.where(depth > 0, depth, np.nan)
        return (a * x + b * y + c) / depth, (d * x + e * y + f) / depth


def _homography(start: Points, end: Points) -> Points:
    """Return the 3 x 3 matrix that maps four points to four others.

    Both are scaled to about -1 to 1 first, so that the equations are well-conditioned.
    """
    small, large = np.abs(start).max(axis=0), np.abs(end).max(axis=0)
    (x, y), (u, v) = (start / small).T, (end / large).T
    one, zero = np.ones(4), np.zeros(4)
    rows = np.concatenate(
        [
            np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], axis=1),
            np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], axis=1),
        ]
    )
    solved = np.append(np.linalg.solve(rows, np.concatenate([u, v])), 1.0).reshape(3, 3)
    matrix: Points = np.diag([*large, 1.0]) @ solved @ np.diag([*(1 / small), 1.0])
    return matrix


def _spans(points: Control) -> bool:
    """Return whether no three points are collinear, and image and ground agree in orientation."""
    turns = []
    for start in (points.pixels, points.plane):
        areas = np.array([_area(start[list(some)]) for some in combinations(range(4), 3)])
        if np.abs(areas).min() <= _LEAST_AREA * np.ptp(start, axis=0).prod():
            return False
        turns.append(np.sign(areas))
    return abs(int((turns[0] * turns[1]).sum())) == len(turns[0])


def _area(triangle: Points) -> float:
    (ax, ay), (bx, by) = triangle[1] - triangle[0], triangle[2] - triangle[0]
    return float(ax * by - ay * bx)
