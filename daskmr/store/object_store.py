"""Folders and buckets in which a name is created once, or replaced by compare-and-swap.

Two writers of one name can never both succeed with different content. If the response to a write
was lost, the content is read to decide if the write happened.
"""

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from filelock import BaseFileLock, FileLock

from daskmr.arns import s3_url
from daskmr.errors import StoreError
from daskmr.store.bucket import BucketStore

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_LOCK_POLL_S = 0.005


class ObjectStore(Protocol):
    """A folder of named byte strings; names may contain slashes."""

    @property
    def url(self) -> str:
        """Absolute path or ``s3://`` URL."""

    def create(self, name: str, content: bytes) -> bool:
        """Create a name; return False if it exists with other content."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a name; None if it does not exist."""

    def tail(self, name: str, n_bytes: int) -> bytes | None:
        """Return at most the last *n_bytes* bytes of a name; None if it does not exist."""

    def exists(self, name: str) -> bool:
        """Return True if a name exists."""

    def put(self, name: str, path: Path) -> str:
        """Copy a file to a name, atomically, and return its URL.

        A name that exists is replaced: it must be derived from the content.
        """

    def swap(self, name: str, content: bytes, *, expected: bytes) -> bool:
        """Replace the content *expected*; return False if the name has another content or none."""

    def names(self, prefix: str) -> list[str]:
        """Return all names that start with *prefix*, sorted."""

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders directly below *prefix*, sorted.

        *prefix* ends with a slash. The names inside the folders are not listed.
        """

    def size(self, name: str) -> int | None:
        """Return the bytes of a name; None if it does not exist."""

    def delete(self, name: str) -> None:
        """Delete a name; one that does not exist is none any more."""

    def remove(self, prefix: str = "") -> None:
        """Delete everything, or all names below a folder; *prefix* ends with a slash then."""


def object_store(url: str) -> ObjectStore:
    """Return the object store at a path or an ``s3://`` URL.

    Raises
    ------
    StoreError
        If *url* is neither.
    """
    try:
        url = s3_url(url)
    except ValueError as error:
        msg = f"store: {error}"
        raise StoreError(msg) from None
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc:
        return BucketStore(url.rstrip("/"))
    if "://" in url:
        msg = f"store: {url!r} is neither a folder nor an s3:// URL: names could be written twice"
        raise StoreError(msg)
    return FolderStore(str(Path(url).absolute()))


@dataclass(frozen=True, slots=True)
class FolderStore:
    """A folder of this machine, or of a file system that all workers share."""

    url: str
    """Absolute path."""

    def create(self, name: str, content: bytes) -> bool:
        """Create a name by a hard link to a complete temporary file."""
        path = self._path(name)
        with _translate_errors(self.url, "write", name):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            try:
                _write(temporary, content)
                _link(temporary, path)
            except FileExistsError:
                return path.read_bytes() == content
            finally:
                with suppress(FileNotFoundError):
                    temporary.unlink()
            _sync(path.parent)
            return True

    def read(self, name: str) -> bytes | None:
        """Return the content of a name; None if it does not exist."""
        with _translate_errors(self.url, "read", name):
            try:
                return self._path(name).read_bytes()
            except FileNotFoundError:
                return None

    def tail(self, name: str, n_bytes: int) -> bytes | None:
        """Return at most the last *n_bytes* bytes of a name; None if it does not exist."""
        with _translate_errors(self.url, "read", name):
            try:
                with self._path(name).open("rb") as file:
                    file.seek(max(0, file.seek(0, os.SEEK_END) - n_bytes))
                    return file.read()
            except FileNotFoundError:
                return None

    def exists(self, name: str) -> bool:
        """Return True if a name exists."""
        return self._path(name).exists()

    def put(self, name: str, path: Path) -> str:
        """Copy a file to a name by renaming a complete temporary file."""
        target = self._path(name)
        with _translate_errors(self.url, "write", name):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
            try:
                shutil.copyfile(path, temporary)
                _flush(temporary)
                temporary.replace(target)
            finally:
                with suppress(FileNotFoundError):
                    temporary.unlink()
            _sync(target.parent)
        return str(target)

    def swap(self, name: str, content: bytes, *, expected: bytes) -> bool:
        """Replace the content *expected* under a file lock."""
        path = self._path(name)
        if not path.parent.is_dir():
            return False
        with _translate_errors(self.url, "write", name), _lock(path):
            if not path.exists() or path.read_bytes() != expected:
                return False
            temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            _write(temporary, content)
            temporary.replace(path)
            _sync(path.parent)
            return True

    def names(self, prefix: str) -> list[str]:
        """Return all names that start with *prefix*, sorted."""
        root, start = Path(self.url), self._path(prefix.rpartition("/")[0])
        files = (file.relative_to(root).as_posix() for file in start.rglob("*") if file.is_file())
        return sorted(
            name for name in files
            if name.startswith(prefix) and not name.rpartition("/")[2].startswith(".")
        )  # fmt: skip

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders directly below *prefix*, sorted."""
        start = self._path(prefix)
        return (
            sorted(path.name for path in start.iterdir() if path.is_dir()) if start.is_dir() else []
        )

    def size(self, name: str) -> int | None:
        """Return the bytes of a file; None if it does not exist."""
        with _translate_errors(self.url, "read", name):
            try:
                return self._path(name).stat().st_size
            except FileNotFoundError:
                return None

    def delete(self, name: str) -> None:
        """Delete a file, and its folder when that is empty then."""
        path = self._path(name)
        with _translate_errors(self.url, "delete", name):
            path.unlink(missing_ok=True)
        if path.parent != Path(self.url):
            with suppress(OSError):
                path.parent.rmdir()

    def remove(self, prefix: str = "") -> None:
        """Delete the folder, or one inside it."""
        shutil.rmtree(self._path(prefix), ignore_errors=True)

    def _path(self, name: str) -> Path:
        return Path(self.url) / name


@contextmanager
def _translate_errors(url: str, action: str, name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"{url}/{name}: cannot {action}: {error}"
        raise StoreError(msg) from error


def _link(temporary: Path, path: Path) -> None:
    """Give a complete file its name, unless the name exists.

    Where there are no hard links, the file is renamed under a lock, which excludes writers of this
    machine only.
    """
    if hasattr(os, "link"):
        try:
            os.link(temporary, path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        else:
            return
    with _lock(path):
        if path.exists():
            raise FileExistsError(str(path))
        temporary.replace(path)


def _lock(path: Path) -> BaseFileLock:
    """Return the lock that excludes writers of *path*, a context manager (``flock`` on POSIX)."""
    return FileLock(path.with_name(f".{path.name}.lock"), poll_interval=_LOCK_POLL_S)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush(path: Path) -> None:
    with path.open("r+b") as file:  # Windows flushes writable files only
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make the names in a folder durable against a power cut."""
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(content: bytes) -> str:
    """Return the SHA-256 of *content* in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
