"""What the outside is told of a job while it runs; nothing of it ever changes the job."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from daskmr.core.events import Status, StatusEvent, region_status
from daskmr.core.grid import Region, Window
from daskmr.core.report import JobReport, TileStatus
from daskmr.errors import CanceledError, JobError, RequestError, SourceChangedError
from daskmr.pipeline.job import RegionSummary
from daskmr.pipeline.progress import OnProgress, Progress
from daskmr.status import STATUS, Courier
from daskmr.store import JobFolder

if TYPE_CHECKING:
    from daskmr.pipeline.plan import Plan

CHANNELS = "daskmr.status"
"""Setting of `dask.config`: options by name of a channel, such as ``{"sns": {"topic": ARN}}``."""
REGIONS = "daskmr.region-status"
"""Setting of `dask.config`: whether the end of each region is said as well."""
_STEP = 10
"""Percent between events of progress."""


def configured() -> Courier | None:
    """Who takes events to the channels that the configuration names; None without any.

    Raises
    ------
    RequestError
        When a channel is not in the table, or an option of it is wrong.
    """
    import dask

    said = dask.config.get(CHANNELS, {})
    if not isinstance(said, dict):
        msg = f"{CHANNELS}: {said!r} is not a mapping of channels"
        raise RequestError(msg)
    channels = [STATUS.build(name, options or {}) for name, options in said.items()]
    return Courier(channels) if channels else None


def _is_configured(name: str) -> bool:
    import dask

    return bool(dask.config.get(name, False))


@dataclass
class Announcer:
    """Says how one job comes along."""

    plan: "Plan"
    """The job."""
    folder: JobFolder
    """Where events are kept until they were heard."""
    courier: Courier | None
    """Takes them to the channels; None when nobody listens."""
    is_kept: bool = True
    """Whether a later run goes on where this one stops."""
    _started: float = field(default_factory=time.monotonic)
    _told: int = 0
    _tells_regions: bool = field(default_factory=lambda: _is_configured(REGIONS))

    def started(self) -> None:
        """The job has begun, or goes on."""
        self._say(Status.STARTED, f"{self.plan.n_regions:,} regions to run")

    def listening(self, others: OnProgress) -> OnProgress:
        """What is told of progress, and tells others."""

        def tell(progress: Progress) -> None:
            others(progress)
            percent = 100 * progress.n_done // max(1, progress.n_tiles)
            if self._told + _STEP <= percent < 100:  # noqa: PLR2004 - the end has its own event
                self._told = percent - percent % _STEP
                text = f"{progress.n_done:,} of {progress.n_tiles:,} tiles"
                self._say(Status.IN_PROGRESS, text, progress=self._told)

        return tell

    def region_ended(self, region: Region, summary: RegionSummary) -> None:
        """A region has ended; said only where the configuration asks for it."""
        if self.courier is None or not self._tells_regions:
            return
        n_failed = summary.outcomes.get(str(TileStatus.FAILED), 0)
        took = summary.effort.times.get("region")
        self._say(
            Status(str(region_status(n_failed, summary.n_tiles))),
            f"{summary.n_tiles - n_failed:,} of {summary.n_tiles:,} tiles",
            region_id=region.id,
            duration_ms=None if took is None else round(1000 * took.total_s),
        )

    def ended(self, report: JobReport) -> None:
        """The job has its result."""
        text = f"{report.n_merged:,} features of {report.n_tiles:,} tiles"
        undone = [delivery.to for delivery in report.deliveries if not delivery.is_done]
        if undone:
            text += f"; not delivered to {', '.join(undone)}"
        self._end(Status(str(report.status)), text, report)

    def failed(self, error: BaseException) -> None:
        """The job has come to its end without a result; one that can go on has not."""
        if isinstance(error, CanceledError):
            self._end(Status.CANCELED, str(error), None)
        elif isinstance(error, JobError | SourceChangedError) or not self.is_kept:
            report = getattr(error, "report", None)
            text = " ".join(f"{type(error).__name__}: {error}".split())
            self._end(Status.FAILED, text, report if isinstance(report, JobReport) else None)

    def _end(self, status: Status, text: str, report: JobReport | None) -> None:
        tile = self.plan.regions.grid.tile
        failed = tuple(
            Window(row=p.row, col=p.col, height=tile.height, width=tile.width)
            for p in (report.problems if report is not None else ())
        )
        seconds = time.monotonic() - self._started
        self._say(status, text, failed_tiles=failed, duration_ms=round(1000 * seconds))

    def _say(self, status: Status, message: str, **more: Any) -> None:
        if self.courier is None:
            return
        self.courier.post(
            self.folder.place,
            StatusEvent(
                job_id=self.plan.settings.job_id,
                status=status,
                message=message,
                time_ms=time.time_ns() // 1_000_000,
                image_url=self.plan.info.url,
                model_name=self.plan.model.name,
                round=self.folder.n_rounds,
                **more,
            ),
        )


@contextmanager
def announcing(
    plan: "Plan", folder: JobFolder, *, is_kept: bool, courier: Courier | None = None
) -> Iterator[Announcer]:
    """An announcer for one run; what could not be said by its end is kept for the next.

    Parameters
    ----------
    plan, folder, is_kept
        As of `Announcer`.
    courier
        Says events of several jobs, and is left open; None: one of this run's own.
    """
    own = configured() if courier is None else None
    announcer = Announcer(plan, folder, courier or own, is_kept)
    try:
        announcer.started()
        yield announcer
    except BaseException as error:
        announcer.failed(error)
        raise
    finally:
        if own is not None:
            own.close()
