"""The story of a job, in the order in which it happens.

request - plan - regions (read, encode, ask, decode, part) - merge - geolocate - sinks - report
"""

import asyncio
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import geopandas as gpd
import numpy as np

from daskmr.core.cuts import flagged, told
from daskmr.core.grid import Region, TileGrid
from daskmr.core.imagery import source_metadata
from daskmr.core.report import JobReport, JobStatus, TileStatus
from daskmr.core.selection import Mask, Selection
from daskmr.errors import ClusterError, JobError, SchedulerLostError
from daskmr.pipeline.account import Account, Findings, accounted
from daskmr.pipeline.announce import Announcer, announcing
from daskmr.pipeline.attempts import Attempts
from daskmr.pipeline.blocks import merged_on
from daskmr.pipeline.capacity import asking
from daskmr.pipeline.cluster import Connection, awake, connect, is_made_for_a_job, patience_s
from daskmr.pipeline.coverage import CoverageMap
from daskmr.pipeline.execution import Execution
from daskmr.pipeline.feed import Feed
from daskmr.pipeline.job import Job, RegionSummary
from daskmr.pipeline.journal import Journal
from daskmr.pipeline.measures import measure_region, model_name, stage
from daskmr.pipeline.merging import merged
from daskmr.pipeline.overseer import FolderOverseer, give_up_all, stop_mark
from daskmr.pipeline.plan import Plan
from daskmr.pipeline.pool import DaskPool
from daskmr.pipeline.preflight import preflight
from daskmr.pipeline.progress import OnProgress, Tracker, topic
from daskmr.pipeline.publication import publish, written
from daskmr.pipeline.result import Result
from daskmr.pipeline.spool import Spool
from daskmr.pipeline.workspace import Workspace, workspace
from daskmr.sinks.base import Provenance
from daskmr.status import Operation
from daskmr.store import PartStore

MANY_FEATURES = 200_000
"""From so many on, features are merged on the cluster."""
_MAX_SCHEDULERS = 5
"""Clusters that are tried one after the other while their schedulers go away."""


def run_plan(plan: Plan, how: Execution) -> Result:
    """Run a plan to its end.

    Raises
    ------
    JobError
        When tiles were run and none succeeded, or the job was canceled.
    DaskmrError
        When the cluster, the endpoint, the store or a sink could not be used.
    """
    started = perf_counter()
    plan = replace(plan, image=plan.image.measured())
    about = {"model_name": model_name(plan.model), "input_format": plan.info.format}
    with ExitStack() as outer:
        outer.enter_context(how.meter.timed(Operation.IMAGE, **about))
        with ExitStack() as inner:
            connection = inner.enter_context(connect(**how.cluster)) if how.store is None else None
            client = how.cluster.get("client") or (connection and connection.client)
            if client is not None:
                inner.enter_context(awake(client))
            space = outer.enter_context(
                workspace(plan, how.outputs, how.store, connection=connection)
            )
            journal = outer.enter_context(Journal(space.folder, space.epoch, is_kept=space.is_kept))
            announcer = outer.enter_context(
                announcing(plan, space.folder, is_kept=space.is_kept, courier=how.courier)
            )
            how = replace(how, on_progress=announcer.listening(how.on_progress))
            run = _Run(plan=plan, how=how, space=space, journal=journal, announcer=announcer)
            n_now = _run_all(run, connection)
        result = _finished(run, started=started, n_now=n_now)
        announcer.ended(result.report)
        return result


def provenance(plan: Plan) -> Provenance:
    """What every feature of a plan's result is told."""
    return Provenance(
        job_id=plan.settings.job_id,
        feature_properties=tuple(plan.settings.feature_properties),
        source_metadata=tuple(source_metadata(plan.info)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One driver's run of a job."""

    plan: Plan
    how: Execution
    space: Workspace
    journal: Journal
    announcer: Announcer

    def told_of(self, job: Job) -> Callable[[Region, RegionSummary], None]:
        """What is told of regions of a job that have ended."""

        def tell(region: Region, summary: RegionSummary) -> None:
            measure_region(self.how.meter, job.asking, summary)
            self.announcer.region_ended(region, summary)

        return tell

    def stage(self, operation: Operation) -> AbstractContextManager[None]:
        """Measure a stage of the whole job."""
        return stage(self.how.meter, operation, job_id=self.plan.settings.job_id)


def _run_all(run: _Run, connection: Connection | None) -> int:
    """Run the regions that are missing, on as many clusters as it takes; tiles that ended."""
    plan, how, space, journal = run.plan, run.how, run.space, run.journal
    n_tiles, number = 0, space.folder.n_rounds
    selection = _of_round(plan, space.folder.round(number)) if number else plan.selection
    for n_left in reversed(range(_MAX_SCHEDULERS)):
        missing = _missing(plan, selection, space)
        if not missing:
            break
        with ExitStack() as stack:
            made = connection or stack.enter_context(connect(**how.cluster))
            job = Job(
                job_id=plan.settings.job_id,
                asking=asking(plan, made),
                regions=plan.regions,
                folder=space.folder,
                selection=selection,
                skip_nodata=plan.settings.skip_nodata,
                epoch=space.epoch,
                round=number,
            )
            overseer = FolderOverseer(
                job=job,
                space=space,
                journal=journal,
                tracker=_tracker(job, missing, how.on_progress, dashboard=made.dashboard),
                deadline_s=plan.settings.deadline_s,
                on_region=run.told_of(job),
                let_go=how.let_go,
            )
            journal.say("started", regions=len(missing), workers=made.n_workers(), round=number)
            try:
                _run_regions(run, made, overseer, missing=missing)
                break
            except SchedulerLostError as error:
                journal.say("scheduler lost", message=str(error))
                if connection is not None or not made.can_be_made_again or not n_left:
                    raise
            finally:
                n_tiles += overseer.n_tiles
    return n_tiles


def _missing(plan: Plan, selection: Selection, space: Workspace) -> list[Region]:
    """Regions with tiles to run whose parts are not there."""
    suffix = f"~{space.folder.n_rounds}" if space.folder.n_rounds else ""
    there = set(space.folder.committed()) if space.is_kept else set()
    return [
        region
        for region in plan.regions
        if f"{region.id}{suffix}" not in there and selection.of_region(region).any()
    ]


def _of_round(plan: Plan, tiles: Sequence[tuple[int, int]]) -> Selection:
    """Tiles that are asked about again."""
    grid = plan.regions.grid
    mask = np.zeros(grid.shape, dtype=np.bool_)
    rows, cols = np.array(tiles, dtype=np.int64).reshape(-1, 2).T
    mask[np.searchsorted(grid.rows, rows), np.searchsorted(grid.cols, cols)] = True
    return Selection.of(mask)


def _tracker(job: Job, missing: Sequence[Region], tell: OnProgress, *, dashboard: str) -> Tracker:
    """How far the job has come, what is done already included."""
    n_tiles = int(job.selection.mask.sum())
    n_missing = sum(int(job.selection.of_region(region).sum()) for region in missing)
    tracker = Tracker(n_tiles=n_tiles, tell=tell, dashboard=dashboard)
    tracker.finished(n_tiles - n_missing, 0)
    return tracker


def _run_regions(
    run: _Run, connection: Connection, overseer: FolderOverseer, *, missing: Sequence[Region]
) -> None:
    """Run regions on one cluster."""
    job, how, image = overseer.job, run.how, run.plan.image
    preflight(connection, job)
    pool = DaskPool(
        connection,
        job,
        source=image.source,
        data=None if image.source else run.plan.data.data,
        priority=how.priority,
        part=how.slots,
    )
    causes = {
        name: said
        for name, said in overseer.space.folder.attempts().items()
        if name.endswith(f"~{job.round}") or not job.round
    }
    feed = Feed(missing, pool, overseer, Attempts.of(causes), patience_s())
    try:
        with _listening(connection, job.job_id, overseer.tracker):
            _driven(connection, feed)
    except TimeoutError:
        give_up_all(job, [r for r in missing if r.id not in overseer.ended_regions])
    except BaseException as error:
        if not isinstance(error, SchedulerLostError):
            job.folder.stop(job.epoch, stop_mark(error))
        raise


def _driven(connection: Connection, feed: Feed) -> None:
    """Run a feed on the client's loop, and stop it when this thread is interrupted."""
    loop = connection.client.loop.asyncio_loop
    driver = asyncio.run_coroutine_threadsafe(feed.run(), loop)
    try:
        driver.result()
    except BaseException:
        driver.cancel()
        raise


def _finished(run: _Run, *, started: float, n_now: int) -> Result:
    """Merge, place, write and publish what the regions found."""
    plan, how, space, journal = run.plan, run.how, run.space, run.journal
    with TemporaryDirectory(prefix="daskmr-") as scratch, ExitStack() as stack:
        coverage = Path(scratch) / "coverage.geojson"
        with run.stage(Operation.AGGREGATION):
            account = _accounted(plan, space, coverage)
        spool = stack.enter_context(
            Spool(plan.regions.grid, account.counts, plan.sensor, plan.scale)
        )
        findings = Findings()
        with run.stage(Operation.SELECTION):
            for table in _merged(run, account):
                kept = findings.add(table, plan.area if plan.settings.roi_only else None)
                spool.add(told(kept, plan.regions.grid, account.run))
            spool.close()
        report = account.report(
            plan,
            findings=findings,
            deaths=Counter(c for said in space.folder.attempts().values() for c in said),
        )
        journal.say("merged", features=account.n_features, merged=spool.n_rows)
        _judge(report)
        space.check()
        with run.stage(Operation.DISSEMINATION):
            publication = written(
                spool,
                coverage,
                outputs=how.outputs,
                folder=space.folder if space.is_kept else None,
                provenance=provenance(plan),
            )
        wall = perf_counter() - started
        report = replace(
            report,
            seconds={**report.seconds, "wall": wall},
            tiles_per_s=n_now / wall,
            outputs=publication.outputs,
            deliveries=publication.deliveries,
        )
        for delivery in publication.deliveries:
            if not delivery.is_done:
                journal.say("delivery failed", to=delivery.to, message=delivery.message)
        if space.is_kept:
            space.check()
            publish(space.folder, report, publication.results)
        journal.say("ended", status=str(report.status), seconds=round(wall, 3))
        return Result(
            report=report,
            loaded=spool.whole() if how.load else None,
            image=plan.original,
            placing=plan.placing,
        )


def _accounted(plan: Plan, space: Workspace, coverage: Path) -> Account:
    """The account of all regions, and the map of their tiles."""
    account = Account(plan.regions.grid)
    with CoverageMap(plan, coverage) as drawn:
        drawn.add_skipped()
        names = sorted(space.folder.committed())
        for region, tiles in accounted(account, space.folder.parts, names):
            drawn.add(region, tiles)
    return account


def _merged(run: _Run, account: Account) -> Iterator[gpd.GeoDataFrame]:
    """Features in pixels, one of each object; those of large jobs are merged on the cluster."""
    merge, extents = run.plan.merge, account.extents
    read = _Flagged(run.space.folder.parts, run.plan.regions.grid, account.run)
    with ExitStack() as stack:
        connection = None
        lasts = not is_made_for_a_job(run.how.cluster.get("scheduler"))
        if merge.reach_px is not None and account.n_features >= MANY_FEATURES and lasts:
            with suppress(ClusterError):
                connection = stack.enter_context(connect(**run.how.cluster))
        if connection is None:
            yield from merged(merge, extents, read)
        else:
            client, priority = connection.client, run.how.priority
            yield from merged_on(client, merge, extents, read=read, priority=priority)


@dataclass(frozen=True, slots=True)
class _Flagged:
    """Reads the features of parts, with what the edges of tiles have cut; workers can, too."""

    parts: PartStore
    grid: TileGrid
    run: Mask

    def __call__(self, names: Iterable[str]) -> Iterator[gpd.GeoDataFrame]:
        return (flagged(part.features, self.grid, self.run) for part in self.parts.read_all(names))


@contextmanager
def _listening(connection: Connection, job_id: str, tracker: Tracker) -> Iterator[None]:
    connection.client.subscribe_topic(topic(job_id), tracker.event)
    try:
        yield
    finally:
        connection.client.unsubscribe_topic(topic(job_id))


def _judge(report: JobReport) -> None:
    if report.status is JobStatus.FAILED:
        first = report.problems[0].message if report.problems else ""
        reasons = ", ".join(
            f"{n} x {reason}" for reason, n in Counter(report.reasons).most_common()
        )
        msg = f"job {report.job_id}: no tile succeeded ({reasons}); the first: {first}"
        raise JobError(msg, report=report)
    if report.status is JobStatus.PARTIAL:
        n_failed = report.outcomes[TileStatus.FAILED]
        warnings.warn(
            f"job {report.job_id}: {n_failed} of {report.n_tiles} tiles failed; see the report",
            stacklevel=5,
        )
