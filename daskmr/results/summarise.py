"""Summarise an open job: the outcome of each tile, as numbers and as a map."""

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from daskmr.core.report import JobReport, JobStatus, TileStatus
from daskmr.errors import JobError
from daskmr.lifecycle.open_job import OpenJob
from daskmr.results.coverage import CoverageMap
from daskmr.results.summary import FeatureStatistics, JobSummary, add_parts
from daskmr.results.tile_table import TileTable
from daskmr.status import Operation
from daskmr.store.scratch import scratch_folder, writing_scratch


@contextmanager
def summarise(job: OpenJob) -> Iterator[JobSummary]:
    """Add up all committed regions, and draw the map and the table of their tiles.

    Yields the summary; its files `coverage` and `tiles` are gone afterwards.
    """
    folder = job.workspace.folder
    with scratch_folder() as scratch:
        coverage, table = scratch / "coverage.geojson", scratch / "tiles.parquet"
        summary = JobSummary(job.plan.regions.grid, coverage=coverage, tiles=table)
        with (
            job.stage(Operation.AGGREGATION),
            writing_scratch(scratch),
            CoverageMap(job.plan, coverage) as coverage_map,
            TileTable(job.plan, table) as tile_table,
        ):
            coverage_map.add_skipped()
            tile_table.add_skipped()
            for region, tiles in add_parts(summary, folder.parts, sorted(folder.part_names())):
                coverage_map.add(region, tiles)
                tile_table.add(region, tiles)
        yield summary


def report_of(job: OpenJob, summary: JobSummary, statistics: FeatureStatistics) -> JobReport:
    """Return the report of a job, without its outputs and times."""
    attempts = job.workspace.folder.attempts().values()
    n_bad = Counter(cause for causes in attempts for cause in causes)
    report = summary.report(job.plan, statistics, n_bad_attempts=n_bad)
    return replace(report, notes=tuple(job.notes))


def raise_or_warn(report: JobReport, alerts: Iterable[str] = ()) -> None:
    """Raise when no tile succeeded; warn when some failed, and of what may be wrong.

    Raises
    ------
    JobError
        Carries the report.
    """
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
            stacklevel=4,
        )
    for alert in alerts:
        warnings.warn(f"job {report.job_id}: {alert}", stacklevel=4)
