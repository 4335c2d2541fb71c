"""Sensor model of images with five ground control points or more: a thin-plate spline."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from daskmr.core.imagery import ImageInfo
from daskmr.errors import ImageError
from daskmr.geolocate import _crs, _spline
from daskmr.geolocate._control import Control, control
from daskmr.geolocate.base import Points

_STEPS = 25
_WITHIN_PX = 1e-8
_LEAST_PX = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GcpModel:
    """Splines from pixels to the axes of a CRS and to heights, exact at every control point.

    The inverse is solved to 1e-8 pixels.
    """

    nodes: Points
    """Pixels of the control points less `centre`, over `scale`; shape (N, 2)."""
    weights: Points
    """Weights of the splines of both axes less `origin`, and of height; shape (N + 3, 3)."""
    centre: tuple[float, float]
    """x, y."""
    scale: tuple[float, float]
    """Half of the control points' extent in x and y, so that both axes have equal weight."""
    origin: tuple[float, float]
    """Along the axes of `crs`."""
    crs: str

    @property
    def has_heights(self) -> bool:
        """Whether the control points have heights."""
        return bool(self.weights[:, 2].any())

    @classmethod
    def from_image(cls, info: ImageInfo) -> Self | None:
        """Return the model through the control points of an image.

        Control points that share a pixel become one, at their mean.

        Raises
        ------
        ImageError
            When the control points lie on a line, or PROJ does not understand their CRS.
        """
        points = control(info.gcps, info) if info.gcps else None
        if points is None:
            return None
        points = _distinct(points)
        centre, origin = points.pixels.mean(axis=0), points.plane.mean(axis=0)
        scale = np.maximum(np.ptp(points.pixels, axis=0) / 2, _LEAST_PX)
        nodes = (points.pixels - centre) / scale
        try:
            weights = _spline.fit(nodes, np.column_stack([points.plane - origin, points.heights]))
        except np.linalg.LinAlgError as error:
            msg = f"{info.url}: {len(nodes)} GCPs that span no area"
            raise ImageError(msg) from error
        return cls(
            nodes=nodes,
            weights=weights,
            centre=(float(centre[0]), float(centre[1])),
            scale=(float(scale[0]), float(scale[1])),
            origin=(float(origin[0]), float(origin[1])),
            crs=points.crs,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GcpModel) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in self.__slots__
        )

    def __hash__(self) -> int:
        return hash((self.centre, self.scale, self.origin, self.crs, self.weights.tobytes()))

    def to_world(self, pixels: Points, heights: Points | None = None) -> Points:
        """Return ground points of pixels; see `SensorModel.to_world`."""
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        with np.errstate(invalid="ignore", over="ignore"):
            at = (pixels - self.centre) / self.scale
            across, up, high = _spline.evaluate(self.nodes, self.weights, at).T
            world = _crs.from_plane(self.crs, across + self.origin[0], up + self.origin[1])
        return _crs.at_heights(world, high if heights is None else heights)

    def to_image(self, world: Points) -> Points:
        """Return pixels of ground points, whatever their height; see `SensorModel.to_image`."""
        world = np.asarray(world, dtype=np.float64)
        aim = np.stack(_crs.to_plane(self.crs, world, middle=self.origin[0]), axis=1) - self.origin
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            return self._solve(aim) * self.scale + self.centre

    def _solve(self, aim: Points) -> Points:
        """Return scaled pixels at which the splines equal `aim`, by Newton's method."""
        level, *turn = self.weights[-3:, :2]
        scaled: Points = (aim - level) @ np.linalg.inv(np.stack(turn))
        left = np.flatnonzero(np.isfinite(scaled).all(axis=1))
        for _ in range(_STEPS):
            step = self._step(scaled[left], aim[left])
            scaled[left] += step
            left = left[(np.abs(step) * self.scale).max(axis=1, initial=0) > _WITHIN_PX]
            if not len(left):
                break
        scaled[left] = np.nan
        scaled[~np.isfinite(scaled).all(axis=1)] = np.nan
        return scaled

    def _step(self, at: Points, aim: Points) -> Points:
        """Return one of Newton's steps from scaled pixels."""
        weights = self.weights[:, :2]
        x, y = (aim - _spline.evaluate(self.nodes, weights, at)).T
        (a, b), (c, d) = np.moveaxis(_spline.slopes(self.nodes, weights, at), 0, 2)
        step: Points = np.stack([d * x - b * y, a * y - c * x]) / (a * d - b * c)
        return step.T


def _distinct(points: Control) -> Control:
    """Return control points of which none share a pixel."""
    pixels, which, times = np.unique(points.pixels, axis=0, return_inverse=True, return_counts=True)
    if len(pixels) == len(points.pixels):
        return points
    sums = [
        np.bincount(which.ravel(), column) / times for column in (*points.plane.T, points.heights)
    ]
    return Control(pixels, np.stack(sums[:2], axis=1), sums[2], points.crs)
