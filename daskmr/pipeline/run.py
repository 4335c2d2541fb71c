"""The story of a job, in the order in which it happens.

request - plan - regions (read, encode, ask, decode, part) - merge - geolocate - sinks - report
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import geopandas as gpd

from daskmr.core.features import concat
from daskmr.core.grid import Region
from daskmr.core.imagery import source_metadata
from daskmr.core.report import JobReport, JobStatus, TileStatus
from daskmr.errors import JobError
from daskmr.geolocate.table import to_world
from daskmr.pipeline.account import Account
from daskmr.pipeline.capacity import asking
from daskmr.pipeline.cluster import Connection, connect
from daskmr.pipeline.describe import report_html, report_text
from daskmr.pipeline.feed import run_regions
from daskmr.pipeline.graph import each_block, over_array, over_source
from daskmr.pipeline.job import Job, RegionSummary
from daskmr.pipeline.output import Output
from daskmr.pipeline.plan import Plan
from daskmr.pipeline.preflight import preflight
from daskmr.pipeline.progress import TOPIC, OnProgress, Tracker
from daskmr.pipeline.publication import publish
from daskmr.pipeline.region import summary_of
from daskmr.pipeline.workspace import Workspace, workspace
from daskmr.sinks.base import Provenance
from daskmr.store import PartStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a job found."""

    features: gpd.GeoDataFrame
    """One row a feature: `geometry` is lon, lat, height (EPSG:4326), or pixels without CRS when
    the image has no georeferencing; `image_geometry` and `image_bbox` are full-image pixels."""
    report: JobReport
    """Tiles, reasons, time, outputs."""

    def __str__(self) -> str:
        return report_text(self.report)

    def _repr_html_(self) -> str:
        return report_html(self.report)


def run_plan(
    plan: Plan,
    output: Output | None,
    *,
    cluster: Any,
    on_progress: OnProgress,
    store: str | None = None,
) -> Result:
    """Run a plan to its end.

    Parameters
    ----------
    plan
        What to do.
    output
        Where results are written; None for in memory only.
    cluster
        Keyword arguments of `daskmr.pipeline.cluster.connect`.
    on_progress
        Told about once a second how far the job has come.
    store
        Where jobs are kept, so that a later run of the same job goes on; None for this run alone.

    Raises
    ------
    JobError
        When tiles were run and none succeeded; nothing is written then.
    DaskmrError
        When the cluster, the endpoint, the store or a sink could not be used.
    """
    started = perf_counter()
    with ExitStack() as outer:
        with ExitStack() as inner:
            connection = inner.enter_context(connect(**cluster)) if store is None else None
            space = outer.enter_context(workspace(plan, output, store, connection=connection))
            account = _account_of(plan, space)
            missing = account.missing(plan.regions)
            if missing:
                connection = connection or inner.enter_context(connect(**cluster))
                _run_regions(
                    _job(plan, connection, space.parts),
                    plan,
                    missing,
                    check=space.check,
                    connection=connection,
                    account=account,
                    on_progress=on_progress,
                )
        return _finished(plan, space, account, output=output, started=started)


def _account_of(plan: Plan, space: Workspace) -> Account:
    """The account of what an earlier run has committed."""
    account = Account(plan.regions, plan.selection)
    for region in plan.regions:
        if region.id in space.done:
            part = space.parts.read(region.id)
            sizes = {
                (t.window.row, t.window.col): t.window.height * t.window.width
                for t in plan.regions.grid.tiles(region)
            }
            n_pixels = sum(
                sizes[o.row, o.col]
                for o in part.outcomes
                if o.status is not TileStatus.SKIPPED and o.reason != "READ_FAILED"
            )
            account.add(region, summary_of(region.id, part, n_pixels, seconds={}))
    return account


def provenance(plan: Plan) -> Provenance:
    """What every feature of a plan's result is told."""
    return Provenance(
        job_id=plan.settings.job_id,
        feature_properties=tuple(plan.settings.feature_properties),
        source_metadata=tuple(source_metadata(plan.info)),
    )


def _job(plan: Plan, connection: Connection, parts: PartStore) -> Job:
    return Job(
        job_id=plan.settings.job_id,
        asking=asking(plan, connection),
        regions=plan.regions,
        selection=plan.selection,
        parts=parts,
        skip_nodata=plan.settings.skip_nodata,
    )


def _run_regions(  # noqa: PLR0913 - all that a run consists of
    job: Job,
    plan: Plan,
    missing: Sequence[Region],
    *,
    check: Callable[[], None],
    connection: Connection,
    account: Account,
    on_progress: OnProgress,
) -> None:
    """Run the regions that are missing, and take account of each."""
    preflight(connection, job)
    n_tiles = int(plan.selection.mask.sum())
    tracker = Tracker(job_id=job.job_id, n_tiles=n_tiles, tell=on_progress)
    tracker.finished(sum(account.outcomes.values()), account.n_pixels)
    source = plan.image.source
    blocks = over_source(job, source) if source else over_array(job, plan.data.data)

    def ended(region: Region, summary: RegionSummary | None) -> None:
        check()
        account.add(region, summary)
        tracker.finished(account.n_tiles(region), summary.n_pixels if summary else 0)

    with _listening(connection, tracker):
        run_regions(connection, each_block(blocks, list(missing)), ended)


def _finished(
    plan: Plan, space: Workspace, account: Account, *, output: Output | None, started: float
) -> Result:
    """Merge, place, write and publish what the regions found."""
    found = list(space.parts.read_all(account.written))
    merged = plan.merge(concat([part.features for part in found]))
    world = to_world(merged, plan.sensor)
    report = account.report(plan, found, n_merged=len(world))
    _judge(report)
    space.check()
    written = output.write(world, provenance(plan)) if output is not None else []
    seconds = {**report.seconds, "wall": perf_counter() - started}
    report = replace(report, seconds=seconds, outputs=written)
    if space.folder is not None and not account.n_lost:
        publish(space.folder, report)
    return Result(features=world, report=report)


@contextmanager
def _listening(connection: Connection, tracker: Tracker) -> Iterator[None]:
    connection.client.subscribe_topic(TOPIC, tracker.event)
    try:
        yield
    finally:
        connection.client.unsubscribe_topic(TOPIC)


def _judge(report: JobReport) -> None:
    if report.status is JobStatus.FAILED:
        first = report.problems[0].message if report.problems else "the workers died"
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
