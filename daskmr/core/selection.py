"""Which tiles of a grid are run, small enough to travel with every task."""

import zlib
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from daskmr.core.grid import Region, TileGrid

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Tiles of a grid that are run; the others are skipped or lie outside the area of interest."""

    shape: tuple[int, int]
    """Rows and columns of tiles."""
    packed: bytes
    """The mask in row-major bits, deflated."""

    @classmethod
    def of(cls, mask: Mask) -> Self:
        """The selection of a mask of shape (rows, columns)."""
        rows, cols = mask.shape
        return cls(shape=(rows, cols), packed=zlib.compress(np.packbits(mask).tobytes()))

    @property
    def mask(self) -> Mask:
        """True where a tile is run, shape (rows, columns)."""
        bits = np.frombuffer(zlib.decompress(self.packed), dtype=np.uint8)
        n_rows, n_cols = self.shape
        found: Mask = np.unpackbits(bits, count=n_rows * n_cols).astype(np.bool_)
        return found.reshape(self.shape)

    def of_region(self, region: Region) -> Mask:
        """The part of the mask that a region owns."""
        rows, cols = region.rows, region.cols
        return self.mask[rows.start : rows.stop, cols.start : cols.stop]


def touching(grid: TileGrid, area: Any) -> Mask:
    """Tiles that share area with a polygon.

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
    found: Mask = np.asarray(meets, dtype=np.bool_).reshape(grid.shape)
    return found


def over_empty_blocks(grid: TileGrid, empty: Mask, block: tuple[int, int]) -> Mask:
    """Tiles all of whose storage blocks hold nothing.

    Parameters
    ----------
    grid
        The tiles.
    empty
        True where a storage block holds nothing, shape (block rows, block columns).
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
    found: Mask = (count == 0).reshape(grid.shape)
    return found
