"""Folders and buckets in which a name is written once, or only over what was seen there.

Two writers of one name can never both succeed with different content. Where the outcome of a write
is not known, since the answer was lost, what is there now tells.
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

from daskmr import aws
from daskmr.errors import EndpointError, StoreError

_TAKEN = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})


class Place(Protocol):
    """A folder of named contents; names may hold slashes."""

    @property
    def url(self) -> str:
        """Where it is."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a name that is not there; False when other content is there already."""

    def read(self, name: str) -> bytes | None:
        """The content of a name; None when it is not there."""

    def tail(self, name: str, n_bytes: int) -> bytes | None:
        """The last bytes of the content of a name, at most so many; None when it is not there."""

    def exists(self, name: str) -> bool:
        """Whether a name is there."""

    def put(self, name: str, path: Path) -> str:
        """Copy a file to a name that its content decides, whole or not at all; its URL."""

    def swap(self, name: str, content: bytes, *, seen: bytes) -> bool:
        """Write over the content that was seen; False when it is another one by now."""

    def names(self, prefix: str) -> list[str]:
        """All names that begin so, sorted."""

    def folders(self, prefix: str) -> list[str]:
        """What stands between a prefix that ends with a slash and the next one, each once, sorted.

        It looks at no more names than there are folders.
        """

    def remove(self) -> None:
        """Delete everything."""


def place(url: str) -> Place:
    """The place at an absolute path or an ``s3://`` URL.

    Raises
    ------
    StoreError
        When it is neither.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc:
        return Bucket(url.rstrip("/"))
    if "://" in url:
        msg = f"store: {url!r} is neither a folder nor an s3:// URL: names could be written twice"
        raise StoreError(msg)
    return Folder(str(Path(url).absolute()))


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of this machine, or of a file system that all workers share."""

    url: str
    """Absolute path."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a name that is not there: a link to a file that is whole already."""
        path = self._path(name)
        with _told(self.url, "write", name):
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
        """The content of a name; None when it is not there."""
        with _told(self.url, "read", name):
            try:
                return self._path(name).read_bytes()
            except FileNotFoundError:
                return None

    def tail(self, name: str, n_bytes: int) -> bytes | None:
        """The last bytes of the content of a name; None when it is not there."""
        with _told(self.url, "read", name):
            try:
                with self._path(name).open("rb") as file:
                    file.seek(max(0, file.seek(0, os.SEEK_END) - n_bytes))
                    return file.read()
            except FileNotFoundError:
                return None

    def exists(self, name: str) -> bool:
        """Whether a name is there."""
        return self._path(name).exists()

    def put(self, name: str, path: Path) -> str:
        """Copy a file to a name; a link that is whole already."""
        target = self._path(name)
        with _told(self.url, "write", name):
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

    def swap(self, name: str, content: bytes, *, seen: bytes) -> bool:
        """Write over the content that was seen, while others are kept out."""
        path = self._path(name)
        if not path.parent.is_dir():
            return False
        with _told(self.url, "write", name), _locked(path):
            if not path.exists() or path.read_bytes() != seen:
                return False
            temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            _write(temporary, content)
            temporary.replace(path)
            _sync(path.parent)
            return True

    def names(self, prefix: str) -> list[str]:
        """All names that begin so, sorted."""
        root, start = Path(self.url), self._path(prefix.rpartition("/")[0])
        found = (file.relative_to(root).as_posix() for file in start.rglob("*") if file.is_file())
        return sorted(
            name for name in found
            if name.startswith(prefix) and not name.rpartition("/")[2].startswith(".")
        )  # fmt: skip

    def folders(self, prefix: str) -> list[str]:
        """The folders in one."""
        start = self._path(prefix)
        return (
            sorted(each.name for each in start.iterdir() if each.is_dir()) if start.is_dir() else []
        )

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.url, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return Path(self.url) / name


@dataclass(frozen=True, slots=True)
class Bucket:
    """A prefix of a bucket whose service knows conditional writes."""

    url: str
    """``s3://bucket/prefix``."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a key that is not there (``If-None-Match: *``)."""
        return self._put(name, content, IfNoneMatch="*")

    def read(self, name: str) -> bytes | None:
        """The content of a key; None when it is not there."""
        found = self._get(name)
        return None if found is None else found[0]

    def tail(self, name: str, n_bytes: int) -> bytes | None:
        """The last bytes of the content of a key; None when it is not there."""
        found = self._get(name, Range=f"bytes=-{n_bytes}")
        return None if found is None else found[0]

    def exists(self, name: str) -> bool:
        """Whether a key is there."""
        bucket, key = self._where(name)
        try:
            with aws.translated(f"{self.url}/{name}"):
                aws.client("s3").head_object(Bucket=bucket, Key=key)
        except EndpointError as error:
            if error.reason in _MISSING:
                return False
            msg = f"{self.url}/{name}: cannot read: {error}"
            raise StoreError(msg) from error
        return True

    def put(self, name: str, path: Path) -> str:
        """Copy a file to a key, in parts when it is large; it appears when all are there."""
        with self._told("write", name):
            aws.upload(path, f"{self.url}/{name}")
        return f"{self.url}/{name}"

    def swap(self, name: str, content: bytes, *, seen: bytes) -> bool:
        """Write over the content that was seen (``If-Match``)."""
        found = self._get(name)
        if found is None or found[0] != seen:
            return False
        return self._put(name, content, IfMatch=found[1])

    def names(self, prefix: str) -> list[str]:
        """All keys that begin so, sorted, without the prefix of the place."""
        bucket, root = self._where("")
        with self._told("list", prefix):
            pages = aws.client("s3").get_paginator("list_objects_v2")
            keys = [
                entry["Key"]
                for page in pages.paginate(Bucket=bucket, Prefix=root + prefix)
                for entry in page.get("Contents", ())
            ]
        return sorted(key.removeprefix(root) for key in keys)

    def folders(self, prefix: str) -> list[str]:
        """Common prefixes of keys, as the service tells them."""
        bucket, start = self._where(prefix)
        with self._told("list", prefix):
            pages = aws.client("s3").get_paginator("list_objects_v2")
            found = [
                entry["Prefix"]
                for page in pages.paginate(Bucket=bucket, Prefix=start, Delimiter="/")
                for entry in page.get("CommonPrefixes", ())
            ]
        return sorted(each.removeprefix(start).rstrip("/") for each in found)

    def remove(self) -> None:
        """Delete all keys."""
        for name in self.names(""):
            bucket, key = self._where(name)
            with self._told("delete", name):
                aws.client("s3").delete_object(Bucket=bucket, Key=key)

    def check(self) -> None:
        """Refuse a service that writes a name twice.

        Raises
        ------
        StoreError
            When it does, or cannot be written.
        """
        name = f"probe-{uuid.uuid4().hex}"
        first, second = self.create(name, b"1"), self.create(name, b"2")
        bucket, key = self._where(name)
        with self._told("delete", name):
            aws.client("s3").delete_object(Bucket=bucket, Key=key)
        if not first or second:
            msg = f"{self.url}: the service does not know conditional writes; jobs could be mixed"
            raise StoreError(msg)

    def _put(self, name: str, content: bytes, **condition: str) -> bool:
        bucket, key = self._where(name)
        try:
            with aws.translated(f"{self.url}/{name}"):
                aws.client("s3").put_object(Bucket=bucket, Key=key, Body=content, **condition)
        except EndpointError as error:
            if self.read(name) == content:
                return True  # by us, though the answer was lost, or by somebody else alike
            if error.reason in _TAKEN:
                return False
            msg = f"{self.url}/{name}: cannot write: {error}"
            raise StoreError(msg) from error
        return True

    def _get(self, name: str, **options: str) -> tuple[bytes, str] | None:
        bucket, key = self._where(name)
        try:
            with aws.translated(f"{self.url}/{name}"):
                found = aws.client("s3").get_object(Bucket=bucket, Key=key, **options)
                return found["Body"].read(), found["ETag"]
        except EndpointError as error:
            if error.reason in _MISSING:
                return None
            msg = f"{self.url}/{name}: cannot read: {error}"
            raise StoreError(msg) from error

    def _where(self, name: str) -> tuple[str, str]:
        parts = urlsplit(self.url)
        root = parts.path.strip("/")
        return parts.netloc, f"{root}/{name}" if root else name

    @contextmanager
    def _told(self, act: str, name: str) -> Iterator[None]:
        try:
            with aws.translated(f"{self.url}/{name}"):
                yield
        except EndpointError as error:
            msg = f"{self.url}/{name}: cannot {act}: {error}"
            raise StoreError(msg) from error


@contextmanager
def _told(url: str, act: str, name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"{url}/{name}: cannot {act}: {error}"
        raise StoreError(msg) from error


def _link(temporary: Path, path: Path) -> None:
    """Give a whole file its name, unless the name is taken.

    File systems without hard links do it by a rename, while others of this machine are kept out.
    """
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with _locked(path):
            if path.exists():
                raise FileExistsError(str(path)) from None
            temporary.replace(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    with path.with_name(f".{path.name}.lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make a folder remember its names, also after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest(content: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
