"""Publication of results: in the job's folder and at each output, by name and hash."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from daskmr._version import __version__
from daskmr.core.imagery import source_metadata
from daskmr.core.report import Delivery, JobReport
from daskmr.errors import SinkError, StoreError
from daskmr.lifecycle.open_job import OpenJob
from daskmr.planning.outputs import Destination, StreamOutput, digest
from daskmr.planning.plan import Plan
from daskmr.results.job_end import EndRecorder
from daskmr.results.summary import JobSummary
from daskmr.sinks import write
from daskmr.sinks.base import Provenance, Rows
from daskmr.status import Operation
from daskmr.store import JobFolder
from daskmr.store.scratch import scratch_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Files that were written, and the delivery to each output."""

    deliveries: Sequence[Delivery]
    """One for each output."""
    results: Mapping[str, Mapping[str, Any]]
    """All files by name: their length and SHA-256."""
    error: Exception | None = None
    """Of the first output, when no output took the results."""

    @property
    def outputs(self) -> list[str]:
        """Paths or URLs of the files at the outputs."""
        return [url for delivery in self.deliveries for url in delivery.outputs]


def write_results(
    rows: Rows,
    coverage: Path,
    *,
    tiles: Path,
    outputs: Sequence[Destination],
    folder: JobFolder | None,
    provenance: Provenance,
) -> Publication:
    """Write results to each output, and to the job's folder when it is kept.

    Every file appears whole or not at all, and those in the folder under a name that their content
    gives them, so that doing it again after a crash changes nothing. A place that fails neither
    hides nor undoes another. A stream that has taken a result is not sent it again.

    Parameters
    ----------
    rows
        The features on the ground.
    coverage
        The map of the tiles.
    tiles
        The table of the tiles.
    outputs
        Where the user wants results.
    folder
        The job's folder; None when it is gone after the run.
    provenance
        What every feature is told.

    Raises
    ------
    SinkError, StoreError
        When the job's own folder does not take them.
    """
    results: dict[str, dict[str, Any]] = {}
    if folder is not None:
        with scratch_folder() as scratch:
            (path,) = write(rows, str(scratch), ["parquet"], provenance=provenance)
            entry = digest(Path(path))
            results[folder.add_result(Path(path), entry["sha256"])] = entry
        for file, kind in ((coverage, "coverage"), (tiles, "tiles")):
            entry = digest(file)
            results[folder.add_result(file, entry["sha256"], kind=kind)] = entry
    deliveries, errors = [], []
    for output in outputs:
        mark = _mark(output, results)
        try:
            delivery = _before(folder, mark, output) or output.deliver(rows, coverage, provenance)
        except (SinkError, StoreError) as error:
            errors.append(error)
            deliveries.append(Delivery(to=output.name, is_done=False, message=str(error)))
            continue
        deliveries.append(delivery)
        results |= {name: dict(key) for name, key in delivery.files.items()}
        if folder is not None:
            folder.objects.create(mark, json.dumps(asdict(delivery), sort_keys=True).encode())
    is_nowhere = bool(errors) and len(errors) == len(outputs)
    return Publication(
        deliveries=deliveries, results=results, error=errors[0] if is_nowhere else None
    )


def _mark(output: Destination, results: Mapping[str, Any]) -> str:
    """Return the name of the record that an output has a result."""
    key = [output.document, sorted(results)]
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return f"delivered/{name[:32]}.json"


def _before(folder: JobFolder | None, mark: str, output: Destination) -> Delivery | None:
    """Return the earlier delivery to a stream; files are simply written again."""
    if folder is None or not isinstance(output, StreamOutput):
        return None
    content = folder.objects.read(mark)
    return Delivery(**json.loads(content)) if content else None


def publish(
    job: OpenJob, summary: JobSummary, rows: Rows, *, end: EndRecorder, n_tiles: int
) -> JobReport:
    """Write the results of a job to its outputs, and its manifest if it is kept.

    Parameters
    ----------
    job
        The job.
    summary
        Its account, with the map of its tiles.
    rows
        Its features on the ground.
    end
        Has its report so far, and gets it with what became of the results.
    n_tiles
        Tiles that this driver saw ending.

    Returns
    -------
    The report with outputs, deliveries and times.

    Raises
    ------
    CanceledError
        When the job was canceled before.
    SinkError
        When no place took the results.
    StoreError
        When the job was taken over, or its folder cannot be written.
    """
    space, events = job.workspace, job.events
    space.check_canceled()
    with job.stage(Operation.DISSEMINATION):
        written = write_results(
            rows,
            summary.coverage,
            tiles=summary.tiles,
            outputs=job.execution.outputs,
            folder=space.folder if space.is_kept else None,
            provenance=provenance(job.plan),
        )
    wall_s = perf_counter() - job.started_s
    report = end.report = replace(
        end.known,
        seconds={**end.known.seconds, "wall": wall_s},
        tiles_per_s=n_tiles / wall_s,
        outputs=written.outputs,
        deliveries=written.deliveries,
    )
    for delivery in written.deliveries:
        if not delivery.is_done:
            events.record("delivery failed", to=delivery.to, message=delivery.message)
    if written.error is not None:
        raise written.error
    if space.is_kept:
        space.check()
        _publish_manifest(space.folder, report, written.results)
    events.record("ended", status=str(report.status), seconds=round(wall_s, 3))
    job.notifier.ended(report)
    return report


def provenance(plan: Plan) -> Provenance:
    """Return the provenance that every feature of a plan's result carries."""
    return Provenance(
        job_id=plan.settings.job_id,
        feature_properties=tuple(plan.settings.feature_properties),
        source_metadata=tuple(source_metadata(plan.info)),
    )


def _publish_manifest(folder: JobFolder, report: JobReport, results: Mapping[str, Any]) -> None:
    """Write the manifest of a job: the first result is the job's, others stand beside it.

    A later run of the job that merged in another way came to another result of the same answers.
    """
    manifest = {
        "jobId": report.job_id,
        "status": str(report.status),
        "image": report.image,
        "tiles": {str(status): n for status, n in sorted(report.outcomes.items())},
        "features": report.n_merged,
        "results": dict(results),
        "deliveries": [
            {"to": one.to, "isDone": one.is_done, "message": one.message}
            for one in report.deliveries
        ],
        "daskmr": __version__,
    }
    before = folder.manifest()
    if before is None:
        try:
            folder.finish(report.as_dict(), manifest)
        except StoreError:
            before = folder.manifest()
            if before is None:
                raise
    if before is not None and not _same(before, manifest):
        folder.add_manifest(manifest)


def _same(before: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    """Return whether two manifests agree on all files that both name."""
    both = before["results"].keys() & manifest["results"].keys()
    return bool(both) and all(before["results"][n] == manifest["results"][n] for n in both)
