"""Dispatch of regions to workers: a bounded window in flight, each region until it has ended.

Nothing here knows Dask, a store or a clock other than the event loop's: a simulator runs it with
invented workers that die whenever they like.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from daskmr.core.grid import Region
from daskmr.dispatch.retry_policy import TASK_FAILED, Fate, RetryPolicy, cause_of, reason_of
from daskmr.errors import ClusterError
from daskmr.worker.task import RegionSummary

_REGIONS_PER_SLOT = 2
_TICK_S = 0.25
_PAUSE_S = 1.0
"""Seconds before a region whose task failed is run again, doubled each time."""


class Executor(Protocol):
    """Workers that come and go."""

    async def slots(self) -> int:
        """Return the regions that can be run at once at present; 0 without a worker."""

    async def run(self, region: Region, attempt: int, *, alone: bool) -> RegionSummary:
        """Run one region, in a process of its own or among others.

        Raises
        ------
        WorkerLostError
            When the process that ran it died.
        SchedulerLostError
            When nothing can be run any more.
        """


class Supervisor(Protocol):
    """Keeps the account of a job while its regions run."""

    async def check(self) -> None:
        """Raise if the driver must stop."""

    async def ended(self, region: Region, summary: RegionSummary) -> None:
        """Record that the part of a region is committed."""

    async def record_attempt(self, region: Region, number: int, error: Exception) -> None:
        """Record that an attempt at a region failed."""

    async def give_up(self, region: Region, reason: str, *, message: str) -> None:
        """Record that all tiles of a region have failed, since it cannot be run."""


@dataclass
class Dispatcher:
    """Runs regions until each has ended."""

    regions: Iterable[Region]
    """Regions to run."""
    executor: Executor
    """Runs them."""
    supervisor: Supervisor
    """Keeps the account."""
    attempts: RetryPolicy
    """Earlier attempts at them."""
    patience_s: float
    """Seconds to wait for a first or another worker while there is none."""
    _waiting: "deque[Region]" = field(default_factory=deque)
    _suspects: "deque[Region]" = field(default_factory=deque)
    _resting: list[tuple[float, Region]] = field(default_factory=list)
    _running: "dict[asyncio.Task[RegionSummary], tuple[Region, bool]]" = field(default_factory=dict)
    _last_worker_at: float = 0.0

    async def run(self) -> None:
        """Run all regions.

        Raises
        ------
        ClusterError
            When there was no worker for too long, or no scheduler any more.
        DaskmrError
            When the supervisor, or the failure of a region, ends the job.
        """
        for region in self.regions:
            self._queue(region)
        self._last_worker_at = self._now()
        try:
            while self._waiting or self._suspects or self._resting or self._running:
                await self.supervisor.check()
                await self._fill()
                if not self._running:
                    await asyncio.sleep(_TICK_S)
                    continue
                done, _ = await asyncio.wait(
                    self._running, timeout=_TICK_S, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    await self._take(task)
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _queue(self, region: Region) -> None:
        (self._suspects if self.attempts.is_suspect(region.id) else self._waiting).append(region)

    async def _fill(self) -> None:
        """Start as many regions as the workers can do, and a few more."""
        now, slots = self._now(), await self.executor.slots()
        self._last_worker_at = now if slots else self._last_worker_at
        if now - self._last_worker_at > self.patience_s:
            msg = f"no worker for {self.patience_s:g} s; the job can go on where it is"
            raise ClusterError(msg)
        for region in [region for ready, region in self._resting if ready <= now]:
            self._queue(region)
        self._resting = [(ready, region) for ready, region in self._resting if ready > now]
        n_alone = sum(alone for _, alone in self._running.values())
        while self._suspects and n_alone < max(1, slots // _REGIONS_PER_SLOT):
            self._start(self._suspects.popleft(), alone=True)
            n_alone += 1
        while self._waiting and len(self._running) < _REGIONS_PER_SLOT * slots:
            self._start(self._waiting.popleft(), alone=False)

    def _start(self, region: Region, *, alone: bool) -> None:
        run = self.executor.run(region, self.attempts.n(region.id), alone=alone)
        self._running[asyncio.ensure_future(run)] = region, alone

    async def _take(self, task: "asyncio.Task[RegionSummary]") -> None:
        """Handle a region that has ended."""
        region, _ = self._running.pop(task)
        try:
            summary = task.result()
        except Exception as error:  # noqa: BLE001 - the retry policy decides
            await self._failed(region, error)
        else:
            await self.supervisor.ended(region, summary)

    async def _failed(self, region: Region, error: Exception) -> None:
        fate = self.attempts.ended(region.id, error)
        if fate is Fate.RAISE:
            raise error
        n = self.attempts.n(region.id)
        await self.supervisor.record_attempt(region, n, error)
        if fate in {Fate.POISON, Fate.FAILED}:
            reason, message = reason_of(fate, error)
            await self.supervisor.give_up(region, reason, message=message)
        elif cause_of(error) == TASK_FAILED:
            self._resting.append((self._now() + _PAUSE_S * 2.0 ** (n - 1), region))
        else:
            self._queue(region)
