"""How a driver leaves a kept job that has no result: its state, a report and a way on."""

import logging
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from daskmr.core.events import Status
from daskmr.core.report import JobReport
from daskmr.errors import HandedBackError, JobError, StoreError
from daskmr.lifecycle.job_state import INTERRUPTED, final_status
from daskmr.lifecycle.open_job import OpenJob
from daskmr.results.summarise import report_of
from daskmr.results.summary import FeatureStatistics, JobSummary, add_parts
from daskmr.worker.cancellation import CANCELED

log = logging.getLogger(__name__)


@dataclass
class EndRecorder:
    """Records the end of a driver that fails; use it in a ``with`` block.

    The record is ``{"status", "why", "round", "is_failed_whole", "report"}``: the state of the job,
    one sentence, the round that was run, whether all of its tiles failed, and the job's report, or
    None. A driver that is killed leaves none, nor does one whose job was taken over.
    """

    job: OpenJob
    """The job."""
    report: JobReport | None = None
    """The account as far as it is known; made of the committed regions when None."""

    @property
    def known(self) -> JobReport:
        """The account as far as it is known."""
        return self.report or self._counted()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        is_ours = self.job.workspace.lease is not None and not self.job.workspace.lease.lost
        if is_ours and isinstance(error, Exception) and not isinstance(error, HandedBackError):
            try:
                self._record(error)
            except StoreError as lost:  # the state is INTERRUPTED, and the same call goes on
                log.warning("end not recorded", extra={"daskmr": {"error": str(lost)}})

    def _record(self, error: Exception) -> None:
        status, folder = final_status(error), self.job.workspace.folder
        if status is Status.CANCELED and folder.stop_reason(self.job.workspace.epoch) != CANCELED:
            return  # a worker's word that this driver, or a later one, told it to stop
        why = " ".join(str(error).split())
        if not isinstance(error, JobError):
            why = f"{type(error).__name__}: {why}"
        report = None
        if status is not None:
            report = replace(
                self.known,
                failure=why,
                is_canceled=status is Status.CANCELED,
            ).as_dict()
        folder.record_end(
            self.job.workspace.epoch,
            {
                "status": str(status or INTERRUPTED),
                "why": why,
                "round": folder.n_rounds,
                "is_failed_whole": status is Status.FAILED and isinstance(error, JobError),
                "report": report,
            },
        )

    def _counted(self) -> JobReport:
        """Return the account of the regions that are committed."""
        folder = self.job.workspace.folder
        summary = JobSummary(self.job.plan.regions.grid)
        for _ in add_parts(summary, folder.parts, sorted(folder.part_names())):
            pass
        return report_of(self.job, summary, FeatureStatistics())
