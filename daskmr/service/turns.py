"""Whose turn it is: the balance, asked whenever something has changed."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from daskmr.core.capacity import target
from daskmr.service.balance import Balance, Decision, Strength, Why
from daskmr.service.threads import in_thread
from daskmr.service.work import Work, strength_of
from daskmr.status import SCHEDULER, Meter, Metric, Operation

log = logging.getLogger(__name__)
_STALE_S = 300.0
"""Seconds for which it is known what an endpoint stands."""


@dataclass
class Turns:
    """Lets images run when it is their turn; lives on one event loop."""

    balance: Balance
    """Who is next."""
    meter: Meter
    """Told how many wait, and how busy endpoints are."""
    _starts: dict[str, "asyncio.Future[None]"] = field(default_factory=dict)
    _works: dict[str, Work] = field(default_factory=dict)
    _strengths: dict[str, tuple[float, Strength]] = field(default_factory=dict)
    _held: set[str] = field(default_factory=set)

    @asynccontextmanager
    async def of(self, work: Work) -> AsyncIterator[None]:
        """Wait until it is the turn of an image, which runs in the block."""
        job_id = work.job_id
        self._starts[job_id] = asyncio.get_running_loop().create_future()
        self._works[job_id] = work
        self._strengths[work.entry.endpoint] = monotonic(), work.strength
        self.balance.add(work.entry)
        self._choose()
        try:
            await self._starts[job_id]
            yield
        finally:
            self.balance.ended(job_id)
            self._held.discard(job_id)
            del self._starts[job_id], self._works[job_id]
            self._choose()

    def progressed(self, job_id: str, *, n_regions: int, n_tiles: int) -> None:
        """So many regions, and tiles, of an image have not ended."""
        self.balance.progressed(job_id, n_regions=n_regions, n_tiles=n_tiles)
        self._choose()

    def share(self, job_id: str, n_slots: int) -> int:
        """Of so many slots of the cluster, those that one image may fill.

        All get as many, and one share is left for who comes next: a region holds its slot while
        its endpoint lets it wait. Small jobs beside large ones may have all that they find. Regions
        are fed two for each slot, of which this takes account.
        """
        if self.balance.is_beside(job_id):
            return max(1, n_slots // 2)
        running = list(self.balance.running.values())
        n_busy = sum(1 for entry in running if entry.n_regions != 0)
        return max(1, n_slots // (2 * (n_busy + 1)))

    async def refresh(self) -> None:
        """Ask again what endpoints stand of which that is not known any more."""
        for work in {w.entry.endpoint: w for w in self._works.values()}.values():
            known_at, _ = self._strengths[work.entry.endpoint]
            if monotonic() - known_at >= _STALE_S:
                found = await in_thread(strength_of, work.plan.model)
                self._strengths[work.entry.endpoint] = monotonic(), found
        self._choose()
        self._measure()

    @property
    def n_waiting(self) -> int:
        """Images that wait."""
        return len(self.balance.waiting)

    @property
    def n_running(self) -> int:
        """Images that run."""
        return len(self.balance.running)

    def _choose(self) -> None:
        strengths = {name: strength for name, (_, strength) in self._strengths.items()}
        for decision in self.balance.choose(strengths):
            self._tell(decision)
            start = self._starts.get(decision.entry.job_id)
            if decision.starts and start is not None and not start.done():
                start.set_result(None)

    def _tell(self, decision: Decision) -> None:
        job_id, work = decision.entry.job_id, self._works.get(decision.entry.job_id)
        if work is None or (not decision.starts and job_id in self._held):
            return
        said: dict[str, Any] = {"job_id": job_id, "tag": SCHEDULER, "why": str(decision.why)}
        values = {Metric.INVOCATIONS: 1.0}
        if decision.starts:
            log.info("Started selected job %s", job_id, extra={"daskmr": said})
        else:
            self._held.add(job_id)
            log.info("Throttling job %s", job_id, extra={"daskmr": said})
            values = {Metric.THROTTLES: 1.0} if decision.why is Why.NO_CAPACITY else {}
        self.meter.record(Operation.SCHEDULING, values, model_name=work.model_name)

    def _measure(self) -> None:
        buffered = self.n_waiting + self.n_running
        self.meter.record(
            Operation.SCHEDULING,
            {Metric.BUFFERED: float(buffered), Metric.VISIBLE: float(self.n_waiting)},
        )
        for endpoint, (_, strength) in self._strengths.items():
            at = [e for e in self.balance.running.values() if e.endpoint == endpoint]
            if strength.most and at:
                calls = sum((e.n_regions or 0) * self.balance.workers for e in at)
                busy = 100.0 * min(1.0, calls / target(strength.most, self.balance.target))
                name = self._works[at[0].job_id].model_name
                self.meter.record(Operation.SCHEDULING, {Metric.UTILIZATION: busy}, model_name=name)
