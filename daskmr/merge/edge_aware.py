"""Merging that accounts for objects cut by the edges of tiles."""

from collections.abc import Iterator

import geopandas as gpd
import numpy as np

from daskmr.core.arrays import Index
from daskmr.core.truncation import cuts
from daskmr.merge._joining import join_groups
from daskmr.merge._neighbours import Neighbours
from daskmr.merge._pieces import GAP_PX, Pieces, components
from daskmr.merge._rules import Rules, Share
from daskmr.merge.base import Pairs
from daskmr.registry import plugin


@plugin
class EdgeAware(Rules):
    """Complete features compete, cut pieces yield to them, and the remaining pieces are joined.

    The column `daskmr.core.truncation.CUT` marks cut features. Complete features compete as with
    ``nms``. A piece that lies in a complete feature of another tile is dropped. Pieces of
    neighbouring tiles that agree in the strip that both tiles show are joined into the shape that
    covers all of them, with the score of the best. A piece without a match stays, and is truncated.
    """

    iou_threshold: Share = 0.5
    """Overlap strictly above this makes two features one."""
    cover_threshold: Share = 0.5
    """Share of a piece within a complete feature of another tile above which both are one
    object."""
    trace_threshold: Share = 0.5
    """Intersection over union of two pieces, within the strip that both tiles show, above which
    they are one object."""

    __hash__ = Rules.__hash__

    @property
    def reach_px(self) -> float:
        """Distance up to which features are compared; pieces of disjoint tiles need not touch."""
        return max(super().reach_px, GAP_PX)

    def links(self, features: gpd.GeoDataFrame) -> Iterator[Pairs]:
        """Yield complete rows in conflict, pieces with complete rows, and pieces that agree."""
        pieces = self._pieces(features, np.arange(len(features)))
        complete, cut = np.flatnonzero(pieces.sides == 0), np.flatnonzero(pieces.sides)
        yield from ((one, other) for one, other, _ in pieces.scene.conflicts(complete))
        near = pieces.near()
        yield from self._yielding(pieces, near, cut, whole=complete)
        yield from self._agreeing(pieces, near, cut)

    def __call__(self, features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """Return one row for each object, in canonical order."""
        order = self.order(features)
        pieces = self._pieces(features, order)
        near = pieces.near()
        kept = pieces.scene.survivors(np.flatnonzero(pieces.sides == 0))
        cut = np.flatnonzero(pieces.sides)
        stays = np.zeros(len(order), dtype=np.bool_)
        stays[kept] = stays[cut] = True
        for piece, _ in self._yielding(pieces, near, cut, whole=kept):
            stays[piece] = False
        owner = _teams(self._agreeing(pieces, near, cut[stays[cut]]), len(order))
        # Numbers among the rows that stay; all rows of a team stay, or it has only one.
        number = np.cumsum(stays) - 1
        rows = features.iloc[order[stays]].reset_index(drop=True)
        return self.limit(join_groups(rows, number[owner[stays]]))

    def _pieces(self, features: gpd.GeoDataFrame, order: Index) -> Pieces:
        tiles = features[["tile_col", "tile_row"]].to_numpy(dtype=np.int64)
        return Pieces(self.scene(features, order), cuts(features)[order], tiles[order])

    def _yielding(
        self, pieces: Pieces, near: Neighbours, cut: Index, *, whole: Index
    ) -> Iterator[Pairs]:
        """Yield pairs of a piece and a complete feature that it yields to if that is kept."""
        if not len(cut) or not len(whole):
            return
        for span in near.between(cut, whole):
            for piece, other in _same_group(span.pairs(), pieces.scene.group):
                yields = pieces.yielding(piece, other, covered=self.cover_threshold)
                yield piece[yields], other[yields]

    def _agreeing(self, pieces: Pieces, near: Neighbours, cut: Index) -> Iterator[Pairs]:
        """Yield pairs of pieces that are of one object."""
        if not len(cut):
            return
        for span in near.within(cut):
            for one, other in _same_group(span.pairs(), pieces.scene.group):
                agrees = pieces.agreeing(one, other, agreed=self.trace_threshold)
                yield one[agrees], other[agrees]


def _same_group(pairs: Iterator[Pairs], group: Index) -> Iterator[Pairs]:
    """Yield those of the pairs that are of one group."""
    for one, other in pairs:
        same = group[one] == group[other]
        yield one[same], other[same]


def _teams(pairs: Iterator[Pairs], n: int) -> Index:
    """Return for each of n rows the best row in its connected component."""
    links = list(pairs)
    none = np.empty(0, dtype=np.int64)
    one = np.concatenate([none, *(pair[0] for pair in links)])
    other = np.concatenate([none, *(pair[1] for pair in links)])
    return components(one, other, n) if len(one) else np.arange(n)
