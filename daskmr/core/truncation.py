"""Truncation: features that the edge of their tile has cut, before and after merging."""

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from daskmr.core.arrays import Mask
from daskmr.core.boxes import Boxes
from daskmr.core.features import TEXT, boxes
from daskmr.core.grid import TileGrid

LEFT, TOP, RIGHT, BOTTOM = 1, 2, 4, 8
"""Bits of sides."""
CUT = "cut"
"""Column of the bits of the sides on which a feature is cut, uint8; before and after merging."""
MERGED_FROM = "merged_from"
"""Column of the features that a feature was joined from, as JSON; "" for none; after merging."""
TRUNCATED, EDGE_DISTANCE = "truncated", "edge_distance"
"""Columns that `add_quality` adds."""
MOST_NEAR_PX = 8.0
"""Largest distance between an edge and a feature that it has cut, pixels."""
_LEAST_NEAR_PX = 3.0
_NEAR_SHARE = 0.005
_SMALL_TILE_SHARE = 1 / 32
_BITS = np.array([LEFT, TOP, RIGHT, BOTTOM], dtype=np.uint8)
Sides = NDArray[np.uint8]


def sides(
    grid: TileGrid,
    feature_boxes: Boxes,
    *,
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    run: Mask | None = None,
) -> Sides:
    """Return the sides on which boxes come close to an edge of their tile beside another tile.

    Close is 0.5 % of the tile, but no less than 3 pixels (in very small tiles: 3 %) and no more
    than `MOST_NEAR_PX`. Edges of the image, of the area of interest, and those to tiles that are
    not run do not cut features.

    Parameters
    ----------
    grid
        The tiles.
    feature_boxes
        Shape (N, 4), full-image pixels.
    rows, cols
        First pixel row and column of the tile of each box, shape (N,).
    run
        True for tiles that are run, shape of the grid; None for all.

    Returns
    -------
    Sums of `LEFT`, `TOP`, `RIGHT` and `BOTTOM`, shape (N,).
    """
    near = [_near_px(side) for side in (grid.tile.width, grid.tile.height)]
    close = _gaps(grid, feature_boxes, rows=rows, cols=cols, run=run) < np.tile(near, 2)
    bits: Sides = (close * _BITS).sum(axis=1, dtype=np.uint8)
    return bits


def margin_px(grid: TileGrid) -> float:
    """Return the distance from an edge of a tile within which features may be cut, pixels."""
    return max(_near_px(grid.tile.width), _near_px(grid.tile.height))


def _near_px(side: int) -> float:
    least = min(_LEAST_NEAR_PX, side * _SMALL_TILE_SHARE)
    return float(np.clip(_NEAR_SHARE * side, least, MOST_NEAR_PX))


def distances(
    grid: TileGrid,
    feature_boxes: Boxes,
    *,
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    run: Mask | None = None,
) -> NDArray[np.float64]:
    """Return pixels from boxes to the nearest edge that may have cut them; parameters as `sides`.

    Returns
    -------
    Shape (N,); 0 for a box that reaches over it, infinite where no edge could.
    """
    gaps = _gaps(grid, feature_boxes, rows=rows, cols=cols, run=run)
    nearest_px: NDArray[np.float64] = np.maximum(gaps.min(axis=1, initial=np.inf), 0.0)
    return nearest_px


def flag_cuts(features: gpd.GeoDataFrame, grid: TileGrid, run: Mask | None) -> gpd.GeoDataFrame:
    """Return a table in pixels with the column `CUT`."""
    return features.assign(**{CUT: sides(grid, **_placement(features), run=run)})


def cuts(features: gpd.GeoDataFrame) -> Sides:
    """Return the bits of sides of a table's rows, shape (N,); 0 in a table without the column."""
    if CUT not in features:
        return np.zeros(len(features), dtype=np.uint8)
    bits: Sides = features[CUT].to_numpy(dtype=np.uint8)
    return bits


def is_joined(features: gpd.GeoDataFrame) -> NDArray[np.bool_]:
    """Return a mask of the rows of a table that were joined from several, shape (N,)."""
    if MERGED_FROM not in features:
        return np.zeros(len(features), dtype=np.bool_)
    joined: NDArray[np.bool_] = (features[MERGED_FROM] != "").to_numpy(dtype=np.bool_)
    return joined


def add_quality(features: gpd.GeoDataFrame, grid: TileGrid, run: Mask | None) -> gpd.GeoDataFrame:
    """Return a merged table with columns of the quality of each feature, without `CUT`.

    Returns
    -------
    The table with `TRUNCATED` (bool), `EDGE_DISTANCE` (float64; pixels to the nearest edge that may
    have cut the feature, NaN where none could) and `MERGED_FROM`.
    """
    gaps = distances(grid, **_placement(features), run=run).round(3)
    origins = features.get(MERGED_FROM, "")
    quality = {
        TRUNCATED: cuts(features) != 0,
        EDGE_DISTANCE: np.where(np.isfinite(gaps), gaps, np.nan),
        MERGED_FROM: pd.Series(origins, index=features.index, dtype=TEXT),
    }
    return features.drop(columns=[CUT], errors="ignore").assign(**quality)


def _placement(features: gpd.GeoDataFrame) -> dict[str, Any]:
    rows, cols = (features[name].to_numpy(dtype=np.int64) for name in ("tile_row", "tile_col"))
    return {"feature_boxes": boxes(features), "rows": rows, "cols": cols}


def _gaps(
    grid: TileGrid,
    feature_boxes: Boxes,
    *,
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    run: Mask | None,
) -> NDArray[np.float64]:
    """Return pixels from each side of boxes to that edge of their tile; infinite at outer edges."""
    window = grid.window
    bottoms = np.minimum(rows + grid.tile.height, window.row_stop)
    rights = np.minimum(cols + grid.tile.width, window.col_stop)
    gaps = np.stack([cols, rows, rights, bottoms], axis=1).astype(np.float64) - feature_boxes
    gaps[:, :2] *= -1
    around = np.zeros((grid.shape[0] + 2, grid.shape[1] + 2), dtype=np.bool_)
    around[1:-1, 1:-1] = True if run is None else run
    i = np.clip(np.searchsorted(grid.rows, rows), 0, grid.shape[0] - 1) + 1
    j = np.clip(np.searchsorted(grid.cols, cols), 0, grid.shape[1] - 1) + 1
    beyond = [around[i, j - 1], around[i - 1, j], around[i, j + 1], around[i + 1, j]]
    gaps[~np.stack(beyond, axis=1)] = np.inf
    return gaps
