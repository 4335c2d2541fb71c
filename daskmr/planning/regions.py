"""How many tiles make a region."""

import math

import numpy as np

from daskmr.core.grid import RegionGrid, Size, TileGrid
from daskmr.core.imagery import ImageInfo

STRIP_BYTES = 128 * 2**20
"""Most bytes of pixels that a region holds at once, unless a single tile is larger."""
MAX_REGIONS = 2000
"""A job has about this many regions at most."""
_SLOTS, _REGIONS_PER_SLOT = 4, 4
_SMALL_SIDE, _LARGE_SIDE, _LARGE_JOB = 8, 16, 10_000
_ALIGN_FROM = 4


def plan_regions(grid: TileGrid, info: ImageInfo, *, whole: bool = False) -> RegionGrid:
    """Return regions for an image.

    The answer depends on the image and the grid only, so that a job keeps its regions on any
    cluster. It aims at regions of seconds of work (8 x 8 tiles, 16 x 16 for large jobs), several
    for each worker slot, few in all, with strips that fit into memory.

    Parameters
    ----------
    grid
        The tiles.
    info
        The image they are cut from.
    whole
        Whether a region is held in memory at once (arrays) instead of strip by strip. Then a
        region also spans at least the overlap, which `map_overlap` asks of its chunks.
    """
    n_rows, n_cols = grid.shape
    side = _side(n_rows * n_cols)
    budget = STRIP_BYTES // (info.bands * info.itemsize)
    if whole:
        reach = math.isqrt(budget)
        return RegionGrid(
            grid=grid,
            tiles_per_side=Size(
                height=max(
                    _fitting(grid, "height", reach=reach, side=side), _spanning(grid, "height")
                ),
                width=max(
                    _fitting(grid, "width", reach=reach, side=side), _spanning(grid, "width")
                ),
            ),
        )
    wide = _fitting(grid, "width", reach=budget // grid.tile.height, side=side)
    high = _aligned(min(side, n_rows), grid, info)
    return RegionGrid(grid=grid, tiles_per_side=Size(height=high, width=wide))


def _side(n_tiles: int) -> int:
    """Return tiles along a side of a region for a job of that many tiles."""
    side = _LARGE_SIDE if n_tiles > _LARGE_JOB else _SMALL_SIDE
    side = min(side, max(1, math.isqrt(n_tiles // (_SLOTS * _REGIONS_PER_SLOT))))
    return max(side, math.ceil(math.sqrt(n_tiles / MAX_REGIONS)))


def _stride(grid: TileGrid, axis: str) -> int:
    """Return smallest step between neighbouring tiles, at least 1 pixel."""
    first = grid.rows if axis == "height" else grid.cols
    return max(1, int(np.diff(first).min())) if len(first) > 1 else 1


def _extent(grid: TileGrid, axis: str) -> int:
    return grid.tile.height if axis == "height" else grid.tile.width


def _fitting(grid: TileGrid, axis: str, *, reach: int, side: int) -> int:
    """At most *side* tiles, as many as fit into *reach* pixels along the axis; at least one."""
    n = grid.shape[0] if axis == "height" else grid.shape[1]
    fitting = (reach - _extent(grid, axis)) // _stride(grid, axis) + 1
    return max(1, min(side, n, fitting))


def _spanning(grid: TileGrid, axis: str) -> int:
    """Return tiles whose strides together are no less than a tile, and so than any overlap."""
    return math.ceil(_extent(grid, axis) / _stride(grid, axis))


def _aligned(high: int, grid: TileGrid, info: ImageInfo) -> int:
    """Return the number of tile rows near *high* whose regions start nearest to block rows."""
    if len(grid.rows) <= high or high < _ALIGN_FROM:
        return high

    def offset(n_rows: int) -> int:
        start = int(grid.rows[n_rows])
        return min(start % info.block_height, -start % info.block_height)

    candidates = range(high, high - high // _ALIGN_FROM - 1, -1)
    return min(candidates, key=lambda n_rows: (offset(n_rows), -n_rows))
