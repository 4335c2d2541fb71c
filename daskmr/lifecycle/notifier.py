"""Status messages of a running job; their failure never changes the job."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from daskmr.configuration import configuration
from daskmr.core.events import Status, StatusEvent, region_status
from daskmr.core.grid import Region, Window
from daskmr.core.progress import OnProgress, Progress
from daskmr.core.report import JobReport, TileStatus
from daskmr.errors import CanceledError, JobError, SourceChangedError
from daskmr.lifecycle.job_state import final_status
from daskmr.lifecycle.workspace import Workspace
from daskmr.planning.execution import Execution
from daskmr.planning.plan import Plan
from daskmr.status import STATUS, StatusDispatcher, contained
from daskmr.store import JobFolder
from daskmr.worker.task import RegionSummary

_STEP = 10
"""Percent between events of progress."""


def configured_dispatcher() -> StatusDispatcher | None:
    """Return the dispatcher of the configured channels; None without any.

    Raises
    ------
    RequestError
        When a channel is not in the table, or an option of it is wrong.
    """
    channels = [STATUS.build(name, options) for name, options in configuration().status.items()]
    return StatusDispatcher(channels) if channels else None


@dataclass
class Notifier:
    """Sends the status messages of one job."""

    plan: Plan
    """The job."""
    folder: JobFolder
    """Where events are kept until they are delivered."""
    status_dispatcher: StatusDispatcher | None
    """Delivers events to the channels; None without channels."""
    is_kept: bool = True
    """Whether a later run goes on where this one stops."""
    job_name: str = ""
    """Name of the job for people."""
    is_supervised: bool = False
    """Whether the caller decides when the job has failed; see `Execution`."""
    _started: float = field(default_factory=time.monotonic)
    _notified_percent: int = 0
    _logged: set[tuple[str, str]] = field(default_factory=set)
    _tells_regions: bool = field(default_factory=lambda: configuration().region_status)

    def started(self) -> None:
        """Notify that the job has started, or goes on."""
        self._post(Status.STARTED, f"{self.plan.n_regions:,} regions to run")

    def listening(self, others: OnProgress) -> OnProgress:
        """Return a progress callback that also sends IN_PROGRESS messages."""

        def tell(progress: Progress) -> None:
            with contained("on_progress", self._logged):
                others(progress)
            percent = 100 * progress.n_done // max(1, progress.n_tiles)
            if self._notified_percent + _STEP <= percent < 100:  # noqa: PLR2004 - the end has its own event
                self._notified_percent = percent - percent % _STEP
                text = f"{progress.n_done:,} of {progress.n_tiles:,} tiles"
                self._post(Status.IN_PROGRESS, text, progress=self._notified_percent)

        return tell

    def region_ended(self, region: Region, summary: RegionSummary) -> None:
        """Notify of the end of a region, if the configuration asks for it."""
        if self.status_dispatcher is None or not self._tells_regions:
            return
        n_failed = summary.outcomes.get(str(TileStatus.FAILED), 0)
        took = summary.effort.times.get("region")
        self._post(
            Status(str(region_status(n_failed, summary.n_tiles))),
            f"{summary.n_tiles - n_failed:,} of {summary.n_tiles:,} tiles",
            region_id=region.id,
            duration_ms=None if took is None else round(1000 * took.total_s),
        )

    def ended(self, report: JobReport) -> None:
        """Notify that the job has its result."""
        text = f"{report.n_merged:,} features of {report.n_tiles:,} tiles"
        undone = [delivery.to for delivery in report.deliveries if not delivery.is_done]
        if undone:
            text += f"; not delivered to {', '.join(undone)}"
        self._end(Status(str(report.status)), text, report)

    def failed(self, error: BaseException) -> None:
        """Notify that the job has ended without a result, unless it is to go on."""
        if isinstance(error, CanceledError):
            self._end(Status.CANCELED, str(error), None)
        elif self._is_final(error):
            report = getattr(error, "report", None)
            text = " ".join(f"{type(error).__name__}: {error}".split())
            self._end(Status.FAILED, text, report if isinstance(report, JobReport) else None)

    def _is_final(self, error: BaseException) -> bool:
        if self.is_kept and self.is_supervised:
            return isinstance(error, JobError | SourceChangedError)
        return not self.is_kept or final_status(error) is Status.FAILED

    def _end(self, status: Status, text: str, report: JobReport | None) -> None:
        tile = self.plan.regions.grid.tile
        failed = tuple(
            Window(row=p.row, col=p.col, height=tile.height, width=tile.width)
            for p in (report.problems if report is not None else ())
        )
        seconds = time.monotonic() - self._started
        self._post(status, text, failed_tiles=failed, duration_ms=round(1000 * seconds))

    def _post(self, status: Status, message: str, **more: Any) -> None:
        if self.status_dispatcher is None:
            return
        with contained("status events"):
            self.status_dispatcher.post(
                self.folder.objects,
                StatusEvent(
                    job_id=self.plan.settings.job_id,
                    job_name=self.job_name,
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
def notifying(plan: Plan, space: Workspace, execution: Execution) -> Iterator[Notifier]:
    """Notify of one run; undelivered events are kept for the next.

    The execution's dispatcher stays open; without one, this run creates and closes its own.
    """
    own = configured_dispatcher() if execution.status_dispatcher is None else None
    notifier = Notifier(
        plan,
        space.folder,
        execution.status_dispatcher or own,
        is_kept=space.is_kept,
        job_name=execution.job_name,
        is_supervised=execution.is_supervised,
    )
    try:
        notifier.started()
        yield notifier
    except BaseException as error:
        notifier.failed(error)
        raise
    finally:
        if own is not None:
            own.close()
