"""Reading a region: each row of tiles once, the rows shared with the last strip kept.

A region never holds more than one strip (one row of its tiles), whatever its height, and reads no
pixel twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from daskmr.core.arrays import Mask
from daskmr.core.grid import Region, Tile, TileGrid, Window
from daskmr.core.imagery import Pixels
from daskmr.errors import ImageReadError
from daskmr.image.base import Source


@dataclass
class _Strip:
    """Rows of a region that are in memory."""

    row: int
    """First of them, in the full image."""
    pixels: Pixels
    """Shape (band, rows, columns of the region)."""

    @property
    def row_stop(self) -> int:
        return self.row + int(self.pixels.shape[1])


def tile_pixels(
    grid: TileGrid, region: Region, mask: Mask, *, source: Source
) -> Iterator[tuple[Tile, Pixels | ImageReadError]]:
    """Yield the selected tiles of a region, row by row, with their pixels or the read error.

    Parameters
    ----------
    grid, region
        The tiles, and which of them are the region's.
    mask
        True where a tile is run, shape (rows, columns) of the region.
    source
        Where pixels come from.

    Yields
    ------
    A tile and a view of its pixels, shape (band, y, x), valid until the next is asked for.
    """
    wanted = [tile for tile, run in zip(grid.tiles(region), mask.ravel(), strict=True) if run]
    if not wanted:
        return
    left = min(tile.window.col for tile in wanted)
    right = max(tile.window.col_stop for tile in wanted)
    strip: _Strip | None = None
    for row in sorted({tile.row for tile in wanted}):
        tiles = [tile for tile in wanted if tile.row == row]
        window = tiles[0].window
        try:
            strip = _advanced(strip, source, _columns(window, left, right))
        except ImageReadError as error:
            strip = None
            yield from ((tile, error) for tile in tiles)
            continue
        for tile in tiles:
            col = tile.window.col - left
            yield tile, strip.pixels[:, :, col : col + tile.window.width]


def _columns(window: Window, left: int, right: int) -> Window:
    return Window(row=window.row, col=left, height=window.height, width=right - left)


def _advanced(strip: _Strip | None, source: Source, window: Window) -> _Strip:
    """Return the strip of a window, reusing the rows it shares with the last strip."""
    if strip is None or strip.row_stop <= window.row:
        return _Strip(row=window.row, pixels=source.read(window))
    kept = strip.pixels[:, window.row - strip.row :]
    rest = window.row_stop - strip.row_stop
    if rest <= 0:
        return _Strip(row=window.row, pixels=kept[:, : window.height])
    below = Window(row=strip.row_stop, col=window.col, height=rest, width=window.width)
    joined: Any = np.concatenate([kept, source.read(below)], axis=1)
    return _Strip(row=window.row, pixels=joined)
