"""Which features the edge of their tile has cut off."""

import numpy as np
from numpy.typing import NDArray

from daskmr.core.boxes import Boxes
from daskmr.core.grid import TileGrid

_NEAR_PX = 1.0


def cut(
    grid: TileGrid, boxes: Boxes, *, rows: NDArray[np.int64], cols: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which boxes reach an edge of their tile that is not an edge of the grid.

    Parameters
    ----------
    grid
        The tiles.
    boxes
        Shape (N, 4), full-image pixels.
    rows, cols
        First pixel row and column of the tile that saw each box, shape (N,).

    Returns
    -------
    Shape (N,).
    """
    window = grid.window
    bottoms = np.minimum(rows + grid.tile.height, window.row_stop)
    rights = np.minimum(cols + grid.tile.width, window.col_stop)
    left = (boxes[:, 0] < cols + _NEAR_PX) & (cols > window.col)
    top = (boxes[:, 1] < rows + _NEAR_PX) & (rows > window.row)
    right = (boxes[:, 2] > rights - _NEAR_PX) & (rights < window.col_stop)
    bottom = (boxes[:, 3] > bottoms - _NEAR_PX) & (bottoms < window.row_stop)
    found: NDArray[np.bool_] = left | top | right | bottom
    return found
