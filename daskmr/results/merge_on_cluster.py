"""Merging on the workers of a cluster: blocks of parts there, what lies at their borders here.

A worker reads the parts of its block, merges what nothing outside the block can act on, and hands
back the survivors together with the rest as it was. The rests are merged as
`daskmr.results.merge_parts` merges parts, so that the answer is the same to the last bit.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from itertools import islice
from typing import Any

import geopandas as gpd
import numpy as np

from daskmr.core.boxes import Boxes
from daskmr.core.features import concat, empty
from daskmr.errors import StoreError
from daskmr.merge.base import Merge
from daskmr.results.merge_parts import Extent, Read, Seam, at_most, near, rects_of, split_open

BLOCK = 50_000
"""Features of a block, but for the end of its last part."""
_AHEAD = 2
"""Blocks for each thread of the cluster that are worked on or wait to be fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Parts that are merged as one task, and what lies around them."""

    extents: tuple[Extent, ...]
    """Of its parts, in the order in which they are read."""
    around: Boxes
    """Rectangles of other parts near by, shape (M, 4), full-image pixels."""

    @property
    def extent(self) -> Extent:
        """Of all its parts as one."""
        n_features = sum(extent.n_features for extent in self.extents)
        name = self.extents[0].name
        return Extent(name=name, rects=rects_of(self.extents), n_features=n_features)

    def merged(self, merge: Merge, read: Read) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
        """Return the survivors that nothing around can affect, and the rest as it was."""
        together = concat([empty(), *read([extent.name for extent in self.extents])])
        is_open = near(together, self.around, merge.reach_px or 0.0)
        closed, open_rows = split_open(merge, together, is_open)
        return merge(closed), open_rows


def blocks_of(extents: Sequence[Extent], reach_px: float, size: int) -> list[Block]:
    """Return parts dealt into blocks, in their order.

    Parameters
    ----------
    extents
        Of all parts.
    reach_px
        How far features act on one another.
    size
        Features of a block.
    """
    before = np.cumsum([0, *(extent.n_features for extent in extents)])[:-1]
    starts = np.flatnonzero(np.diff(before // size, prepend=-1)).tolist()
    rects = rects_of(extents)
    owner = np.repeat(np.arange(len(extents)), [len(extent.rects) for extent in extents])
    blocks = []
    for start, stop in zip(starts, [*starts[1:], len(extents)], strict=True):
        inside = (owner >= start) & (owner < stop)
        most = _hull(rects[inside], 2.0 * reach_px + 2.0)
        is_near = (rects[:, :2] <= most[2:]).all(axis=1) & (rects[:, 2:] >= most[:2]).all(axis=1)
        blocks.append(Block(extents=tuple(extents[start:stop]), around=rects[is_near & ~inside]))
    return blocks


def merge_on_cluster(
    client: Any, merge: Merge, extents: Sequence[Extent], *, read: Read, priority: int = 0
) -> Iterator[gpd.GeoDataFrame]:
    """Yield the features that survive, in batches, as `merge_parts` does.

    Parameters
    ----------
    client
        distributed.Client whose workers can read the parts; a block that they lose is merged here.
    merge
        How; its reach has a limit.
    extents
        Parts with features, in the order in which they are read.
    read
        Reads them; picklable.
    priority
        Of the blocks, among the tasks of the cluster.
    """
    yield from at_most(
        merge.max_count, _merged_apart(client, merge, extents, read=read, priority=priority)
    )


def _merged_apart(
    client: Any, merge: Merge, extents: Sequence[Extent], *, read: Read, priority: int
) -> Iterator[gpd.GeoDataFrame]:
    blocks = blocks_of(extents, merge.reach_px or 0.0, BLOCK)
    seam = Seam(merge, [block.extent for block in blocks])
    ahead = _AHEAD * max(1, sum(client.nthreads().values()))

    def start(block: Block) -> tuple[Block, Any]:
        return block, client.submit(block.merged, merge, read, pure=False, priority=priority)

    waiting, rest = deque(map(start, blocks[:ahead])), iter(blocks[ahead:])
    number = 0
    while waiting:
        block, future = waiting.popleft()
        survivors, open_rows = _fetched(block, future, merge=merge, read=read)
        waiting.extend(map(start, islice(rest, 1)))
        yield survivors
        yield from seam.take(open_rows, number)
        number += 1


def _fetched(
    block: Block, future: Any, *, merge: Merge, read: Read
) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """Return a worker's merged block; merge it here when the cluster has lost it."""
    from distributed import KilledWorker

    try:
        merged_block: tuple[gpd.GeoDataFrame, gpd.GeoDataFrame] = future.result()
    except (KilledWorker, CancelledError, OSError, StoreError):
        return block.merged(merge, read)
    finally:
        future.release()
    return merged_block


def _hull(rects: Boxes, by: float) -> Boxes:
    """Return the bounding box of boxes, grown by *by* pixels on every side, shape (4,)."""
    return np.concatenate([rects[:, :2].min(axis=0) - by, rects[:, 2:].max(axis=0) + by])
