"""Folder of a running job: its own in a store, or one for this run alone."""

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daskmr.errors import CanceledError, RequestError, StoreError
from daskmr.lifecycle.job_spec import job_spec
from daskmr.planning.execution import Execution
from daskmr.planning.identity import request_identity, result_identity, source_of
from daskmr.planning.outputs import Output
from daskmr.planning.plan import Plan
from daskmr.store import JobFolder
from daskmr.store.jobs import REPLACED
from daskmr.store.lease import Lease
from daskmr.store.scratch import scratch_folder
from daskmr.worker.cancellation import CANCELED, TAKEN_OVER

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """A job's folder while it is run."""

    folder: JobFolder
    """Where everything of it is."""
    lease: Lease | None = None
    """The right to run the job; None for a folder that is gone after the run."""

    @property
    def is_kept(self) -> bool:
        """Whether the folder outlives the run."""
        return self.lease is not None

    @property
    def epoch(self) -> int:
        """Number of the driver."""
        return self.lease.epoch if self.lease is not None else 0

    def check(self) -> None:
        """Raise if another process has taken the job over.

        Raises
        ------
        StoreError
            When it was.
        """
        if self.lease is not None and self.lease.lost:
            msg = f"{self.folder.url}: the job was taken over by another process"
            raise StoreError(msg)

    def check_canceled(self) -> None:
        """Raise if the job was canceled, or taken over; asks the store.

        Raises
        ------
        CanceledError
            When it was canceled.
        StoreError
            As `check`.
        """
        self.check()
        if self.is_kept and self.folder.stop_reason(self.epoch) == CANCELED:
            msg = f"job {self.folder.job_id}: canceled"
            raise CanceledError(msg)


@contextmanager
def workspace(plan: Plan, execution: Execution, *, has_own_workers: bool) -> Iterator[Workspace]:
    """Open the folder of a job: its own in a store, or one for this run alone.

    Without a store, parts lie beside the results, where all workers can write; on this machine when
    there are no results, or when these go to a bucket and all workers are ours.

    Parameters
    ----------
    plan
        The job.
    execution
        Where results go and jobs are kept.
    has_own_workers
        Whether all workers run on this machine and end with the job.

    Raises
    ------
    RequestError
        When the store has a job of this id that asked for something else.
    SourceChangedError
        When the image has changed since.
    StoreError
        When the job is being run by somebody else.
    """
    kept_folder = _begun(plan, execution)
    if kept_folder is not None:
        with _kept(kept_folder, execution) as kept:
            yield kept
        return
    name = f".daskmr-{uuid.uuid4().hex}"
    output = next((output for output in execution.outputs if isinstance(output, Output)), None)
    if output is not None and not (has_own_workers and output.is_remote):
        folder = JobFolder(url=f"{output.url}/{name}")
        try:
            yield Workspace(folder=folder)
        finally:
            folder.objects.remove()
        return
    with scratch_folder() as scratch:
        yield Workspace(folder=JobFolder(url=str(scratch / name)))


def _begun(plan: Plan, execution: Execution) -> JobFolder | None:
    """Return the folder of a job that is kept, with its request; None for a job that is not.

    A bucket of results that can be written, but not read or listed, keeps no state.
    """
    if execution.store is None:
        return None
    if plan.image.source is None:
        msg = "store: an array cannot be opened again, so its job cannot be resumed"
        raise RequestError(msg)
    folder = JobFolder.at(execution.store, plan.settings.job_id)
    work: dict[str, Any] = {"tiles": plan.n_tiles - plan.n_skipped, "regions": plan.n_regions}
    work |= {"name": execution.job_name} if execution.job_name else {}
    try:
        folder.begin(
            request_identity(plan),
            source_of(plan),
            plan=work,
            options=job_spec(plan, execution.outputs),
            result=result_identity(plan),
        )
    except StoreError as error:
        if not (execution.keeps_beside and "://" in folder.url):
            raise
        log.warning("the job keeps no state beside its results: %s", error)
        return None
    return folder


@contextmanager
def _kept(folder: JobFolder, execution: Execution) -> Iterator[Workspace]:
    lease = folder.lease()
    lease.acquire()
    lease.keep()
    try:
        if lease.epoch:  # workers of the driver before this one may still be at it
            folder.request_stop(lease.epoch - 1, TAKEN_OVER)
        yield Workspace(folder=folder, lease=lease)
    except BaseException:
        lease.release()
        has_something = folder.part_names() or folder.objects.exists(REPLACED)
        if execution.keeps_beside and not has_something:
            _remove(folder)
        raise
    lease.release()


def _remove(folder: JobFolder) -> None:
    """Remove the folder of a job, and those around it that are empty then."""
    folder.objects.remove()
    if "://" not in folder.url:
        for parent in list(Path(folder.url).parents)[:2]:
            with suppress(OSError):
                parent.rmdir()
