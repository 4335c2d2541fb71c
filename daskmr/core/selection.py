"""Selection of the tiles of a grid that are run, small enough to send with every task."""

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
import shapely

from daskmr.core.arrays import Mask
from daskmr.core.grid import Region, TileGrid


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Tiles of a grid that are run; the others are skipped or lie outside the area of interest."""

    shape: tuple[int, int]
    """Rows and columns of tiles."""
    packed: bytes
    """The mask in row-major bits, deflated."""

    @classmethod
    def of(cls, mask: Mask) -> Self:
        """Return the selection of a mask of shape (rows, columns)."""
        rows, cols = mask.shape
        return cls(shape=(rows, cols), packed=zlib.compress(np.packbits(mask).tobytes()))

    @property
    def mask(self) -> Mask:
        """True where a tile is run, shape (rows, columns); read-only."""
        return _unpack(self.packed, self.shape)

    def of_region(self, region: Region) -> Mask:
        """Return the part of the mask that a region owns."""
        rows, cols = region.rows, region.cols
        return self.mask[rows.start : rows.stop, cols.start : cols.stop]


@lru_cache(maxsize=16)
def _unpack(packed: bytes, shape: tuple[int, int]) -> Mask:
    """Inflate a mask once for all regions that use it."""
    bits = np.frombuffer(zlib.decompress(packed), dtype=np.uint8)
    mask: Mask = np.unpackbits(bits, count=shape[0] * shape[1]).astype(np.bool_).reshape(shape)
    mask.flags.writeable = False
    return mask


def tiles_touching(grid: TileGrid, area: Any) -> Mask:
    """Return a mask of the tiles that share area with a polygon.

    Parameters
    ----------
    grid
        The tiles.
    area
        shapely Polygon or MultiPolygon in full-image pixels.

    Returns
    -------
    Shape of the grid; False also for a tile that only touches the polygon's border.
    """
    boxes = shapely.box(*grid.boxes().T)
    shapely.prepare(area)
    meets = shapely.intersects(area, boxes) & ~shapely.touches(area, boxes)
    mask: Mask = np.asarray(meets, dtype=np.bool_).reshape(grid.shape)
    return mask


def over_empty_blocks(grid: TileGrid, empty: Mask, block: tuple[int, int]) -> Mask:
    """Return a mask of the tiles all of whose storage blocks are empty.

    Parameters
    ----------
    grid
        The tiles.
    empty
        True where a storage block is empty, shape (block rows, block columns).
    block
        Rows and columns of pixels in a block.

    Returns
    -------
    Shape of the grid.
    """
    filled = np.zeros((empty.shape[0] + 1, empty.shape[1] + 1), dtype=np.int64)
    filled[1:, 1:] = np.cumsum(np.cumsum(~empty, axis=0), axis=1)
    x0, y0, x1, y1 = grid.boxes().astype(np.int64).T
    top, left = y0 // block[0], x0 // block[1]
    bottom, right = -(-y1 // block[0]), -(-x1 // block[1])
    count = filled[bottom, right] - filled[top, right] - filled[bottom, left] + filled[top, left]
    mask: Mask = (count == 0).reshape(grid.shape)
    return mask
