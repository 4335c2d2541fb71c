"""A job while a driver runs it: its plan, folder, event log and notifier."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter

from daskmr.core.grid import Region
from daskmr.lifecycle.event_log import EventLog
from daskmr.lifecycle.job_state import begin_retry_round
from daskmr.lifecycle.notifier import Notifier, notifying
from daskmr.lifecycle.workspace import Workspace, workspace
from daskmr.planning.execution import Execution
from daskmr.planning.plan import Plan
from daskmr.status import Operation, logs_about
from daskmr.worker.metrics import measure_region, model_name, stage
from daskmr.worker.task import ModelCall, RegionSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenJob:
    """A job that this process drives."""

    plan: Plan
    """What to do; its image is measured."""
    execution: Execution
    """How and where."""
    workspace: Workspace
    """The job's folder, and the right to run it."""
    events: EventLog
    """Record of what happened."""
    notifier: Notifier
    """Status messages to the outside."""
    started_s: float
    """When it was opened, by `time.perf_counter`."""
    notes: list[str] = field(default_factory=list)
    """For the user, about this run."""

    @property
    def job_id(self) -> str:
        """Name of the job."""
        return self.plan.settings.job_id

    def on_region_end(self, call: ModelCall, region: Region, summary: RegionSummary) -> None:
        """Measure a region that has ended, and notify of it."""
        measure_region(self.execution.meter, call, summary)
        self.notifier.region_ended(region, summary)

    def stage(self, operation: Operation) -> AbstractContextManager[None]:
        """Measure a stage of the whole job."""
        return stage(self.execution.meter, operation, job_id=self.job_id)


@contextmanager
def open_job(plan: Plan, execution: Execution, *, has_own_workers: bool) -> Iterator[OpenJob]:
    """Open a job for this process alone, new or to go on with.

    A kept job that ended as PARTIAL or FAILED begins a round of its failed tiles, unless the
    execution is supervised or wants none.

    Parameters
    ----------
    plan
        What to do.
    execution
        How and where.
    has_own_workers
        Whether all workers run on this machine and end with the job.

    Raises
    ------
    RequestError
        When the store has a job of this id with another request.
    SourceChangedError
        When the image has changed since.
    StoreError
        When the job is run by another process, or its folder cannot be written.
    """
    started = perf_counter()
    plan = replace(plan, image=plan.image.measured())
    labels = {"model_name": model_name(plan.model), "input_format": plan.info.format}
    with ExitStack() as stack:
        stack.enter_context(logs_about(plan.settings.job_id, job_name=execution.job_name))
        stack.enter_context(execution.meter.timed(Operation.IMAGE, **labels))
        space = stack.enter_context(workspace(plan, execution, has_own_workers=has_own_workers))
        if space.is_kept and execution.retry_failed and not execution.is_supervised:
            begin_retry_round(space.folder)
        yield OpenJob(
            plan=plan,
            execution=execution,
            workspace=space,
            events=stack.enter_context(
                EventLog(space.folder, plan.settings.job_id, space.epoch, is_kept=space.is_kept)
            ),
            notifier=stack.enter_context(notifying(plan, space, execution)),
            started_s=started,
        )
