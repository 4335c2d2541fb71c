"""A finished job in its store: the account, and the results by name and hash."""

import hashlib
from typing import Any

from daskmr import __version__
from daskmr.core.report import JobReport
from daskmr.store import JobFolder

_CHUNK = 2**20


def publish(folder: JobFolder, report: JobReport) -> None:
    """Write the manifest of a job: the first result is the job's, others stand beside it.

    A later run of the job that merged in another way came to another result of the same answers.
    """
    manifest = {
        "jobId": report.job_id,
        "status": str(report.status),
        "image": report.image,
        "tiles": {str(status): n for status, n in sorted(report.outcomes.items())},
        "features": report.n_merged,
        "results": {url.rpartition("/")[2]: _digest(url) for url in report.outputs},
        "daskmr": __version__,
    }
    before = folder.manifest()
    if before is None:
        folder.finish(report.as_dict(), manifest)
    elif not _same(before, manifest):
        folder.add(manifest)


def _same(before: dict[str, Any], manifest: dict[str, Any]) -> bool:
    """Whether two manifests say the same of what both of them name."""
    both = before["results"].keys() & manifest["results"].keys()
    return all(before["results"][name] == manifest["results"][name] for name in both)


def _digest(url: str) -> dict[str, Any]:
    """Length and SHA-256 of a file."""
    import fsspec

    sha, n_bytes = hashlib.sha256(), 0
    with fsspec.open(url, "rb") as file:
        while chunk := file.read(_CHUNK):
            sha.update(chunk)
            n_bytes += len(chunk)
    return {"sha256": sha.hexdigest(), "bytes": n_bytes}
