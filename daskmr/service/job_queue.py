"""The queue of planned images: starts each when the scheduler decides so."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from daskmr.core.capacity import target
from daskmr.service.image_job import ImageJob, endpoint_capacity
from daskmr.service.scheduler import Decision, EndpointCapacity, JobScheduler, Reason
from daskmr.service.threads import in_thread
from daskmr.status import SCHEDULER, Meter, Metric, Operation

log = logging.getLogger(__name__)
_MAX_AGE_S = 300.0
"""Seconds after which the capacity of an endpoint is requested again."""


@dataclass
class JobQueue:
    """Lets images run in the scheduler's order; lives on one event loop."""

    scheduler: JobScheduler
    """Decides which image starts."""
    meter: Meter
    """Gets the number of waiting images and the utilization of endpoints."""
    _starts: dict[str, "asyncio.Future[None]"] = field(default_factory=dict)
    _jobs: dict[str, ImageJob] = field(default_factory=dict)
    _capacities: dict[str, tuple[float, EndpointCapacity]] = field(default_factory=dict)
    _throttled: set[str] = field(default_factory=set)

    @asynccontextmanager
    async def slot(self, job: ImageJob) -> AsyncIterator[None]:
        """Wait until an image may start; it counts as running inside the block."""
        job_id = job.job_id
        self._starts[job_id] = asyncio.get_running_loop().create_future()
        self._jobs[job_id] = job
        self._capacities[job.entry.endpoint] = monotonic(), job.capacity
        self.scheduler.add(job.entry)
        self._start_jobs()
        try:
            await self._starts[job_id]
            yield
        finally:
            self.scheduler.remove(job_id)
            self._throttled.discard(job_id)
            del self._starts[job_id], self._jobs[job_id]
            self._start_jobs()

    def update(self, job_id: str, *, n_regions: int, n_tiles: int) -> None:
        """Set the numbers of regions and tiles of an image that have not ended."""
        self.scheduler.update(job_id, n_regions=n_regions, n_tiles=n_tiles)
        self._start_jobs()

    def share(self, job_id: str, n_slots: int) -> int:
        """Return how many of the cluster's *n_slots* slots one image may fill.

        All images get the same number, and one share stays free for the next image: a region keeps
        its slot while it waits for its endpoint. A small job beside large ones may fill every free
        slot. The dispatcher submits two regions for each slot, hence the factor 2.
        """
        if self.scheduler.is_small(job_id):
            return max(1, n_slots // 2)
        running = list(self.scheduler.running.values())
        n_busy = sum(1 for entry in running if entry.n_regions != 0)
        return max(1, n_slots // (2 * (n_busy + 1)))

    async def refresh(self) -> None:
        """Request endpoint capacities that are out of date, then start jobs."""
        for job in {job.entry.endpoint: job for job in self._jobs.values()}.values():
            updated_at, _ = self._capacities[job.entry.endpoint]
            if monotonic() - updated_at >= _MAX_AGE_S:
                capacity = await in_thread(endpoint_capacity, job.plan.model)
                self._capacities[job.entry.endpoint] = monotonic(), capacity
        self._start_jobs()
        self._measure()

    @property
    def n_waiting(self) -> int:
        """Number of waiting images."""
        return len(self.scheduler.waiting)

    @property
    def n_running(self) -> int:
        """Number of running images."""
        return len(self.scheduler.running)

    def _start_jobs(self) -> None:
        capacities = {name: capacity for name, (_, capacity) in self._capacities.items()}
        for decision in self.scheduler.start_jobs(capacities):
            self._log(decision)
            start = self._starts.get(decision.entry.job_id)
            if decision.starts and start is not None and not start.done():
                start.set_result(None)

    def _log(self, decision: Decision) -> None:
        job_id, job = decision.entry.job_id, self._jobs.get(decision.entry.job_id)
        if job is None or (not decision.starts and job_id in self._throttled):
            return
        fields: dict[str, Any] = {
            "job_id": job_id,
            "tag": SCHEDULER,
            "why": str(decision.reason),
        }
        values = {Metric.INVOCATIONS: 1.0}
        if decision.starts:
            log.info("Started selected job %s", job_id, extra={"daskmr": fields})
        else:
            self._throttled.add(job_id)
            log.info("Throttling job %s", job_id, extra={"daskmr": fields})
            values = {Metric.THROTTLES: 1.0} if decision.reason is Reason.NO_CAPACITY else {}
        self.meter.record(Operation.SCHEDULING, values, model_name=job.model_name)

    def _measure(self) -> None:
        buffered = self.n_waiting + self.n_running
        self.meter.record(
            Operation.SCHEDULING,
            {Metric.BUFFERED: float(buffered), Metric.VISIBLE: float(self.n_waiting)},
        )
        for endpoint, (_, capacity) in self._capacities.items():
            running = [e for e in self.scheduler.running.values() if e.endpoint == endpoint]
            if capacity.max_calls and running:
                calls = sum((e.n_regions or 0) * self.scheduler.workers for e in running)
                busy = 100.0 * min(1.0, calls / target(capacity.max_calls, self.scheduler.target))
                name = self._jobs[running[0].job_id].model_name
                self.meter.record(Operation.SCHEDULING, {Metric.UTILIZATION: busy}, model_name=name)
