"""Georeferenced features on their way to the sinks: on disk, in the order of the result.

That order is along a Hilbert curve over the tiles, then as each tile's answer had it: features that
are near each other on the ground are near in the file, so that readers of a part skip the rest.
Merged features come region by region. They are dealt into buckets, each a stretch of the curve with
about as many features as any other, and each bucket is put in order and placed on the ground by
itself.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from daskmr.core.features import COLUMNS, empty
from daskmr.core.grid import TileGrid
from daskmr.core.truncation import add_quality
from daskmr.geolocate.base import SensorModel
from daskmr.geolocate.table import full_size, to_world
from daskmr.lifecycle.open_job import OpenJob
from daskmr.results.property_columns import PropertyColumns
from daskmr.results.summary import FeatureStatistics, JobSummary
from daskmr.sinks.base import GeometrySummary
from daskmr.status import Operation
from daskmr.store.scratch import scratch_folder, writing_scratch

BATCH = 20_000
"""Features of a bucket, but for the end of its last tile."""
_WAITING = 50_000
"""Features that wait in memory for being written."""


@dataclass
class Spool:
    """World tables in a folder of this machine; see `daskmr.sinks.base.Rows`.

    Use it in a ``with`` block, after which it is gone: `add` everything, `close`, then iterate, as
    often as needed.
    """

    grid: TileGrid
    """The tiles, in whose order rows come out."""
    counts: NDArray[np.int64]
    """Features of each tile at most, shape of the grid."""
    sensor: SensorModel | None
    """Places features on the ground; None for an image without georeferencing."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Columns and rows of the image that make one of those that the tables speak of."""
    n_rows: int = 0
    """Rows of all batches."""
    crs: Any = None
    """Of their geometry; None for pixels."""
    statistics: FeatureStatistics = field(default_factory=FeatureStatistics)
    """Of the merged features; see `georeference`."""
    geometry: GeometrySummary = field(default_factory=GeometrySummary)
    """Of all batches."""
    _stack: ExitStack = field(default_factory=ExitStack)
    _folder: Path = field(init=False)
    _ranks: NDArray[np.int64] = field(init=False)
    _starts: NDArray[np.int64] = field(init=False)
    _waiting: list[gpd.GeoDataFrame] = field(default_factory=list)
    _pieces: dict[int, list[Path]] = field(default_factory=dict)
    _batches: list[Path] = field(default_factory=list)
    _properties: PropertyColumns = field(default_factory=PropertyColumns)

    def __enter__(self) -> Self:
        self._folder = self._stack.enter_context(scratch_folder())
        self._ranks = curve(self.counts.shape)
        counts = np.zeros(self.counts.size, dtype=np.int64)
        counts[self._ranks.ravel()] = self.counts.ravel()
        before = np.cumsum(counts) - counts
        self._starts = np.flatnonzero(np.diff(before // BATCH, prepend=-1))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[gpd.GeoDataFrame]:
        return (self._properties.join(gpd.read_parquet(path)) for path in self._batches)

    def add(self, table: gpd.GeoDataFrame) -> None:
        """Add a table in pixels, small or large.

        Raises
        ------
        StoreError
            When the disk of temporary files is full.
        """
        if len(table):
            self._waiting.append(table)
        if sum(map(len, self._waiting)) >= _WAITING:
            self._deal()

    def close(self) -> None:
        """Finish the batches; there is at least one.

        Raises
        ------
        StoreError
            When the disk of temporary files is full.
        """
        self._deal()
        with writing_scratch(self._folder):
            for bucket in sorted(self._pieces):
                pieces = [gpd.read_parquet(path) for path in self._pieces[bucket]]
                self._place(_joined(pieces))
                for path in self._pieces[bucket]:
                    path.unlink()
            if not self._batches:
                self._place(add_quality(empty(), self.grid, None))

    def whole(self) -> gpd.GeoDataFrame:
        """Return all rows in memory."""
        joined = pd.concat(list(self), ignore_index=True)
        return gpd.GeoDataFrame(joined, geometry="geometry", crs=self.crs)

    def _deal(self) -> None:
        """Write the waiting rows to their buckets."""
        if not self._waiting:
            return
        table = _joined(self._waiting)
        self._waiting.clear()
        buckets = np.searchsorted(self._starts, self._rank(table), side="right")
        for bucket in np.unique(buckets).tolist():
            pieces = self._pieces.setdefault(bucket, [])
            pieces.append(self._folder / f"piece-{bucket:06d}-{len(pieces):04d}.parquet")
            with writing_scratch(self._folder):
                table[buckets == bucket].to_parquet(pieces[-1], compression="lz4", index=False)

    def _rank(self, table: gpd.GeoDataFrame) -> NDArray[np.int64]:
        """Return the place of each row's tile along the curve."""
        rows = np.searchsorted(self.grid.rows, table["tile_row"].to_numpy())
        cols = np.searchsorted(self.grid.cols, table["tile_col"].to_numpy())
        ranks: NDArray[np.int64] = self._ranks[rows, cols]
        return ranks

    def _place(self, table: gpd.GeoDataFrame) -> None:
        """Place a bucket on the ground, as one batch."""
        order = np.lexsort([table["answer_index"].to_numpy(), self._rank(table)])
        ordered = table.iloc[order].reset_index(drop=True)
        world = full_size(to_world(ordered, self.sensor), self.scale)
        self.geometry.add(world.geometry)
        self._batches.append(self._folder / f"batch-{len(self._batches):06d}.parquet")
        split = self._properties.split(world)
        split.to_parquet(self._batches[-1], compression="lz4", index=False)
        self.n_rows += len(world)
        self.crs = world.crs


def curve(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the place of each cell of a grid along a Hilbert curve over it.

    Parameters
    ----------
    shape
        Rows and columns.

    Returns
    -------
    Shape *shape*; each of 0 ... N - 1 once.

    Examples
    --------
    >>> curve((2, 2)).tolist()
    [[0, 3], [1, 2]]
    """
    row, col = np.indices(shape)
    cells = gpd.GeoSeries(gpd.points_from_xy(col.ravel(), row.ravel()))
    place = cells.hilbert_distance().to_numpy()
    ranks = np.empty(place.size, dtype=np.int64)
    ranks[np.argsort(place, kind="stable")] = np.arange(place.size)
    return ranks.reshape(shape)


def _joined(tables: list[gpd.GeoDataFrame]) -> gpd.GeoDataFrame:
    """Return tables in pixels as one, in no particular order."""
    joined = pd.concat(tables, ignore_index=True).astype(dict(COLUMNS))
    return gpd.GeoDataFrame(joined, geometry="geometry", crs=None)


@contextmanager
def georeference(
    job: OpenJob, summary: JobSummary, features: Iterable[gpd.GeoDataFrame]
) -> Iterator[Spool]:
    """Place the merged features of a job on the ground; yields them, complete and in order.

    Parameters
    ----------
    job
        The job.
    summary
        Its account.
    features
        Merged tables in pixels.
    """
    plan = job.plan
    area = plan.area if plan.settings.roi_only else None
    with Spool(plan.regions.grid, summary.counts, plan.sensor, plan.scale) as spool:
        with job.stage(Operation.SELECTION):
            for table in features:
                inside = spool.statistics.add(table, area)
                spool.add(add_quality(inside, plan.regions.grid, summary.run))
            spool.close()
        job.events.record("merged", features=summary.n_features, merged=spool.n_rows)
        yield spool
