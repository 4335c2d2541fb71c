"""Executor of regions on a Dask cluster; see `daskmr.dispatch.dispatcher.Executor`."""

from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from daskmr.core.grid import Region
from daskmr.dispatch import capacity_client
from daskmr.dispatch.cluster import Connection
from daskmr.dispatch.futures import result_of
from daskmr.dispatch.graph import over_array, over_source, region_of
from daskmr.errors import DaskmrError, SchedulerLostError, WorkerLostError
from daskmr.image.base import Source
from daskmr.planning.execution import all_slots
from daskmr.worker.task import JobContext, RegionSummary


@dataclass
class DaskExecutor:
    """Runs regions on a cluster; its methods are called on the client's loop."""

    connection: Connection
    """The cluster."""
    job: JobContext
    """The job."""
    _: KW_ONLY
    source: Source | None
    """The image, when workers can open it again."""
    priority: int = 0
    """Of the regions, among the tasks of the cluster."""
    part: Callable[[int], int] = all_slots
    """Of so many slots, those that may be filled."""
    data: Any = None
    """dask.array.Array of the image otherwise, see `daskmr.dispatch.graph.over_array`."""
    _lazy: dict[tuple[int, bool], tuple[Any, dict[Any, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the scheduler report the first worker that dies of a region, not the fourth."""
        capacity_client.install(self.connection.client)

    async def slots(self) -> int:
        """Return the worker threads that the job may fill."""
        self.connection.tend()
        return self.part(await self.connection.n_slots())

    async def run(self, region: Region, attempt: int, *, alone: bool) -> RegionSummary:
        """Run one region under a key of its own for each attempt."""
        from distributed import KilledWorker

        future = self.connection.client.compute(
            self._block(region, attempt, alone=alone),
            optimize_graph=False,
            priority=self.priority,
        )
        try:
            block = await result_of(future)
        except KilledWorker as error:
            died = error.last_worker.address
            msg = f"region {region.id}: the worker {died} that ran it died"
            raise WorkerLostError(msg) from error
        except CancelledError as error:
            msg = f"region {region.id}: {error}"
            raise SchedulerLostError(" ".join(msg.split())) from error
        finally:
            future.release()
        summary: RegionSummary | DaskmrError = block[0, 0]
        if isinstance(summary, DaskmrError):
            raise summary
        return summary

    def _block(self, region: Region, attempt: int, *, alone: bool) -> Any:
        """Return one region as a lazy value."""
        key = attempt, alone
        if key not in self._lazy:
            if self.source is not None:
                blocks = over_source(self.job, self.source, alone=alone)
            else:
                blocks = over_array(self.job, self.data, alone=alone)
            self._lazy[key] = blocks, dict(blocks.__dask_graph__())
        return region_of(*self._lazy[key], region)
