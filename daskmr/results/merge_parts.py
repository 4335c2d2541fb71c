"""Merging from parts, a region at a time: as exact as all at once, and small in memory.

A merge decides about features that are near one another. So what is near nothing that is still to
be read can be merged and let go, and only the rest is held: features at seams to regions that are
not read yet, and whatever hangs together with them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from daskmr.core.boxes import Boxes
from daskmr.core.features import boxes, concat, empty
from daskmr.merge import best
from daskmr.merge.base import Merge, Pairs

_MARGIN_PX = 1.0
"""A larger reach does no harm, and covers rounding."""

Read = Callable[[Iterable[str]], Iterator[gpd.GeoDataFrame]]
"""Features of parts, in the order of their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Area covered by the features of one part."""

    name: str
    """Of the part."""
    rects: Boxes
    """Boxes around all their boxes, shape (M, 4), full-image pixels: one for most of them, and one
    for each that lies apart."""
    n_features: int
    """How many."""


def extent_of(name: str, rows: Boxes, home: Boxes) -> Extent:
    """Return the extent of a part some of whose features lie far from its tiles.

    Parameters
    ----------
    name
        Of the part.
    rows
        Boxes of its features, shape (N, 4), full-image pixels.
    home
        Where they are expected, shape (4,).
    """
    is_home = (rows[:, :2] >= home[:2]).all(axis=1) & (rows[:, 2:] <= home[2:]).all(axis=1)
    rects = rows[~is_home]
    if is_home.any():
        near = rows[is_home]
        most = np.concatenate([near[:, :2].min(axis=0), near[:, 2:].max(axis=0)])
        rects = np.vstack([most, rects])
    return Extent(name=name, rects=rects, n_features=len(rows))


def merge_parts(merge: Merge, extents: Sequence[Extent], read: Read) -> Iterator[gpd.GeoDataFrame]:
    """Yield the surviving features in batches, equal to merging all parts at once.

    Parameters
    ----------
    merge
        How.
    extents
        Parts with features, in the order in which they are read; neighbours soon after another keep
        what is held small.
    read
        Reads them.

    Returns
    -------
    Tables in pixels; each in canonical order.
    """
    tables = _merged_apart(merge, extents, read)
    yield from at_most(merge.max_count, tables)


def at_most(count: int | None, tables: Iterable[gpd.GeoDataFrame]) -> Iterator[gpd.GeoDataFrame]:
    """Yield the best features of merged tables; all of them without a limit."""
    if count is None:
        yield from tables
        return
    kept = empty()
    for table in tables:
        kept = best(concat([kept, table]), count)
    yield kept


def _merged_apart(
    merge: Merge, extents: Sequence[Extent], read: Read
) -> Iterator[gpd.GeoDataFrame]:
    """Yield the surviving features, however many there are."""
    names = [extent.name for extent in extents]
    if merge.reach_px is None:
        yield from (merge(table) for table in read(names))
        return
    seam = Seam(merge, extents)
    for number, table in enumerate(read(names)):
        yield from seam.take(table, number)


@dataclass
class Seam:
    """Features that wait, since parts still to come may affect them."""

    merge: Merge
    """How; its reach has a limit."""
    extents: Sequence[Extent]
    """Of all that is to come, in its order."""
    _unread: "_Unread" = field(init=False)
    _waiting: gpd.GeoDataFrame = field(default_factory=empty)

    def __post_init__(self) -> None:
        self._unread = _Unread(self.extents, self.merge.reach_px or 0.0)

    def take(self, table: gpd.GeoDataFrame, number: int) -> Iterator[gpd.GeoDataFrame]:
        """Add the features of an extent; yield those that nothing still to come can affect."""
        together = concat([self._waiting, table])
        is_open = self._unread.near(together, number)
        closed, self._waiting = split_open(self.merge, together, is_open)
        if len(closed):
            yield self.merge(closed)


def split_open(
    merge: Merge, features: gpd.GeoDataFrame, is_open: NDArray[np.bool_]
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """Split features into those that can be merged now and those linked to open ones.

    Parameters
    ----------
    merge
        How they are going to be merged.
    features
        Table of N features in pixels.
    is_open
        Those that more may come near to, shape (N,).
    """
    is_open = is_open.copy()
    if is_open.any() and not is_open.all():
        _spread(is_open, list(merge.links(features)))
    closed, waiting = features[~is_open], features[is_open]
    return closed.reset_index(drop=True), waiting.reset_index(drop=True)


def near(features: gpd.GeoDataFrame, rects: Boxes, reach_px: float) -> NDArray[np.bool_]:
    """Return which features lie within reach of any of some rectangles, shape (N,).

    Parameters
    ----------
    features
        Table of N features in pixels.
    rects
        Shape (M, 4), full-image pixels.
    reach_px
        How far features act on one another.
    """
    is_near = np.zeros(len(features), dtype=np.bool_)
    tree = shapely.STRtree(_grown(rects, reach_px))
    is_near[tree.query(shapely.box(*boxes(features).T), predicate="intersects")[0]] = True
    return is_near


@dataclass
class _Unread:
    """The parts that are still to be read."""

    extents: Sequence[Extent]
    reach_px: float
    _tree: shapely.STRtree = field(init=False)
    _owner: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self._tree = shapely.STRtree(_grown(rects_of(self.extents), self.reach_px))
        sizes = [len(extent.rects) for extent in self.extents]
        self._owner = np.repeat(np.arange(len(sizes)), sizes)

    def near(self, features: gpd.GeoDataFrame, number: int) -> NDArray[np.bool_]:
        """Return which features lie within reach of the parts after part `number`, shape (N,)."""
        rows = boxes(features)
        is_near = np.zeros(len(rows), dtype=np.bool_)
        row, rect = self._tree.query(shapely.box(*rows.T), predicate="intersects")
        is_near[row[self._owner[rect] > number]] = True
        return is_near


def rects_of(extents: Iterable[Extent]) -> Boxes:
    """Return all rectangles of extents, shape (M, 4), full-image pixels."""
    return np.vstack([np.empty((0, 4)), *(extent.rects for extent in extents)])


def _spread(is_open: NDArray[np.bool_], links: Sequence[Pairs]) -> None:
    """Mark every feature as open that is linked to an open one."""
    while True:
        before = int(is_open.sum())
        for one, other in links:
            either = is_open[one] | is_open[other]
            is_open[one[either]] = True
            is_open[other[either]] = True
        if int(is_open.sum()) == before:
            return


def _grown(rows: Boxes, reach_px: float) -> NDArray[np.object_]:
    by = reach_px + _MARGIN_PX
    grown: NDArray[np.object_] = shapely.box(
        rows[:, 0] - by, rows[:, 1] - by, rows[:, 2] + by, rows[:, 3] + by
    )
    return grown
