"""Putting files in place: whole or not at all."""

import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from daskmr.errors import SinkError
from daskmr.sinks.base import Provenance, Rows, Sink


def write_all(rows: Rows, out: str, sinks: Sequence[Sink], *, provenance: Provenance) -> list[str]:
    """Write each sink's file beside its place, then move all of them there."""
    targets = [f"{out.rstrip('/')}/{provenance.job_id}{sink.suffix}" for sink in sinks]
    with _workplace(out) as folder:
        for target in targets:
            with _told(target):
                _check_free(target)
        made = []
        for sink, target in zip(sinks, targets, strict=True):
            path = folder / f"{uuid.uuid4().hex}{sink.suffix}"
            made.append(path)
            with _told(target):
                sink.write(rows, path, provenance)
                _flush(path)
        for path, target in zip(made, targets, strict=True):
            with _told(target):
                _place(path, target)
    return targets


@contextmanager
def _workplace(out: str) -> Iterator[Path]:
    """A hidden folder from which files can be moved to their place, gone afterwards."""
    parent = None
    if "://" not in out:
        parent = Path(out)
        with _told(out):
            parent.mkdir(parents=True, exist_ok=True)
    with _told(out):
        folder = Path(tempfile.mkdtemp(prefix=".daskmr-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_free(target: str) -> None:
    """Refuse a place that no file can be moved to, before any file is made."""
    if "://" not in target and Path(target).is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)


def _place(path: Path, target: str) -> None:
    if "://" not in target:
        path.replace(target)
        return
    import fsspec

    fs, place = fsspec.core.url_to_fs(target)
    fs.put_file(str(path), place)


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def _told(target: str) -> Iterator[None]:
    """Whatever goes wrong in writing is an error that names the file."""
    try:
        yield
    except Exception as error:
        msg = f"{target}: cannot be written: {type(error).__name__}: {error}"
        raise SinkError(msg) from error
