"""Table of the tiles of a job: how each ended, and how long its answer took; GeoParquet."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from daskmr.core.features import TEXT
from daskmr.core.grid import Position
from daskmr.core.report import TileOutcome
from daskmr.geolocate.table import WORLD_CRS, outlines
from daskmr.planning.plan import Plan
from daskmr.results.coverage import ring, skipped_tiles
from daskmr.sinks.base import GeometrySummary
from daskmr.sinks.geoparquet import bbox_column, geo_metadata

_BATCH = 20_000
_COLUMNS: Mapping[str, Any] = {
    "tile_row": pa.int64(),
    "tile_col": pa.int64(),
    "width": pa.int64(),
    "height": pa.int64(),
    "status": pa.string(),
    "reason": pa.string(),
    "message": pa.string(),
    "n_features": pa.int64(),
    "attempts": pa.int64(),
    "seconds": pa.float64(),
    "region": pa.string(),
}


@dataclass
class TileTable:
    """Writes a row for each tile, region by region; use it in a ``with`` block."""

    plan: Plan
    """The job."""
    path: Path
    """The file."""
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._write()
        if self._writer is not None:
            self._writer.close()

    def add(self, region: str, tiles: Mapping[Position, TileOutcome]) -> None:
        """Add the tiles of one region, by first pixel row and column."""
        self._add((tiles[place] for place in sorted(tiles)), region)

    def add_skipped(self) -> None:
        """Add the tiles that the plan skips."""
        self._add(skipped_tiles(self.plan), "")

    def _add(self, outcomes: Iterable[TileOutcome], region: str) -> None:
        grid = self.plan.regions.grid
        for outcome in outcomes:
            self._rows.append({
                "tile_row": outcome.row,
                "tile_col": outcome.col,
                "width": min(grid.tile.width, grid.window.col_stop - outcome.col),
                "height": min(grid.tile.height, grid.window.row_stop - outcome.row),
                "status": str(outcome.status),
                "reason": outcome.reason,
                "message": outcome.message,
                "n_features": outcome.n_features,
                "attempts": outcome.attempts,
                "seconds": outcome.seconds,
                "region": region,
            })  # fmt: skip
            if len(self._rows) >= _BATCH:
                self._write()

    def _write(self) -> None:
        """Write the waiting rows as one row group."""
        rows, self._rows = self._rows, []
        columns = {
            name: pa.array([row[name] for row in rows], type=kind)
            for name, kind in _COLUMNS.items()
        }
        shapes = gpd.GeoSeries(self._outlines(columns), crs=self._crs)
        x, y = self.plan.scale
        for name, by in (("tile_row", y), ("tile_col", x), ("width", x), ("height", y)):
            columns[name] = pa.array(np.rint(columns[name].to_numpy() * by).astype(np.int64))
        columns["geometry"] = pa.array(shapely.to_wkb(shapes.to_numpy()), type=pa.binary())
        if self._crs is not None:
            columns["bbox"] = bbox_column(shapes)
        metadata = {"geo": json.dumps(geo_metadata(GeometrySummary(), shapes.crs))}
        table = pa.table(columns).replace_schema_metadata(metadata)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, table.schema, compression="zstd")
        self._writer.write_table(table)

    @property
    def _crs(self) -> str | None:
        return WORLD_CRS if self.plan.sensor is not None else None

    def _outlines(self, columns: Mapping[str, Any]) -> Any:
        """Return the tiles as polygons: lon, lat, or pixels of an image without georeferencing."""
        names = ("tile_row", "tile_col", "width", "height")
        sizes = zip(*(columns[name].to_pylist() for name in names), strict=True)
        rings = [ring((col, row, col + wide, row + high)) for row, col, wide, high in sizes]
        if self.plan.sensor is not None:
            return outlines(rings, self.plan.sensor)
        return np.array([shapely.Polygon(each * self.plan.scale) for each in rings], dtype=object)


def read_tiles(content: bytes) -> gpd.GeoDataFrame:
    """Return the table of a file that `TileTable` wrote, in grid order.

    Returns
    -------
    Columns tile_row, tile_col, width, height (pixels), status, reason, message, n_features,
    attempts, seconds (of the answer; 0 without one), region, geometry.
    """
    tiles = gpd.read_parquet(BytesIO(content)).drop(columns="bbox", errors="ignore")
    texts = [name for name, kind in _COLUMNS.items() if kind == pa.string()]
    ordered = tiles.sort_values(["tile_row", "tile_col"], ignore_index=True)
    typed = pd.DataFrame(ordered).astype(dict.fromkeys(texts, TEXT))
    return gpd.GeoDataFrame(typed, geometry="geometry", crs=tiles.crs)
