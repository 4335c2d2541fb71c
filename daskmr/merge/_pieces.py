"""Which pieces of tiles are of one object: those that agree on what both tiles see.

Of an object that the edge between two tiles cuts, both tiles see the part in the strip that they
share. So the two pieces agree there: along the edge, when it cuts both of them; and else in all of
what both pieces cover of the strip.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from daskmr.core.boxes import Boxes, bounds, iou
from daskmr.core.cuts import BOTTOM, LEFT, MOST_NEAR_PX, RIGHT, TOP, Sides
from daskmr.merge._greedy import Scene
from daskmr.merge._neighbours import Neighbours
from daskmr.merge._shapes import Shapes

Index = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

GAP_PX = 2 * MOST_NEAR_PX
"""Most pixels between pieces of one object in tiles that share no pixel."""
_BEYOND_PX = 2.0
_SIDES = ((LEFT, RIGHT), (TOP, BOTTOM))


@dataclass(frozen=True)
class Pieces:
    """Features of a scene, where the edges of tiles have cut them, and by which tiles."""

    scene: Scene
    """The features, N of them."""
    sides: Sides
    """Bits of the sides on which each is cut, shape (N,)."""
    tiles: Index
    """First pixel column and row of the tile that saw each, shape (N, 2)."""

    def near(self) -> Neighbours:
        """Finds features that touch, or nearly do."""
        by = np.array([-1, -1, 1, 1]) * GAP_PX / 2
        return Neighbours(self.scene.shapes.boxes + by, 0.0)

    def yielding(self, piece: Index, whole: Index, *, covered: float) -> Mask:
        """Which pieces show nothing that the other, a complete feature, does not.

        Parameters
        ----------
        piece, whole
            Pairs of features of one group.
        covered
            Part of a piece's area above which it is the same object, seen by another tile.
        """
        shapes = self.scene.shapes
        shared = shapes.shared(piece, whole)
        far = (self.tiles[piece] != self.tiles[whole]).any(axis=1)
        found: Mask = far & (shared > covered * shapes.area[piece])
        left = np.flatnonzero(~found & (shared > 0))
        found[left] = self._in_conflict(piece[left], whole[left])
        return found

    def agreeing(self, one: Index, other: Index, *, agreed: float) -> Mask:
        """Which pairs of pieces of one group are of one object.

        Parameters
        ----------
        one, other
            Pairs of cut features.
        agreed
            Intersection over union of what both tiles see, above which it is one object.
        """
        found = self._in_conflict(one, other)
        differs = self.tiles[one] != self.tiles[other]
        for axis in (0, 1):
            rows = np.flatnonzero(~found & differs[:, axis] & ~differs[:, 1 - axis])
            first, second = one[rows], other[rows]
            swap = self.tiles[first, axis] > self.tiles[second, axis]
            low, high = np.where(swap, second, first), np.where(swap, first, second)
            found[rows] = self._agreement(low, high, axis) > agreed
        return found

    def _in_conflict(self, one: Index, other: Index) -> Mask:
        overlap = self.scene.shapes.overlap(one, other)
        threshold = self.scene.threshold
        over: Mask = overlap > np.minimum(threshold[one], threshold[other])
        return over

    def _agreement(self, low: Index, high: Index, axis: int) -> Floats:
        """How well pieces of two tiles in a row (axis 0) or column (axis 1) of tiles agree."""
        found = np.zeros(len(low))
        if not len(low):
            return found
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
        found[across] = _along(low_trace[across], high_trace[across], 1 - axis)
        rest = np.flatnonzero(~across)
        low_trace[:, axis] = np.maximum(low_trace[:, axis], begins)
        high_trace[:, 2 + axis] = np.minimum(high_trace[:, 2 + axis], ends)
        found[rest] = iou(low_trace[rest], high_trace[rest])
        odd = rest[(shapes.is_shaped(low[rest]) | shapes.is_shaped(high[rest])) & (found[rest] > 0)]
        found[odd] = _shared(
            (shapes.polygon(low[odd]), shapes.polygon(high[odd])),
            (low_trace[odd], high_trace[odd]),
        )
        return found


def components(one: Index, other: Index, n: int) -> Index:
    """For each of n rows the smallest number that hangs together with it by pairs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(one), dtype=np.bool_), (one, other)), shape=(n, n))
    n_found, label = connected_components(graph, directed=False)
    least = np.full(n_found, n, dtype=np.int64)
    np.minimum.at(least, label, np.arange(n))
    found: Index = least[label]
    return found


def _trace(shapes: Shapes, rows: Index, strip: tuple[Floats, Floats], *, axis: int) -> Boxes:
    """Boxes of what shaped features show in a strip along an edge; NaN for nothing."""
    low, high = np.minimum(*strip) - _BEYOND_PX, np.maximum(*strip) + _BEYOND_PX
    around = shapes.boxes[rows].copy()
    around[:, axis], around[:, 2 + axis] = low, high
    return bounds(shapely.intersection(shapes.polygon(rows), shapely.box(*around.T)))


def _along(first: Boxes, second: Boxes, axis: int) -> Floats:
    """Intersection over union of the sides of boxes along an axis."""
    low, high = (
        (np.maximum, np.minimum)[i](first[:, 2 * i + axis], second[:, 2 * i + axis]) for i in (0, 1)
    )
    least, most = (
        (np.minimum, np.maximum)[i](first[:, 2 * i + axis], second[:, 2 * i + axis]) for i in (0, 1)
    )
    shared, whole = np.nan_to_num(high - low, nan=0.0), np.nan_to_num(most - least, nan=0.0)
    found: Floats = np.zeros(len(first))
    np.divide(shared, whole, out=found, where=(whole > 0) & (shared > 0))
    return found


def _shared(shapes: tuple[NDArray[Any], NDArray[Any]], clips: tuple[Boxes, Boxes]) -> Floats:
    """Intersection over union of shapes, each clipped to its own box."""
    first, second = (
        shapely.intersection(shape, shapely.box(*clip.T))
        for shape, clip in zip(shapes, clips, strict=True)
    )
    shared = shapely.area(shapely.intersection(first, second))
    whole = shapely.area(first) + shapely.area(second) - shared
    found: Floats = np.zeros(len(shared))
    np.divide(shared, whole, out=found, where=whole > 0)
    return found
