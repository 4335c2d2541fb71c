"""Heights of the ground: a window of a raster, read once."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyproj.exceptions import ProjError

from daskmr.errors import ImageError, RequestError
from daskmr.geolocate import _crs
from daskmr.geolocate.base import Points
from daskmr.geolocate.terrain.dem_tiles import is_tiled, tiles

log = logging.getLogger(__name__)

_BLOCK = 16384
_MARGIN = 2
_MOST_CELLS = 2**28
_FAR_CELLS = 100
_METRES = {"", "m", "metre", "metres", "meter", "meters"}
_HALF = 0.5
_HALF_TURN = 180.0
Opener = Callable[[str], Any]
"""Opens a raster: a rasterio dataset."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeightGrid:
    """Heights at the centres of the cells of a grid, bilinear between them.

    Within the outer half of the cells at the edge, heights are those of the edge.
    """

    heights: Points
    """Metres above the ellipsoid of WGS 84; shape (rows, columns)."""
    transform: tuple[float, float, float, float, float, float]
    """a, b, c, d, e, f from the outer corner of the first cell to the axes of `crs`."""
    crs: str
    low: float
    """Metres; no cell is lower."""
    high: float
    """Metres; no cell is higher."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HeightGrid) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in self.__slots__
        )

    def __hash__(self) -> int:
        return hash((self.transform, self.crs, self.low, self.high, self.heights.shape))

    def at(self, world: Points) -> Points:
        """Return heights of the ground at points.

        Parameters
        ----------
        world
            lon, lat in the first two columns.

        Returns
        -------
        Metres above the ellipsoid, shape (N,); NaN outside the grid.
        """
        heights = np.empty(len(world))
        for start in range(0, len(world), _BLOCK):
            part = slice(start, start + _BLOCK)
            heights[part] = self._between(*self.cells(world[part]))
        return heights

    def cells(self, world: Points) -> tuple[Points, Points]:
        """Return columns and rows of points, from the outer corner of the first cell."""
        a, b, c, d, e, f = self.transform
        rows, cols = self.heights.shape
        middle = c + a * cols / 2 + b * rows / 2
        across, up = _crs.to_plane(self.crs, world, middle=middle)
        with np.errstate(invalid="ignore"):
            across, up = across - c, up - f
            if b == d == 0:
                return across / a, up / e
            scale = 1.0 / (a * e - b * d)
            return scale * (e * across - b * up), scale * (a * up - d * across)

    def _between(self, cols: Points, rows: Points) -> Points:
        n_rows, n_cols = self.heights.shape
        beside = ~((cols >= 0) & (cols <= n_cols) & (rows >= 0) & (rows <= n_rows))
        left, right, u = _split(np.where(beside, 0.0, cols), n_cols)
        above, below, v = _split(np.where(beside, 0.0, rows), n_rows)
        flat = self.heights.ravel()

        def across(row: Any) -> Points:
            start = row * n_cols
            values: Points = flat[start + left] * (1.0 - u) + flat[start + right] * u
            return values

        heights = across(above) * (1.0 - v) + across(below) * v
        heights[beside] = np.nan
        return heights


def _split(place: Points, n: int) -> tuple[Any, Any, Points]:
    """Return cell before, cell after, and the weight of the latter in linear interpolation."""
    inner = np.clip(place - _HALF, 0, n - 1)
    before = inner.astype(np.intp)
    return before, np.minimum(before + 1, n - 1), inner - before


def cut(path: str, ground: Points, *, geoid: str | None, open_raster: Opener) -> HeightGrid:
    """Read the window of a raster of heights that lies under some points.

    Cells without a height are interpolated from others nearby, or are at sea level when there are
    none.

    Parameters
    ----------
    path
        Raster for rasterio; its first band, in metres. Or a folder of tiles, or a pattern of their
        names: see `daskmr.geolocate.terrain.dem_tiles.tiles`.
    ground
        lon, lat in the first two columns; NaN for points to ignore.
    geoid
        Raster of the geoid's heights above the ellipsoid, when the raster's are above the geoid
        (as those of SRTM and DTED are); None when they are above the ellipsoid.
    open_raster
        Opens a raster by its name.

    Raises
    ------
    RequestError
        When the raster cannot be read, has no CRS or other units, or lies elsewhere.
    """
    ground = ground[np.isfinite(ground[:, :2]).all(axis=1)]
    try:
        grid = (_join_tiles if is_tiled(path) else _cut)(path, ground, open_raster)
    except ProjError as error:
        msg = f"elevation: {path}: {error}"
        raise RequestError(msg) from error
    if geoid is None:
        return grid
    undulation = cut(geoid, _centres(grid), geoid=None, open_raster=open_raster)
    heights = grid.heights.copy()
    for row in range(len(heights)):
        heights[row] += undulation.at(_centres(grid, row))
    if np.isnan(heights).any():
        msg = f"elevation: geoid {geoid} does not cover {path} under the image"
        raise RequestError(msg)
    return _grid(heights, grid.transform, grid.crs)


def _cut(path: str, ground: Points, open_raster: Opener) -> HeightGrid:
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            raster = open_raster(path)
        with raster as dataset:
            crs = _crs_of(path, dataset)
            # Only its frame is used here, so the raster may be of any size.
            level = np.broadcast_to(np.zeros(1), dataset.shape)
            window = _window(path, _grid(level, tuple(dataset.transform)[:6], crs), ground)
            heights = _read_heights(dataset, window)
            return _grid(heights, tuple(dataset.window_transform(window))[:6], crs)
    except RasterioError as error:
        msg = f"elevation: {path} cannot be read: {error}"
        raise RequestError(msg) from error


def _join_tiles(path: str, ground: Points, open_raster: Opener) -> HeightGrid:
    """Return one grid from all tiles under points, on the cells of the finest.

    Where there is no tile the ground is at sea level: data sets have no tiles of the open sea.
    Files of a pattern that cannot be opened count as missing tiles.
    """
    if not len(ground):
        msg = f"elevation: {path} does not lie under the image"
        raise RequestError(msg)
    lon = _crs.nearest_turn(ground[:, 0], float(ground[0, 0]))
    box = np.array([[lon.min(), ground[:, 1].min()], [lon.max(), ground[:, 1].max()]])
    west, south, east, north = np.floor(box).astype(int).ravel().tolist()
    cells = [(x, y) for y in range(south, north + 1) for x in range(west, east + 1)]
    names = tiles(path, cells)
    grids, lost = [], []
    for name in names:
        try:
            grids.append(_cut(name, box, open_raster))
        except (ImageError, RequestError) as error:
            if "{" not in path:
                raise
            lost.append(str(error))
    if not grids:
        why = f": {lost[0]}" if lost else ""
        msg = f"elevation: {path} has no tile under the image{why}"
        raise RequestError(msg)
    if len(grids) < len(cells):
        log.warning("no elevation", extra={"n_tiles": len(cells) - len(grids), "path": path})
    return grids[0] if len(grids) == len(cells) == 1 else _mosaic(path, grids, box)


def _mosaic(path: str, grids: list[HeightGrid], box: Points) -> HeightGrid:
    """Return the mosaic of several grids; where they overlap, the last one counts."""
    finest = min(grids, key=lambda grid: abs(grid.transform[0] * grid.transform[4]))
    if not all(_crs.is_angular(grid.crs) for grid in grids):
        msg = f"elevation: {path} has tiles that are not in degrees"
        raise RequestError(msg)
    transform, (n_rows, n_cols) = _lattice(finest.transform, box)
    if n_rows * n_cols > _MOST_CELLS:
        msg = f"elevation: {path} has {n_cols} x {n_rows} cells under the image, too many"
        raise RequestError(msg)
    heights = np.zeros((n_rows, n_cols))
    joined = _grid(heights, transform, _crs.WGS84)
    for row in range(n_rows):
        centres = _centres(joined, row)
        for grid in grids:
            tile_heights = grid.at(centres)
            heights[row] = np.where(np.isnan(tile_heights), heights[row], tile_heights)
    return _grid(heights, transform, _crs.WGS84)


def _lattice(transform: Any, box: Points) -> tuple[Any, tuple[int, int]]:
    """Return transform and shape of a grid aligned with another one that covers a box."""
    a, _, c, _, e, f = transform
    c += 2 * _HALF_TURN * round((box[0, 0] - c) / (2 * _HALF_TURN))
    cols, rows = np.sort((box - [c, f]) / [a, e], axis=0).T
    col, row = int(np.floor(cols[0])) - _MARGIN, int(np.floor(rows[0])) - _MARGIN
    shape = int(np.ceil(rows[1])) + _MARGIN - row, int(np.ceil(cols[1])) + _MARGIN - col
    return (a, 0.0, c + a * col, 0.0, e, f + e * row), shape


def _crs_of(path: str, dataset: Any) -> str:
    if dataset.crs is None or not _crs.on_earth(dataset.crs.to_wkt()):
        msg = f"elevation: {path} has no CRS on the Earth"
        raise RequestError(msg)
    units = (dataset.units[0] or "").lower()
    if units not in _METRES:
        msg = f"elevation: {path} is in {units!r}, not in metres"
        raise RequestError(msg)
    wkt: str = dataset.crs.to_wkt()
    return wkt


def _window(path: str, frame: HeightGrid, ground: Points) -> Any:
    """Return the window of the cells under points, with a margin."""
    from rasterio.windows import Window

    rows, cols = (
        (max(0, int(np.floor(known.min())) - _MARGIN), min(n, int(np.ceil(known.max())) + _MARGIN))
        if len(known := places[np.isfinite(places)])
        else (0, 0)
        for places, n in zip(frame.cells(ground)[::-1], frame.heights.shape, strict=True)
    )
    if rows[0] >= rows[1] or cols[0] >= cols[1]:
        msg = f"elevation: {path} does not lie under the image"
        raise RequestError(msg)
    window = Window.from_slices(rows, cols)
    if window.width * window.height > _MOST_CELLS:
        size = f"{window.width} x {window.height}"
        msg = f"elevation: {path} has {size} cells under the image, too many"
        raise RequestError(msg)
    return window


def _read_heights(dataset: Any, window: Any) -> Points:
    """Return heights of a window, float32; cells that are void are filled."""
    from rasterio.fill import fillnodata

    band = dataset.read(1, window=window, masked=True)
    void = np.ma.getmaskarray(band) | ~np.isfinite(band.filled(0))
    scale, offset = dataset.scales[0], dataset.offsets[0]
    heights = np.asarray(band.filled(0), dtype=np.float32) * np.float32(scale) + np.float32(offset)
    heights[void] = 0
    if void.any() and not void.all():
        heights = fillnodata(heights, mask=~void, max_search_distance=_FAR_CELLS)
    return np.asarray(heights)


def _grid(heights: Points, transform: Any, crs: str) -> HeightGrid:
    low, high = float(heights.min()), float(heights.max())
    return HeightGrid(heights=heights, transform=transform, crs=crs, low=low, high=high)


def _centres(grid: HeightGrid, row: int | None = None) -> Points:
    """Return lon, lat of the centres of a row of cells; without one, of cells all over the grid."""
    a, b, c, d, e, f = grid.transform
    n_rows, n_cols = grid.heights.shape
    cols = np.linspace(0, n_cols, 33) if row is None else np.arange(n_cols) + _HALF
    rows = np.linspace(0, n_rows, 33) if row is None else np.array([row + _HALF])
    x, y = (part.ravel() for part in np.meshgrid(cols, rows))
    return _crs.from_plane(grid.crs, a * x + b * y + c, d * x + e * y + f)
