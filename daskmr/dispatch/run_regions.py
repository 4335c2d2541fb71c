"""Run the regions of an open job that are not committed yet, on as many clusters as it takes."""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import numpy as np

from daskmr.core.grid import Region
from daskmr.core.progress import OnProgress
from daskmr.core.selection import Selection
from daskmr.dispatch.cluster import patience_s
from daskmr.dispatch.dispatcher import Dispatcher
from daskmr.dispatch.model_call import model_call
from daskmr.dispatch.progress import Tracker
from daskmr.dispatch.retry_policy import RetryPolicy
from daskmr.dispatch.supervisor import JobSupervisor, give_up_all, stop_mark
from daskmr.dispatch.workers import RegionWorkers, workers_of
from daskmr.errors import SchedulerLostError
from daskmr.lifecycle.open_job import OpenJob
from daskmr.worker.task import JobContext

_MAX_SCHEDULERS = 5
"""Clusters that are tried one after the other while their schedulers go away."""


def run_regions(job: OpenJob) -> int:
    """Run the regions of a job that are not committed, and return the tiles that ended meanwhile.

    Raises
    ------
    CanceledError
        When the job was canceled.
    ClusterError, UnreachableError, AuthError
        When the cluster or the endpoint cannot be used.
    StoreError
        When the job was taken over, or its folder cannot be written.
    """
    n_tiles, round_ = 0, job.workspace.folder.n_rounds
    selection = _of_round(job, round_) if round_ else job.plan.selection
    for n_left in reversed(range(_MAX_SCHEDULERS)):
        missing = _missing(job, selection)
        if not missing:
            break
        with ExitStack() as stack:
            workers = stack.enter_context(workers_of(job))
            job.notes[:] = _notes(
                job, workers, missing=missing, retried=selection if round_ else None
            )
            supervisor = _supervisor(job, workers, selection, missing=missing)
            job.events.record(
                "started",
                regions=len(missing),
                workers=workers.n_processes(),
                place=workers.place,
                round=round_,
            )
            try:
                _run_on(workers, job, supervisor, missing=missing)
                break
            except SchedulerLostError as error:
                job.events.record("scheduler lost", message=str(error))
                can_go_on = job.workspace.is_kept and workers.can_reconnect
                if not (can_go_on and n_left):
                    raise
            finally:
                n_tiles += supervisor.n_tiles
    return n_tiles


def _notes(
    job: OpenJob, workers: RegionWorkers, *, missing: Sequence[Region], retried: Selection | None
) -> list[str]:
    """Return what a user may like to know of this run; `retried` are the tiles of a retry round."""
    n_all = job.plan.n_regions
    notes = [f"ran in {workers.place}"]
    if retried is not None:
        notes.append(f"asked again about {int(retried.mask.sum()):,} tiles that had failed")
        n_all = sum(bool(retried.of_region(region).any()) for region in job.plan.regions)
    if len(missing) < n_all:
        notes.append(f"went on after {n_all - len(missing):,} of {n_all:,} regions")
    return notes


def _missing(job: OpenJob, selection: Selection) -> list[Region]:
    """Return the regions with tiles to run whose parts are not committed."""
    folder = job.workspace.folder
    suffix = f"~{folder.n_rounds}" if folder.n_rounds else ""
    committed = set(folder.part_names()) if job.workspace.is_kept else set()
    return [
        region
        for region in job.plan.regions
        if f"{region.id}{suffix}" not in committed and selection.of_region(region).any()
    ]


def _of_round(job: OpenJob, number: int) -> Selection:
    """Return the failed tiles that a round asks about again."""
    grid = job.plan.regions.grid
    tiles = job.workspace.folder.round_tiles(number)
    mask = np.zeros(grid.shape, dtype=np.bool_)
    rows, cols = np.array(tiles, dtype=np.int64).reshape(-1, 2).T
    mask[np.searchsorted(grid.rows, rows), np.searchsorted(grid.cols, cols)] = True
    return Selection.of(mask)


def _supervisor(
    job: OpenJob, workers: RegionWorkers, selection: Selection, *, missing: Sequence[Region]
) -> JobSupervisor:
    """Return the supervisor of a run on some workers; resolves the endpoint for them."""
    settings, space = job.plan.settings, job.workspace
    context = JobContext(
        job_id=job.job_id,
        job_name=job.execution.job_name,
        call=model_call(job.plan, workers),
        regions=job.plan.regions,
        folder=space.folder,
        selection=selection,
        skip_nodata=settings.skip_nodata,
        epoch=space.epoch,
        round=space.folder.n_rounds,
    )
    on_progress = job.notifier.listening(job.execution.on_progress)
    return JobSupervisor(
        job=context,
        space=space,
        events=job.events,
        tracker=_tracker(context, missing, on_progress, workers=workers),
        deadline_s=settings.deadline_s,
        on_region=partial(job.on_region_end, context.call),
        let_go=job.execution.let_go,
    )


def _tracker(
    context: JobContext, missing: Sequence[Region], tell: OnProgress, *, workers: RegionWorkers
) -> Tracker:
    """Return the progress of a job, committed regions included."""
    n_tiles = int(context.selection.mask.sum())
    n_missing = sum(int(context.selection.of_region(region).sum()) for region in missing)
    tracker = Tracker(n_tiles=n_tiles, tell=tell, place=workers.place, dashboard=workers.dashboard)
    tracker.finished(n_tiles - n_missing, 0)
    return tracker


def _run_on(
    workers: RegionWorkers, job: OpenJob, supervisor: JobSupervisor, *, missing: Sequence[Region]
) -> None:
    """Run regions where there are workers for them."""
    context = supervisor.job
    workers.check(context)
    try:
        with workers.executor(job, context, supervisor.tracker) as executor:
            dispatcher = Dispatcher(missing, executor, supervisor, _retry_policy(job), patience_s())
            workers.drive(dispatcher.run())
    except TimeoutError:
        give_up_all(context, [r for r in missing if r.id not in supervisor.ended_regions])
    except BaseException as error:
        if not isinstance(error, SchedulerLostError):
            context.folder.request_stop(context.epoch, stop_mark(error))
        raise


def _retry_policy(job: OpenJob) -> RetryPolicy:
    """Return the attempts of earlier drivers at the regions of this round."""
    folder = job.workspace.folder
    number = folder.n_rounds
    return RetryPolicy.of({
        name: causes
        for name, causes in folder.attempts().items()
        if name.endswith(f"~{number}") or not number
    })  # fmt: skip
