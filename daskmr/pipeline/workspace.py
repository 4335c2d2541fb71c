"""Where a job keeps its parts while it runs: a folder for this run, or the job's own in a store."""

import hashlib
import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskmr import __version__
from daskmr.errors import RequestError, StoreError
from daskmr.pipeline.cluster import Connection
from daskmr.pipeline.halt import TAKEN_OVER
from daskmr.pipeline.output import Destination, Output
from daskmr.pipeline.restore import told
from daskmr.store import JobFolder
from daskmr.store.lease import Lease

if TYPE_CHECKING:
    from daskmr.pipeline.plan import Plan

_AFTER = frozenset({"merge", "iou", "merge_options", "feature_properties"})
"""Settings that can change without asking the model again."""
_HOW = frozenset({"concurrency", "timeout_s", "patience_s", "batch", "linger_s", "job_id"})
"""Settings that decide how and when, not what."""


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
        """Stop a driver whose job was taken over while it was silent.

        Raises
        ------
        StoreError
            When it was.
        """
        if self.lease is not None and self.lease.lost:
            msg = f"{self.folder.url}: the job was taken over by another process"
            raise StoreError(msg)


@contextmanager
def workspace(
    plan: "Plan",
    outputs: Sequence[Destination],
    store: str | None,
    *,
    connection: Connection | None,
) -> Iterator[Workspace]:
    """A place for the parts of a run.

    Parameters
    ----------
    plan
        The job.
    outputs
        Where results go.
    store
        Where jobs are kept, so that a later run of the same job goes on; None for this run alone.
    connection
        Whose workers write; None when that is not known yet.

    Raises
    ------
    RequestError
        When the store has a job of this id that asked for something else.
    SourceChangedError
        When the image has changed since.
    StoreError
        When the job is being run by somebody else.
    """
    if store is not None:
        with _kept(plan, outputs, store) as made:
            yield made
        return
    name = f".daskmr-{uuid.uuid4().hex}"
    is_ours = connection is not None and connection.owned
    output = next((output for output in outputs if isinstance(output, Output)), None)
    if output is not None and not (is_ours and output.is_remote):
        folder = JobFolder(url=f"{output.url}/{name}")
        try:
            yield Workspace(folder=folder)
        finally:
            folder.place.remove()
        return
    scratch = Path(tempfile.mkdtemp(prefix="daskmr-"))
    try:
        yield Workspace(folder=JobFolder(url=str(scratch / name)))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _kept(plan: "Plan", outputs: Sequence[Destination], store: str) -> Iterator[Workspace]:
    if plan.image.source is None:
        msg = "store: an array cannot be opened again, so its job cannot be resumed"
        raise RequestError(msg)
    folder = JobFolder.at(store, plan.settings.job_id)
    work = {"tiles": plan.n_tiles - plan.n_skipped, "regions": plan.n_regions}
    folder.begin(asked(plan), source_of(plan), plan=work, options=told(plan, outputs))
    lease = folder.lease()
    lease.acquire()
    lease.keep()
    try:
        if lease.epoch:  # workers of the driver before this one may still be at it
            folder.stop(lease.epoch - 1, TAKEN_OVER)
        yield Workspace(folder=folder, lease=lease)
    finally:
        lease.release()


def asked(plan: "Plan") -> dict[str, Any]:
    """All that decides a model's answers, as plain values; what may be secret only as a hash."""
    settings = plan.settings
    said = {
        f.name: _plain(getattr(settings, f.name))
        for f in fields(settings)
        if f.name not in _AFTER | _HOW
    }
    said |= {
        "image": plan.info.url,
        "model": plan.model.name,
        "parameters": _hashed(dict(settings.parameters)),
        "endpoint_options": _hashed(dict(settings.endpoint_options)),
        "regions": str(plan.regions.tiles_per_side),
        "daskmr": __version__,
    }
    return said


def source_of(plan: "Plan") -> dict[str, Any]:
    """What tells one version of an image from another."""
    info = plan.info
    return {
        "etag": info.etag,
        "width": info.width,
        "height": info.height,
        "bands": info.bands,
        "dtype": info.dtype,
    }


def _plain(value: Any) -> Any:
    """JSON values: sizes as text, geometry as its hash."""
    try:
        return json.loads(json.dumps(value))
    except TypeError:
        return str(value) if len(str(value)) < 200 else _hashed(str(value))  # noqa: PLR2004


def _hashed(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
