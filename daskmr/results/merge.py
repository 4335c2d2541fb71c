"""Merge what the regions of a job found: one feature for each object that several tiles saw."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import geopandas as gpd

from daskmr.core.arrays import Mask
from daskmr.core.grid import TileGrid
from daskmr.core.truncation import flag_cuts
from daskmr.errors import ClusterError
from daskmr.lifecycle.open_job import OpenJob
from daskmr.results.merge_on_cluster import merge_on_cluster
from daskmr.results.merge_parts import merge_parts
from daskmr.results.summary import JobSummary
from daskmr.store import PartStore

MANY_FEATURES = 200_000
"""From so many on, features are merged on the cluster."""
_CHECK_S = 1.0


class HasClient(Protocol):
    """A connection to a Dask cluster."""

    @property
    def client(self) -> object:
        """distributed.Client."""


Connect = Callable[[], AbstractContextManager[HasClient]]
"""Connects to the cluster of the job."""


def merge(job: OpenJob, summary: JobSummary, connect: Connect | None) -> Iterator[gpd.GeoDataFrame]:
    """Yield the features that survive merging, in pixels; those of large jobs from the cluster.

    Parameters
    ----------
    job
        The job.
    summary
        Its account.
    connect
        Connects to its cluster; None when that would have to be made anew for this.

    Raises
    ------
    CanceledError
        When the job is canceled meanwhile.
    StoreError
        When it is taken over.
    """
    algorithm, extents = job.plan.merge, summary.extents
    read = _PartReader(job.workspace.folder.parts, job.plan.regions.grid, summary.run)
    is_large = algorithm.reach_px is not None and summary.n_features >= MANY_FEATURES
    with ExitStack() as stack:
        connection = None
        if is_large and connect is not None:
            with suppress(ClusterError):
                connection = stack.enter_context(connect())
        if connection is None:
            tables = merge_parts(algorithm, extents, read)
        else:
            priority = job.execution.priority
            tables = merge_on_cluster(
                connection.client, algorithm, extents, read=read, priority=priority
            )
        yield from _unless_canceled(tables, job)


@dataclass(frozen=True, slots=True)
class _PartReader:
    """Reads the features of parts, marked where the edges of tiles cut them; picklable."""

    parts: PartStore
    grid: TileGrid
    run: Mask

    def __call__(self, names: Iterable[str]) -> Iterator[gpd.GeoDataFrame]:
        return (
            flag_cuts(part.features, self.grid, self.run) for part in self.parts.read_all(names)
        )


def _unless_canceled(
    tables: Iterable[gpd.GeoDataFrame], job: OpenJob
) -> Iterator[gpd.GeoDataFrame]:
    """Pass tables on; raise within about a second when the job is canceled or taken over."""
    checked_s = perf_counter()
    job.workspace.check_canceled()
    for table in tables:
        yield table
        if perf_counter() > checked_s + _CHECK_S:
            job.workspace.check_canceled()
            checked_s = perf_counter()
