"""What came of a job: results in its folder and where they were asked for, by name and hash."""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from daskmr import __version__
from daskmr.core.report import Delivery, JobReport
from daskmr.errors import SinkError, StoreError
from daskmr.pipeline.output import Destination, StreamOutput, digest
from daskmr.sinks import write
from daskmr.sinks.base import Provenance, Rows
from daskmr.store import JobFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Files that were put in place, and what became of each place."""

    deliveries: Sequence[Delivery]
    """One for each place where results were asked for."""
    results: Mapping[str, Mapping[str, Any]]
    """All files by name: their length and SHA-256."""

    @property
    def outputs(self) -> list[str]:
        """Paths or URLs of the files where they were asked for."""
        return [url for delivery in self.deliveries for url in delivery.outputs]


def written(
    rows: Rows,
    coverage: Path,
    *,
    outputs: Sequence[Destination],
    folder: JobFolder | None,
    provenance: Provenance,
) -> Publication:
    """Write results wherever they were asked for, and to the job's folder when it is kept.

    Every file appears whole or not at all, and those in the folder under a name that their content
    gives them, so that doing it again after a crash changes nothing. A place that fails neither
    hides nor undoes another. A stream that has taken a result is not sent it again.

    Parameters
    ----------
    rows
        The features on the ground.
    coverage
        The map of the tiles.
    outputs
        Where the user wants results.
    folder
        The job's folder; None when it is gone after the run.
    provenance
        What every feature is told.

    Raises
    ------
    SinkError, StoreError
        When results were asked for and are nowhere.
    """
    results: dict[str, dict[str, Any]] = {}
    if folder is not None:
        with tempfile.TemporaryDirectory(prefix="daskmr-") as scratch:
            (made,) = write(rows, scratch, ["parquet"], provenance=provenance)
            told = digest(Path(made))
            results[folder.keep(Path(made), told["sha256"])] = told
        told = digest(coverage)
        results[folder.keep(coverage, told["sha256"], kind="coverage")] = told
    deliveries, errors = [], []
    for output in outputs:
        mark = _mark(output, results)
        try:
            found = _before(folder, mark, output) or output.deliver(rows, coverage, provenance)
        except (SinkError, StoreError) as error:
            errors.append(error)
            deliveries.append(Delivery(to=output.name, is_done=False, message=str(error)))
            continue
        deliveries.append(found)
        results |= {name: dict(said) for name, said in found.files.items()}
        if folder is not None:
            folder.place.create(mark, json.dumps(asdict(found), sort_keys=True).encode())
    if errors and len(errors) == len(outputs):
        raise errors[0]
    return Publication(deliveries=deliveries, results=results)


def _mark(output: Destination, results: Mapping[str, Any]) -> str:
    """Name under which it is kept that a place has a result."""
    said = [output.said, sorted(results)]
    name = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
    return f"delivered/{name[:32]}.json"


def _before(folder: JobFolder | None, mark: str, output: Destination) -> Delivery | None:
    """What was sent to a stream before; files are simply written again."""
    if folder is None or not isinstance(output, StreamOutput):
        return None
    content = folder.place.read(mark)
    return Delivery(**json.loads(content)) if content else None


def publish(folder: JobFolder, report: JobReport, results: Mapping[str, Any]) -> None:
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
        folder.add(manifest)


def _same(before: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    """Whether two manifests say the same of what both of them name."""
    both = before["results"].keys() & manifest["results"].keys()
    return bool(both) and all(before["results"][n] == manifest["results"][n] for n in both)
