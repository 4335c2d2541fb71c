"""Writes the files of all sinks to a temporary folder, then moves them to their targets."""

import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pyarrow import ArrowException
from shapely.errors import ShapelyError

from daskmr.errors import SinkError
from daskmr.sinks.base import Provenance, Rows, Sink


def write_all(rows: Rows, out: str, sinks: Sequence[Sink], *, provenance: Provenance) -> list[str]:
    """Write a temporary file for each sink, then move all of them to their targets.

    Parameters
    ----------
    rows
        The results.
    out
        Folder or fsspec URL.
    sinks
        Formats to write.
    provenance
        Job and request properties of every feature.

    Returns
    -------
    Paths or URLs of the files.
    """
    targets = [f"{out.rstrip('/')}/{provenance.job_id}{sink.suffix}" for sink in sinks]
    with _temporary_folder(out) as folder:
        for target in targets:
            with _translate_errors(target):
                _check_free(target)
        paths = []
        for sink, target in zip(sinks, targets, strict=True):
            path = folder / f"{uuid.uuid4().hex}{sink.suffix}"
            paths.append(path)
            with _translate_errors(target):
                sink.write(rows, path, provenance)
                _flush(path)
        for path, target in zip(paths, targets, strict=True):
            with _translate_errors(target):
                _move(path, target)
    return targets


@contextmanager
def _temporary_folder(out: str) -> Iterator[Path]:
    """Yield a hidden folder from which files can be renamed to their targets; remove it at exit."""
    parent = None
    if "://" not in out:
        parent = Path(out)
        with _translate_errors(out):
            parent.mkdir(parents=True, exist_ok=True)
    with _translate_errors(out):
        folder = Path(tempfile.mkdtemp(prefix=".daskmr-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_free(target: str) -> None:
    """Raise if the target is a folder, before any file is written."""
    if "://" not in target and Path(target).is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)


def _move(path: Path, target: str) -> None:
    if "://" in target:
        upload(path, target)
    else:
        path.replace(target)


def upload(path: Path, url: str) -> None:
    """Copy a file to an fsspec URL.

    Raises
    ------
    SinkError
        If the file system refuses it.
    """
    import fsspec

    try:
        fs, remote_path = fsspec.core.url_to_fs(url)
        fs.put_file(str(path), remote_path)
    except Exception as error:  # file systems raise errors of their own libraries
        raise write_error(url, error) from error


def write_error(target: str, error: Exception) -> SinkError:
    """Return the error of a file that could not be written."""
    return SinkError(f"{target}: cannot be written: {type(error).__name__}: {error}")


def _flush(path: Path) -> None:
    with path.open("r+b") as file:  # Windows flushes writable files only
        os.fsync(file.fileno())


@contextmanager
def _translate_errors(target: str) -> Iterator[None]:
    """Raise what the disk or a format refuses as a `SinkError`; other errors are faults of code."""
    from pyogrio.errors import DataLayerError, DataSourceError

    try:
        yield
    except (OSError, ValueError, ArrowException, ShapelyError) as error:
        raise write_error(target, error) from error
    except (DataLayerError, DataSourceError) as error:  # of GDAL
        raise write_error(target, error) from error
