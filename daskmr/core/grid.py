"""The tile grid: which windows of an image are sent to the model, and which region owns each.

Per axis there are ``n = 1`` tiles if the extent is not larger than a tile, and otherwise
``n = ceil((extent - overlap) / (tile - overlap))``. With the ``cover`` strategy tile i starts at
``round(i * (extent - tile) / (n - 1))``: every pixel is covered, every tile is full-size, every
overlap is at least the one asked for. With ``fixed`` it starts at ``i * (tile - overlap)`` and the
last tile of an axis is what remains.

The tiles depend on the image (or the area of interest), the tile size and the overlap only. Regions
group k x k tiles into one unit of work; they assign tiles to workers and never change them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

Strategy = Literal["cover", "fixed"]
Starts = NDArray[np.int64]
Position = tuple[int, int]
"""First pixel row and column of a tile, in the full image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """An extent in pixels."""

    height: int
    """Rows, at least 0."""
    width: int
    """Columns, at least 0."""

    @classmethod
    def parse(cls, value: "int | str | tuple[int, int] | Size") -> Self:
        """Return a size from ``512``, ``"512"``, ``"640x480"`` (width x height) or (width, height).

        Raises
        ------
        ValueError
            When the value is none of these.

        Examples
        --------
        >>> Size.parse("640x480")
        Size(height=480, width=640)
        """
        if isinstance(value, Size):
            return cls(height=value.height, width=value.width)
        parts = value.lower().split("x") if isinstance(value, str) else value
        try:
            numbers = [int(n) for n in (parts if isinstance(parts, list | tuple) else [parts])]
        except ValueError:
            numbers = []
        if len(numbers) not in {1, 2} or min(numbers) < 0:
            msg = f"{value!r} is not a size; write N or WIDTHxHEIGHT in pixels"
            raise ValueError(msg)
        return cls(width=numbers[0], height=numbers[-1])

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A rectangle of whole pixels of an image."""

    row: int
    """First row, in the full image."""
    col: int
    """First column, in the full image."""
    height: int
    """Rows."""
    width: int
    """Columns."""

    @property
    def row_stop(self) -> int:
        """First row below the window."""
        return self.row + self.height

    @property
    def col_stop(self) -> int:
        """First column right of the window."""
        return self.col + self.width

    @property
    def size(self) -> "Size":
        """Rows and columns of the window."""
        return Size(height=self.height, width=self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One window of the image that is sent to the model."""

    window: Window
    """The pixels, in the full image."""
    row: int
    """Row of the tile in the grid."""
    col: int
    """Column of the tile in the grid."""


def starts(extent: int, tile: int, overlap: int, *, strategy: Strategy = "cover") -> Starts:
    """Return the first pixel of each tile along one axis.

    Parameters
    ----------
    extent, tile, overlap
        Pixels; ``0 <= overlap < tile`` and ``extent >= 1``.
    strategy
        ``cover`` spreads full-size tiles evenly; ``fixed`` keeps the stride constant.

    Returns
    -------
    Shape (n,), increasing, the first is 0.

    Examples
    --------
    >>> starts(5000, 1024, 50).tolist()
    [0, 795, 1590, 2386, 3181, 3976]
    >>> starts(5000, 1024, 50, strategy="fixed").tolist()
    [0, 974, 1948, 2922, 3896, 4870]
    """
    if extent <= tile:
        return np.zeros(1, dtype=np.int64)
    stride = tile - overlap
    n = -(-(extent - overlap) // stride)
    steps = np.arange(n, dtype=np.int64)
    if strategy == "fixed":
        return steps * stride
    return np.rint(steps * (extent - tile) / (n - 1)).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class TileGrid:
    """Rows and columns of tiles over a window of an image."""

    window: Window
    """The window that tiles cover: the whole image, or the box around the area of interest."""
    tile: Size
    """Size of a full tile."""
    overlap: Size
    """Least number of pixels that neighbours share."""
    strategy: Strategy = "cover"
    """Spacing of tiles, see the module."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot tile anything."""
        for axis in ("height", "width"):
            tile, overlap = getattr(self.tile, axis), getattr(self.overlap, axis)
            if tile < 1:
                msg = f"tile {axis} {tile} is not at least 1 pixel"
                raise ValueError(msg)
            if not 0 <= overlap < tile:
                msg = f"overlap {axis} {overlap} is not within 0 and less than the tile's {tile}"
                raise ValueError(msg)
        if self.window.height < 1 or self.window.width < 1:
            msg = f"nothing to tile in a window of {self.window.width}x{self.window.height}"
            raise ValueError(msg)

    @property
    def rows(self) -> Starts:
        """First image row of each row of tiles, shape (n_rows,)."""
        offsets = starts(
            self.window.height, self.tile.height, self.overlap.height, strategy=self.strategy
        )
        return offsets + self.window.row

    @property
    def cols(self) -> Starts:
        """First image column of each column of tiles, shape (n_cols,)."""
        offsets = starts(
            self.window.width, self.tile.width, self.overlap.width, strategy=self.strategy
        )
        return offsets + self.window.col

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return len(self.rows), len(self.cols)

    def boxes(self) -> NDArray[np.float64]:
        """Return all tiles as boxes, row by row, shape (n_rows * n_cols, 4), image pixels."""
        rows, cols = self.rows, self.cols
        bottoms = np.minimum(rows + self.tile.height, self.window.row_stop)
        rights = np.minimum(cols + self.tile.width, self.window.col_stop)
        y0, x0 = np.meshgrid(rows, cols, indexing="ij")
        y1, x1 = np.meshgrid(bottoms, rights, indexing="ij")
        return np.stack([x0, y0, x1, y1], axis=-1).reshape(-1, 4).astype(np.float64)

    def tiles(self, region: "Region | None" = None) -> Iterator[Tile]:
        """Yield the tiles of a region (all without one), row by row."""
        rows, cols = self.rows, self.cols
        part = region or Region(row=0, col=0, rows=range(len(rows)), cols=range(len(cols)))
        for i in part.rows:
            for j in part.cols:
                row, col = int(rows[i]), int(cols[j])
                window = Window(
                    row=row,
                    col=col,
                    height=min(self.tile.height, self.window.row_stop - row),
                    width=min(self.tile.width, self.window.col_stop - col),
                )
                yield Tile(window=window, row=i, col=j)

    def region_window(self, region: "Region") -> Window:
        """Return the union of the windows of a region's tiles, in the full image."""
        rows, cols = self.rows, self.cols
        row, col = int(rows[region.rows[0]]), int(cols[region.cols[0]])
        row_stop = min(int(rows[region.rows[-1]]) + self.tile.height, self.window.row_stop)
        col_stop = min(int(cols[region.cols[-1]]) + self.tile.width, self.window.col_stop)
        return Window(row=row, col=col, height=row_stop - row, width=col_stop - col)


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A block of whole tiles: one unit of work, one Dask task, one part of the result."""

    row: int
    """Row of the region among the regions."""
    col: int
    """Column of the region among the regions."""
    rows: range
    """Rows of the grid that the region owns."""
    cols: range
    """Columns of the grid that the region owns."""

    @property
    def id(self) -> str:
        """Name of the region in parts and logs."""
        return f"r{self.row:05d}c{self.col:05d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionGrid:
    """Regions of ``tiles_per_side`` tiles over a tile grid; the last ones may be smaller."""

    grid: TileGrid
    """The tiles."""
    tiles_per_side: Size
    """Rows and columns of tiles in one region, at least 1."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of regions."""
        n_rows, n_cols = self.grid.shape
        return -(-n_rows // self.tiles_per_side.height), -(-n_cols // self.tiles_per_side.width)

    def region(self, row: int, col: int) -> Region:
        """Return the region at (row, col) of the region grid."""
        n_rows, n_cols = self.grid.shape
        high, wide = self.tiles_per_side.height, self.tiles_per_side.width
        return Region(
            row=row,
            col=col,
            rows=range(row * high, min((row + 1) * high, n_rows)),
            cols=range(col * wide, min((col + 1) * wide, n_cols)),
        )

    def __iter__(self) -> Iterator[Region]:
        n_rows, n_cols = self.shape
        return (self.region(i, j) for i in range(n_rows) for j in range(n_cols))

    def cores(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return Dask chunks (rows, columns) such that one chunk starts where each region starts.

        A chunk reaches to where the next region starts; its halo is what the region reads beyond.
        """
        window = self.grid.window
        heights = _cores(self.grid.rows, self.tiles_per_side.height, window.row_stop)
        return heights, _cores(self.grid.cols, self.tiles_per_side.width, window.col_stop)


def _cores(first: Starts, step: int, stop: int) -> tuple[int, ...]:
    return tuple(np.diff([*first[::step].tolist(), stop]).tolist())
