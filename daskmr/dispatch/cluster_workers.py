"""The workers of a Dask cluster, as `daskmr.dispatch.workers.RegionWorkers`."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from daskmr.dispatch import capacity_client
from daskmr.dispatch.cluster import Connection, awake
from daskmr.dispatch.executor import DaskExecutor
from daskmr.dispatch.preflight import preflight
from daskmr.dispatch.progress import Tracker, topic
from daskmr.lifecycle.open_job import OpenJob
from daskmr.worker.task import JobContext


@dataclass(frozen=True)
class ClusterWorkers:
    """The workers that a connection reaches."""

    connection: Connection
    """The cluster."""

    @property
    def place(self) -> str:
        """Where they run, for people."""
        n = self.n_processes()
        return f"{n} worker process{'es' if n > 1 else ''}"

    @property
    def dashboard(self) -> str:
        """URL of the cluster's dashboard; empty when it has none."""
        return self.connection.dashboard

    @property
    def can_reconnect(self) -> bool:
        """Whether another scheduler can take the place of this one."""
        return self.connection.can_reconnect

    def n_processes(self) -> int:
        """Return the number of worker processes at present."""
        return self.connection.n_workers()

    def coordinate(self) -> bool:
        """Install the coordinator on the scheduler; return whether it is there."""
        return capacity_client.install(self.connection.client)

    def check(self, job: JobContext) -> None:
        """Raise before the first tile if no tile of a job could succeed; see `preflight`."""
        preflight(self.connection, job)

    @contextmanager
    def executor(
        self, job: OpenJob, context: JobContext, tracker: Tracker
    ) -> Iterator[DaskExecutor]:
        """Yield the executor of a job's regions, and hear the progress events of workers."""
        source, client = job.plan.image.source, self.connection.client
        client.subscribe_topic(topic(context.job_id), tracker.event)
        try:
            with awake(client):
                yield DaskExecutor(
                    self.connection,
                    context,
                    source=source,
                    data=None if source else job.plan.data.data,
                    priority=job.execution.priority,
                    part=job.execution.slots,
                )
        finally:
            client.unsubscribe_topic(topic(context.job_id))

    def drive(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a dispatcher on the client's loop, and stop it when this thread is interrupted."""
        loop = self.connection.client.loop.asyncio_loop
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            future.result()
        except BaseException:
            future.cancel()
            raise
