"""The workers of a Dask cluster, as `daskmr.pipeline.feed` wants them."""

from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from daskmr.core.grid import Region
from daskmr.errors import SchedulerLostError, WorkerLostError
from daskmr.image.base import Source
from daskmr.pipeline import coordinator
from daskmr.pipeline.cluster import Connection
from daskmr.pipeline.execution import all_slots
from daskmr.pipeline.graph import over_array, over_source, region_of
from daskmr.pipeline.job import Job, RegionSummary


@dataclass
class DaskPool:
    """Runs regions on a cluster; its methods are called on the client's loop."""

    connection: Connection
    """The cluster."""
    job: Job
    """What is run."""
    _: KW_ONLY
    source: Source | None
    """The image, when workers can open it again."""
    priority: int = 0
    """Of the regions, among the tasks of the cluster."""
    part: Callable[[int], int] = all_slots
    """Of so many slots, those that may be filled."""
    data: Any = None
    """dask.array.Array of the image otherwise, see `daskmr.pipeline.graph.over_array`."""
    _lazy: dict[tuple[int, bool], tuple[Any, dict[Any, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Let the scheduler tell us of the first worker that dies, and not of the fourth."""
        coordinator.install(self.connection.client)

    async def slots(self) -> int:
        """Threads of all workers that the job may fill."""
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
            block = await future
        except KilledWorker as error:
            died = error.last_worker.address
            msg = f"region {region.id}: the worker {died} that ran it died"
            raise WorkerLostError(msg) from error
        except CancelledError as error:
            msg = f"region {region.id}: {error}"
            raise SchedulerLostError(" ".join(msg.split())) from error
        finally:
            future.release()
        summary: RegionSummary = block[0, 0]
        return summary

    def _block(self, region: Region, attempt: int, *, alone: bool) -> Any:
        """A lazy value of one region."""
        key = attempt, alone
        if key not in self._lazy:
            if self.source is not None:
                blocks = over_source(self.job, self.source, alone=alone)
            else:
                blocks = over_array(self.job, self.data, alone=alone)
            self._lazy[key] = blocks, dict(blocks.__dask_graph__())
        return region_of(*self._lazy[key], region)
