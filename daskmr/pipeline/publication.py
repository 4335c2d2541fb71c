"""What came of a job: results in its folder and where they were asked for, by name and hash."""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daskmr import __version__
from daskmr.core.report import JobReport
from daskmr.errors import StoreError
from daskmr.pipeline.output import Output
from daskmr.sinks import write
from daskmr.sinks.base import Provenance
from daskmr.store import JobFolder

_CHUNK = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """Files that were put in place."""

    outputs: Sequence[str]
    """Paths or URLs of the results where they were asked for."""
    results: Mapping[str, Mapping[str, Any]]
    """All files by name: their length and SHA-256."""


def written(
    rows: Any,
    coverage: Path,
    *,
    output: Output | None,
    folder: JobFolder | None,
    provenance: Provenance,
) -> Publication:
    """Write results to the output, and to the job's folder when it is kept.

    Every file appears whole or not at all, and those in the folder under a name that their content
    gives them, so that doing it again after a crash changes nothing.

    Parameters
    ----------
    rows
        The features on the ground.
    coverage
        The map of the tiles.
    output
        Where the user wants results; None for nowhere.
    folder
        The job's folder; None when it is gone after the run.
    provenance
        What every feature is told.
    """
    results: dict[str, dict[str, Any]] = {}
    if folder is not None:
        with tempfile.TemporaryDirectory(prefix="daskmr-") as scratch:
            (made,) = write(rows, scratch, ["parquet"], provenance=provenance)
            told = digest(made)
            results[folder.keep(Path(made), told["sha256"])] = told
        told = digest(str(coverage))
        results[folder.keep(coverage, told["sha256"], kind="coverage")] = told
    outputs: list[str] = []
    if output is not None:
        outputs = output.write(rows, provenance)
        outputs.append(output.put(coverage, f"{provenance.job_id}.coverage.geojson"))
        results |= {url.rpartition("/")[2]: digest(url) for url in outputs}
    return Publication(outputs=outputs, results=results)


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


def digest(url: str) -> dict[str, Any]:
    """Length and SHA-256 of a file."""
    import fsspec

    sha, n_bytes = hashlib.sha256(), 0
    with fsspec.open(url, "rb") as file:
        while chunk := file.read(_CHUNK):
            sha.update(chunk)
            n_bytes += len(chunk)
    return {"sha256": sha.hexdigest(), "bytes": n_bytes}
