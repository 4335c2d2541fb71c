"""Supervisor of a running job: records in its folder, progress, stops and deadlines."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic

from daskmr.core.grid import Region
from daskmr.core.report import TileStatus
from daskmr.dispatch.progress import Tracker
from daskmr.dispatch.retry_policy import cause_of
from daskmr.errors import CanceledError, HandedBackError, SourceChangedError
from daskmr.lifecycle.event_log import EventLog
from daskmr.lifecycle.workspace import Workspace
from daskmr.planning.execution import never
from daskmr.status import contained
from daskmr.worker.cancellation import CANCELED, DEADLINE, SOURCE_CHANGED
from daskmr.worker.region import failed_part, summary_of
from daskmr.worker.task import JobContext, RegionSummary

log = logging.getLogger(__name__)
GRACE_S = 45.0
"""Seconds that regions have to end by themselves once the deadline has passed."""
_LOOK_S = 0.25


@dataclass
class JobSupervisor:
    """Keeps the account of a job in its folder while its regions run.

    See `daskmr.dispatch.dispatcher.Supervisor`.
    """

    job: JobContext
    """The job."""
    space: Workspace
    """Its folder."""
    events: EventLog
    """Event log of the job."""
    tracker: Tracker
    """Progress of the job."""
    deadline_s: float | None
    """Seconds until tiles are given up."""
    on_region: Callable[[Region, RegionSummary], None]
    """Called for each region that has ended."""
    let_go: Callable[[], bool] = never
    """Whether the job is to be handed back."""
    n_tiles: int = 0
    """Tiles that this driver saw ending."""
    ended_regions: set[str] = field(default_factory=set)
    """Names of regions that this driver saw ending."""
    _started: float = field(default_factory=monotonic)
    _looked: float = 0.0

    async def check(self) -> None:
        """Raise if the driver must stop: taken over, canceled, handed back or out of time.

        Raises
        ------
        StoreError
            When another driver runs the job by now.
        CanceledError
            When the job was stopped.
        HandedBackError
            When it is to be left where it is.
        TimeoutError
            When regions are still out well after the deadline.
        """
        self.space.check()
        if self.let_go():
            msg = f"job {self.job.job_id}: left where it is"
            raise HandedBackError(msg)
        now = monotonic()
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        why = await asyncio.to_thread(self.space.folder.stop_reason, self.space.epoch)
        if why == CANCELED:
            msg = f"job {self.job.job_id}: canceled"
            raise CanceledError(msg)
        await self._check_deadline(now, is_over=why == DEADLINE)

    async def _check_deadline(self, now: float, *, is_over: bool) -> None:
        if self.deadline_s is None or now < self._started + self.deadline_s:
            return
        if not is_over:
            await asyncio.to_thread(self.space.folder.request_stop, self.space.epoch, DEADLINE)
            self.events.record("deadline", seconds=self.deadline_s)
        if now > self._started + self.deadline_s + GRACE_S:
            raise TimeoutError

    async def ended(self, region: Region, summary: RegionSummary) -> None:
        """Record that the part of a region is committed."""
        self.ended_regions.add(region.id)
        self.n_tiles += summary.n_tiles
        with contained("progress"):
            self.tracker.finished(summary.n_tiles, summary.effort.n_pixels)
        with contained("metrics and events of a region"):
            self.on_region(region, summary)
        spent = summary.effort.times.get("region")
        self.events.record(
            "region ended",
            region=summary.region,
            **{str(status).lower(): summary.outcomes.get(status, 0) for status in TileStatus},
            features=summary.n_features,
            seconds=round(spent.total_s, 3) if spent else None,
        )

    async def record_attempt(self, region: Region, number: int, error: Exception) -> None:
        """Record that an attempt at a region failed."""
        record = {
            "cause": cause_of(error),
            "epoch": self.space.epoch,
            "message": " ".join(f"{type(error).__name__}: {error}".split())[:1000],
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        self.events.record("attempt failed", region=region.id, number=number, **record)
        await asyncio.to_thread(
            self.space.folder.record_attempt, self.job.part_name(region), number, record
        )

    async def give_up(self, region: Region, reason: str, *, message: str) -> None:
        """Let all tiles of a region fail that cannot be run."""
        self.events.record("region given up", region=region.id, reason=reason, message=message)
        summary = await asyncio.to_thread(give_up, self.job, region, reason, message=message)
        await self.ended(region, summary)


def give_up(job: JobContext, region: Region, reason: str, *, message: str) -> RegionSummary:
    """Commit a region with all tiles failed, unless it was committed after all."""
    name = job.part_name(region)
    part = job.parts.write(name, failed_part(job, region, reason, message=message))
    return summary_of(name, part)


def stop_mark(error: BaseException) -> str:
    """Return the stop reason that the workers of a failing driver read."""
    if isinstance(error, SourceChangedError):
        return SOURCE_CHANGED
    return CANCELED if isinstance(error, CanceledError) else "INTERRUPTED"


def give_up_all(job: JobContext, regions: Sequence[Region]) -> None:
    """Let the tiles of regions fail that did not end in time."""
    for region in regions:
        give_up(job, region, DEADLINE, message="did not end in time")
