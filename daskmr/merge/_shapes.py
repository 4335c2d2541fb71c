"""Overlap of features by their own geometry: boxes, oriented boxes, polygons, points.

A polygon that fills its box is compared as the box, and so is a geometry without area (a line, or a
point that came with a box). Of other polygons, exact intersections are computed only for those
pairs that may be in conflict by the overlap of their boxes and oriented boxes.
"""

from typing import Any, Literal

import numpy as np
import shapely
from numpy.typing import NDArray

from daskmr.core.arrays import Floats, Index
from daskmr.core.boxes import Boxes, bounds

Metric = Literal["iou", "ios"]

THIN_PX = 0.1
"""Width given to a box without one, as Model Runner does, so that it can be compared."""
ALMOST = 1e-9
"""Relative rounding error of an area."""
_RING = 5
_FLAT = (shapely.GeometryType.POLYGON.value, shapely.GeometryType.MULTIPOLYGON.value)


class Shapes:
    """The shapes of rows.

    Parameters
    ----------
    geometry
        shapely geometries, shape (N,), full-image pixels.
    boxes
        Their boxes, shape (N, 4): their own where the model gave one.
    metric
        ``iou``: intersection over union; ``ios``: intersection over the smaller one.
    distance_px
        Points without a box that are no farther apart than this overlap wholly.
    """

    def __init__(
        self, geometry: NDArray[Any], boxes: Boxes, *, metric: Metric, distance_px: float
    ) -> None:
        self.metric, self.distance_px = metric, distance_px
        self.boxes = widen(boxes)
        """Boxes around the shapes, shape (N, 4)."""
        self.area = _area(self.boxes)
        """Of the shapes, shape (N,), square pixels."""
        own = shapely.area(geometry)
        odd = np.flatnonzero(np.abs(own - self.area) > ALMOST * self.area)
        flat = odd[np.isin(shapely.get_type_id(geometry[odd]), _FLAT)]
        whole = valid(geometry[flat])
        solid = shapely.area(whole) > 0
        flat, whole = flat[solid], whole[solid]
        # A box other than its polygon's bounds is the model's own; the polygon is more exact.
        self.boxes[flat] = bounds(whole)
        around = _area(self.boxes[flat])
        self.area[flat] = shapely.area(whole)
        is_shape = self.area[flat] < (1 - ALMOST) * around
        self.shaped = flat[is_shape]
        """Numbers of the rows that are compared by their own geometry, sorted."""
        self.geometry = whole[is_shape]
        """Geometry of `shaped`, valid polygons."""
        self._slot = np.full(len(geometry), -1, dtype=np.int64)
        self._slot[self.shaped] = np.arange(len(self.shaped))
        self._corners = corners(self.geometry)
        self.points = self._take_points(geometry, odd)
        """Numbers of the rows that are points without a box, sorted."""

    def __len__(self) -> int:
        return len(self.boxes)

    def is_shaped(self, rows: Index) -> NDArray[np.bool_]:
        """Return a mask of the rows that are compared by their own geometry."""
        shaped: NDArray[np.bool_] = self._slot[rows] >= 0
        return shaped

    def polygon(self, rows: Index) -> NDArray[Any]:
        """Return the polygons by which rows are compared: their own, or their box."""
        polygons = np.empty(len(rows), dtype=object)
        own = self.is_shaped(rows)
        polygons[own] = self.geometry[self._slot[rows[own]]]
        polygons[~own] = shapely.box(*self.boxes[rows[~own]].T)
        return polygons

    def overlap(self, one: Index, other: Index, *, above: float = 0.0) -> Floats:
        """Return the metric of pairs of rows; exact only above `above`, else any value up to it."""
        shared = self.shared(one, other, above=above)
        return _ratio(shared, self.area[one], self.area[other], metric=self.metric)

    def shared(self, one: Index, other: Index, *, above: float = 0.0) -> Floats:
        """Return the shared area of pairs; an upper bound where the metric is not over `above`."""
        first, second = self.boxes[one], self.boxes[other]
        sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
        sides = np.maximum(sides, 0.0)
        areas: Floats = sides[:, 0] * sides[:, 1]
        if len(self.shaped):
            pairs = np.flatnonzero((self.is_shaped(one) | self.is_shaped(other)) & (areas > 0))
            areas[pairs] = self._exact(one[pairs], other[pairs], areas[pairs], above=above)
        if len(self.points):
            is_point = np.zeros(len(self), dtype=np.bool_)
            is_point[self.points] = True
            pairs = np.flatnonzero(is_point[one] & is_point[other])
            apart = (
                first[pairs, :2] + first[pairs, 2:] - second[pairs, :2] - second[pairs, 2:]
            ) / 2
            near = np.hypot(apart[:, 0], apart[:, 1]) <= self.distance_px
            areas[pairs] = np.where(near, self.area[one[pairs]], 0.0)
        return areas

    def _exact(self, one: Index, other: Index, most: Floats, *, above: float) -> Floats:
        """Return shared areas of pairs of which one at least is shaped.

        Parameters
        ----------
        one, other
            Rows.
        most
            Areas that their boxes share.
        above
            Metric up to which an upper bound is enough.
        """
        first, second = self.area[one], self.area[other]
        most = np.minimum(most, np.minimum(first, second))
        left = np.flatnonzero(_ratio(most, first, second, metric=self.metric) > above)
        for a, b in ((one, other), (other, one)):
            most[left] = np.minimum(most[left], self._in_frame(a[left], b[left]))
            left = left[_ratio(most[left], first[left], second[left], metric=self.metric) > above]
        both = shapely.intersection(self.polygon(one[left]), self.polygon(other[left]))
        most[left] = shapely.area(both)
        return most

    def _in_frame(self, one: Index, other: Index) -> Floats:
        """Bound shared areas by the frame of an oriented box; infinite for other shapes."""
        frame, points = self._corners_of(one), self._corners_of(other)
        origin, x, y = frame[:, 0], frame[:, 1] - frame[:, 0], frame[:, 3] - frame[:, 0]
        shared = np.ones(len(one))
        for axis in (x, y):
            length = np.hypot(axis[:, 0], axis[:, 1])
            along = ((points - origin[:, None]) * (axis / length[:, None])[:, None]).sum(axis=2)
            low, high = along.min(axis=1).clip(min=0), np.minimum(along.max(axis=1), length)
            shared *= (high - low).clip(min=0)
        # Rounding must not make the bound smaller than what it bounds.
        return np.where(np.isnan(shared), np.inf, shared * (1 + ALMOST) + ALMOST)

    def _corners_of(self, rows: Index) -> Floats:
        """Return corners of oriented and plain boxes, shape (N, 4, 2); NaN for other shapes."""
        x0, y0, x1, y1 = self.boxes[rows].T
        points = np.stack([x0, y0, x1, y0, x1, y1, x0, y1], axis=1).reshape(-1, 4, 2)
        own = self.is_shaped(rows)
        points[own] = self._corners[self._slot[rows[own]]]
        return points

    def _take_points(self, geometry: NDArray[Any], odd: Index) -> Index:
        """Return rows that are points without a box, and set their box to their reach."""
        rows = odd[shapely.get_type_id(geometry[odd]) == shapely.GeometryType.POINT.value]
        around = bounds(geometry[rows])
        rows = rows[(self.area[rows] <= 2 * THIN_PX**2) & ~np.isnan(around).any(axis=1)]
        centre = bounds(geometry[rows])[:, :2]
        half = max(self.distance_px, THIN_PX) / 2
        self.boxes[rows] = np.hstack([centre - half, centre + half])
        self.area[rows] = _area(self.boxes[rows])
        points: Index = rows
        return points


def widen(boxes: Boxes) -> Boxes:
    """Return the boxes, with a small width or height for those without."""
    wide = boxes.copy()
    wide[:, 2:] += np.where(wide[:, 2:] == wide[:, :2], THIN_PX, 0.0)
    return wide


def _ratio(shared: Floats, first: Floats, second: Floats, *, metric: Metric) -> Floats:
    """Return the metric of pairs from areas; 0 where both are empty."""
    whole = np.minimum(first, second) if metric == "ios" else first + second - shared
    ratios: Floats = np.zeros_like(shared)
    np.divide(shared, whole, out=ratios, where=whole > 0)
    return ratios


def _area(boxes: Boxes) -> Floats:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    area: Floats = sides[:, 0] * sides[:, 1]
    return area


def valid(geometry: NDArray[Any]) -> NDArray[Any]:
    """Return the geometries; those whose rings cross themselves are made valid."""
    shapes = np.asarray(shapely.force_2d(geometry), dtype=object).reshape(-1)
    wrong = np.flatnonzero(~shapely.is_valid(shapes))
    shapes[wrong] = shapely.make_valid(shapes[wrong], method="structure", keep_collapsed=False)
    return shapes


def corners(geometry: NDArray[Any]) -> Floats:
    """Return corners of rectangles in any direction, shape (N, 4, 2); NaN for other geometries."""
    result = np.full((len(geometry), 4, 2), np.nan)
    outer = shapely.get_exterior_ring(geometry)
    plain = (shapely.get_num_coordinates(geometry) == _RING) & ~shapely.is_missing(outer)
    rows = np.flatnonzero(plain)
    points = shapely.get_coordinates(geometry[rows]).reshape(-1, _RING, 2)[:, :4]
    sides = np.roll(points, -1, axis=1) - points
    lengths = np.hypot(sides[..., 0], sides[..., 1])
    straight = np.abs((sides * np.roll(sides, -1, axis=1)).sum(axis=2))
    right = (straight <= 1e-6 * lengths * np.roll(lengths, -1, axis=1)).all(axis=1)
    result[rows[right]] = points[right]
    return result
