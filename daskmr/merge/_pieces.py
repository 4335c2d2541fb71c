"""Pieces of one object in several tiles: they agree in the strip that both tiles show.

When the edge between two tiles cuts an object, both tiles show its part in the strip that they
share. So the two pieces agree there: along the edge, when it cuts both of them; else in the whole
area of both pieces within the strip.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from daskmr.core.arrays import Floats, Index, Mask
from daskmr.core.boxes import Boxes, bounds, iou
from daskmr.core.truncation import BOTTOM, LEFT, MOST_NEAR_PX, RIGHT, TOP, Sides
from daskmr.merge._greedy import Scene
from daskmr.merge._neighbours import Neighbours
from daskmr.merge._shapes import Shapes

GAP_PX = 2 * MOST_NEAR_PX
"""Largest distance between pieces of one object in tiles that share no pixel, pixels."""
_BEYOND_PX = 2.0
_SIDES = ((LEFT, RIGHT), (TOP, BOTTOM))


@dataclass(frozen=True)
class Pieces:
    """Features of a scene, with the sides on which edges of tiles have cut them."""

    scene: Scene
    """The features, N of them."""
    sides: Sides
    """Bits of the sides on which each is cut, shape (N,)."""
    tiles: Index
    """First pixel column and row of the tile of each, shape (N, 2)."""

    def near(self) -> Neighbours:
        """Return a search for features that touch, or nearly do."""
        by = np.array([-1, -1, 1, 1]) * GAP_PX / 2
        return Neighbours(self.scene.shapes.boxes + by, 0.0)

    def yielding(self, piece: Index, whole: Index, *, covered: float) -> Mask:
        """Return a mask of pieces that are part of the other feature, a complete one.

        Parameters
        ----------
        piece, whole
            Pairs of features of one group.
        covered
            Share of a piece's area within the complete feature above which it is the same object.
        """
        shapes = self.scene.shapes
        shared = shapes.shared(piece, whole)
        far = (self.tiles[piece] != self.tiles[whole]).any(axis=1)
        yields: Mask = far & (shared > covered * shapes.area[piece])
        left = np.flatnonzero(~yields & (shared > 0))
        yields[left] = self._in_conflict(piece[left], whole[left])
        return yields

    def agreeing(self, one: Index, other: Index, *, agreed: float) -> Mask:
        """Return a mask of pairs of pieces of one group that are of one object.

        Parameters
        ----------
        one, other
            Pairs of cut features.
        agreed
            Intersection over union in the strip of both tiles, above which it is one object.
        """
        agrees = self._in_conflict(one, other)
        differs = self.tiles[one] != self.tiles[other]
        for axis in (0, 1):
            rows = np.flatnonzero(~agrees & differs[:, axis] & ~differs[:, 1 - axis])
            first, second = one[rows], other[rows]
            swap = self.tiles[first, axis] > self.tiles[second, axis]
            low, high = np.where(swap, second, first), np.where(swap, first, second)
            agrees[rows] = self._agreement(low, high, axis) > agreed
        return agrees

    def _in_conflict(self, one: Index, other: Index) -> Mask:
        overlap = self.scene.shapes.overlap(one, other)
        threshold = self.scene.threshold
        over: Mask = overlap > np.minimum(threshold[one], threshold[other])
        return over

    def _agreement(self, low: Index, high: Index, axis: int) -> Floats:
        """Return the agreement of pieces of two tiles in a row (axis 0) or column (axis 1)."""
        agreement = np.zeros(len(low))
        if not len(low):
            return agreement
        shapes = self.scene.shapes
        begins = self.tiles[high, axis].astype(np.float64)
        is_low_cut = (self.sides[low] & _SIDES[axis][1]) > 0
        ends = np.where(is_low_cut, shapes.boxes[low, 2 + axis], np.inf)
        across = is_low_cut & ((self.sides[high] & _SIDES[axis][0]) > 0)
        across &= begins <= ends + MOST_NEAR_PX
        low_trace, high_trace = shapes.boxes[low].copy(), shapes.boxes[high].copy()
        for trace, rows in ((low_trace, low), (high_trace, high)):
            odd = np.flatnonzero(across & shapes.is_shaped(rows))
            strip = begins[odd], ends[odd]
            trace[odd] = _trace(shapes, rows[odd], strip, axis=axis)
        agreement[across] = _along(low_trace[across], high_trace[across], 1 - axis)
        rest = np.flatnonzero(~across)
        low_trace[:, axis] = np.maximum(low_trace[:, axis], begins)
        high_trace[:, 2 + axis] = np.minimum(high_trace[:, 2 + axis], ends)
        agreement[rest] = iou(low_trace[rest], high_trace[rest])
        odd = rest[
            (shapes.is_shaped(low[rest]) | shapes.is_shaped(high[rest])) & (agreement[rest] > 0)
        ]
        agreement[odd] = _shared(
            (shapes.polygon(low[odd]), shapes.polygon(high[odd])),
            (low_trace[odd], high_trace[odd]),
        )
        return agreement


def components(one: Index, other: Index, n: int) -> Index:
    """Return for each of n rows the smallest number in its connected component."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(one), dtype=np.bool_), (one, other)), shape=(n, n))
    n_components, label = connected_components(graph, directed=False)
    least = np.full(n_components, n, dtype=np.int64)
    np.minimum.at(least, label, np.arange(n))
    smallest: Index = least[label]
    return smallest


def _trace(shapes: Shapes, rows: Index, strip: tuple[Floats, Floats], *, axis: int) -> Boxes:
    """Return boxes of shaped features within a strip along an edge; NaN for empty ones."""
    low, high = np.minimum(*strip) - _BEYOND_PX, np.maximum(*strip) + _BEYOND_PX
    around = shapes.boxes[rows].copy()
    around[:, axis], around[:, 2 + axis] = low, high
    return bounds(shapely.intersection(shapes.polygon(rows), shapely.box(*around.T)))


def _along(first: Boxes, second: Boxes, axis: int) -> Floats:
    """Return intersection over union of the sides of boxes along an axis."""
    low, high = (
        (np.maximum, np.minimum)[i](first[:, 2 * i + axis], second[:, 2 * i + axis]) for i in (0, 1)
    )
    least, most = (
        (np.minimum, np.maximum)[i](first[:, 2 * i + axis], second[:, 2 * i + axis]) for i in (0, 1)
    )
    shared, whole = np.nan_to_num(high - low, nan=0.0), np.nan_to_num(most - least, nan=0.0)
    ratios: Floats = np.zeros(len(first))
    np.divide(shared, whole, out=ratios, where=(whole > 0) & (shared > 0))
    return ratios


def _shared(shapes: tuple[NDArray[Any], NDArray[Any]], clips: tuple[Boxes, Boxes]) -> Floats:
    """Return intersection over union of shapes, each clipped to its own box."""
    first, second = (
        shapely.intersection(shape, shapely.box(*clip.T))
        for shape, clip in zip(shapes, clips, strict=True)
    )
    shared = shapely.area(shapely.intersection(first, second))
    whole = shapely.area(first) + shapely.area(second) - shared
    ratios: Floats = np.zeros(len(shared))
    np.divide(shared, whole, out=ratios, where=whole > 0)
    return ratios
