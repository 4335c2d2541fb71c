"""Coverage map of a job: rectangles of tiles with the same outcome, as GeoJSON."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from daskmr.core.report import TileOutcome, TileStatus
from daskmr.geolocate.table import outlines
from daskmr.planning.plan import Plan

_STEP_PX = 512.0


@dataclass
class CoverageMap:
    """Writes one GeoJSON Feature for each run of tiles of a row that ended alike.

    Geometry is lon, lat in degrees; pixels of the image, marked so, when it is not georeferenced.
    Tiles overlap, and so do the rectangles. Use it in a ``with`` block.
    """

    plan: Plan
    """The job."""
    path: Path
    """The file."""
    _file: Any = field(init=False)
    _index: dict[int, int] = field(init=False)
    _n: int = 0

    def __enter__(self) -> Self:
        self._index = {col: i for i, col in enumerate(self.plan.regions.grid.cols.tolist())}
        self._file = self.path.open("w", encoding="utf-8")
        frame = "lon, lat" if self.plan.sensor is not None else "pixels of the image"
        self._file.write(f'{{"type":"FeatureCollection","frame":{json.dumps(frame)},"features":[')
        return self

    def __exit__(self, *_: object) -> None:
        self._file.write("\n]}\n")
        self._file.close()

    def add(self, region: str, tiles: Mapping[tuple[int, int], TileOutcome]) -> None:
        """Add the tiles of one region, by first pixel row and column."""
        for run in _runs([tiles[place] for place in sorted(tiles)], self._index):
            self._write(run, region)

    def add_skipped(self) -> None:
        """Add the tiles that the plan skips."""
        for run in _runs(skipped_tiles(self.plan), self._index):
            self._write(run, "")

    def _write(self, run: list[TileOutcome], region: str) -> None:
        first, last = run[0], run[-1]
        grid = self.plan.regions.grid
        bottom = min(first.row + grid.tile.height, grid.window.row_stop)
        right = min(last.col + grid.tile.width, grid.window.col_stop)
        outline = ring((first.col, first.row, right, bottom))
        sensor, (x, y) = self.plan.sensor, self.plan.scale
        if sensor is None:
            shape = shapely.Polygon(outline * (x, y))
        else:
            (shape,) = outlines([outline], sensor)
        box = [first.col * x, first.row * y, right * x, bottom * y]
        feature = {
            "type": "Feature",
            "geometry": _rounded(shape),
            "properties": {
                "status": str(first.status),
                "reason": first.reason,
                "n_tiles": len(run),
                "region": region,
                "imageBBox": [round(side) for side in box],
            },
        }
        self._file.write((",\n" if self._n else "\n") + json.dumps(feature, separators=(",", ":")))
        self._n += 1


def skipped_tiles(plan: Plan) -> Iterator[TileOutcome]:
    """Yield the outcomes of the tiles that a plan skips, in row-major order."""
    rows, cols = plan.regions.grid.rows.tolist(), plan.regions.grid.cols.tolist()
    skipped = TileStatus.SKIPPED
    for i, mask in enumerate(plan.skipped.mask):
        for j in np.flatnonzero(mask).tolist():
            yield TileOutcome(row=rows[i], col=cols[j], status=skipped, reason="NODATA")


def _rounded(shape: BaseGeometry | None) -> Mapping[str, Any] | None:
    if shape is None:
        return None
    geometry: Mapping[str, Any] = shapely.geometry.mapping(shapely.transform(shape, _nine_digits))
    return geometry


def _nine_digits(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.round(points, 9)


def _runs(tiles: Iterable[TileOutcome], index: Mapping[int, int]) -> Iterator[list[TileOutcome]]:
    """Yield neighbouring tiles of one row with the same status and reason.

    Parameters
    ----------
    tiles
        In row-major order.
    index
        Column of the grid, by first pixel column.
    """
    run: list[TileOutcome] = []
    for tile in tiles:
        if run:
            alike = (run[0].row, run[0].status, run[0].reason) == (
                tile.row, tile.status, tile.reason,
            )  # fmt: skip
            if not alike or index[tile.col] != index[run[-1].col] + 1:
                yield run
                run = []
        run.append(tile)
    if run:
        yield run


def ring(box: Sequence[float]) -> NDArray[np.float64]:
    """Return a rectangle's outline with a vertex every few hundred pixels, shape (N, 2)."""
    left, top, right, bottom = box
    n_x = max(1, int(np.ceil((right - left) / _STEP_PX)))
    n_y = max(1, int(np.ceil((bottom - top) / _STEP_PX)))
    x, y = np.linspace(left, right, n_x + 1), np.linspace(top, bottom, n_y + 1)
    parts = [
        np.stack([np.full(n_y, left), y[:-1]], axis=1),
        np.stack([x[:-1], np.full(n_x, bottom)], axis=1),
        np.stack([np.full(n_y, right), y[:0:-1]], axis=1),
        np.stack([x[:0:-1], np.full(n_x, top)], axis=1),
    ]
    ring = np.concatenate(parts)
    return np.concatenate([ring, ring[:1]])
