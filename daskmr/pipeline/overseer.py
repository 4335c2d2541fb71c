"""Who keeps account while a job is run: in its folder, and for those who look on."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic

from daskmr.core.grid import Region
from daskmr.errors import CanceledError, HandedBackError, SourceChangedError
from daskmr.pipeline.attempts import cause_of
from daskmr.pipeline.execution import never
from daskmr.pipeline.halt import CANCELED, DEADLINE, SOURCE_CHANGED
from daskmr.pipeline.job import Job, RegionSummary
from daskmr.pipeline.journal import Journal
from daskmr.pipeline.progress import Tracker
from daskmr.pipeline.region import given_up, summary_of
from daskmr.pipeline.workspace import Workspace

log = logging.getLogger(__name__)
GRACE_S = 45.0
"""Seconds that regions have to end by themselves once the deadline has passed."""
_LOOK_S = 0.25


@dataclass
class FolderOverseer:
    """Writes to the job's folder what the feed tells; see `daskmr.pipeline.feed.Overseer`."""

    job: Job
    """The job."""
    space: Workspace
    """Its folder."""
    journal: Journal
    """Told of everything."""
    tracker: Tracker
    """Told how far the job has come."""
    deadline_s: float | None
    """Seconds until tiles are given up."""
    on_region: Callable[[Region, RegionSummary], None]
    """Told of each region that has ended."""
    let_go: Callable[[], bool] = never
    """Whether the job is to be left where it is."""
    n_tiles: int = 0
    """Tiles that have ended under our eyes."""
    ended_regions: set[str] = field(default_factory=set)
    """Names of regions that ended under our eyes."""
    _started: float = field(default_factory=monotonic)
    _looked: float = 0.0

    async def check(self) -> None:
        """Go on.

        Raises
        ------
        StoreError
            When somebody else runs the job by now.
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
        why = await asyncio.to_thread(self.space.folder.stopped, self.space.epoch)
        if why == CANCELED:
            msg = f"job {self.job.job_id}: canceled"
            raise CanceledError(msg)
        await self._check_deadline(now, is_over=why == DEADLINE)

    async def _check_deadline(self, now: float, *, is_over: bool) -> None:
        if self.deadline_s is None or now < self._started + self.deadline_s:
            return
        if not is_over:
            await asyncio.to_thread(self.space.folder.stop, self.space.epoch, DEADLINE)
            self.journal.say("deadline", seconds=self.deadline_s)
        if now > self._started + self.deadline_s + GRACE_S:
            raise TimeoutError

    async def ended(self, region: Region, summary: RegionSummary) -> None:
        """A region has ended: its part is there."""
        self.ended_regions.add(region.id)
        self.n_tiles += summary.n_tiles
        self.tracker.finished(summary.n_tiles, summary.effort.n_pixels)
        self.on_region(region, summary)
        spent = summary.effort.times.get("region")
        self.journal.say(
            "region ended",
            region=summary.region,
            tiles=dict(summary.outcomes),
            features=summary.n_features,
            seconds=round(spent.total_s, 3) if spent else None,
        )

    async def attempted(self, region: Region, number: int, error: Exception) -> None:
        """An attempt at a region ended badly."""
        said = {
            "cause": cause_of(error),
            "epoch": self.space.epoch,
            "message": " ".join(f"{type(error).__name__}: {error}".split())[:1000],
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        self.journal.say("attempt failed", region=region.id, number=number, **said)
        await asyncio.to_thread(
            self.space.folder.attempted, self.job.part_name(region), number, said
        )

    async def given_up(self, region: Region, reason: str, *, message: str) -> None:
        """A region cannot be run: all its tiles have failed."""
        self.journal.say("region given up", region=region.id, reason=reason, message=message)
        summary = await asyncio.to_thread(give_up, self.job, region, reason, message=message)
        await self.ended(region, summary)


def give_up(job: Job, region: Region, reason: str, *, message: str) -> RegionSummary:
    """Let all tiles of a region fail, unless somebody did it after all."""
    name = job.part_name(region)
    part = job.parts.write(name, given_up(job, region, reason, message=message))
    return summary_of(name, part)


def stop_mark(error: BaseException) -> str:
    """What the workers of a driver that ends so are told."""
    if isinstance(error, SourceChangedError):
        return SOURCE_CHANGED
    return CANCELED if isinstance(error, CanceledError) else "INTERRUPTED"


def give_up_all(job: Job, regions: Sequence[Region]) -> None:
    """Let the tiles of regions fail that did not end in time."""
    for region in regions:
        give_up(job, region, DEADLINE, message="did not end in time")
