"""A prefix of an S3 bucket, in which a name is created once; see `daskmr.store.object_store`."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from daskmr import aws
from daskmr.errors import EndpointError, StoreError

_CONFLICTS = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})


@dataclass(frozen=True, slots=True)
class BucketStore:
    """A prefix of an S3 bucket whose service supports conditional writes."""

    url: str
    """``s3://bucket/prefix``."""

    def create(self, name: str, content: bytes) -> bool:
        """Create a key (``If-None-Match: *``)."""
        return self._put(name, content, IfNoneMatch="*")

    def read(self, name: str) -> bytes | None:
        """Return the content of a key; None if it does not exist."""
        result = self._get(name)
        return None if result is None else result[0]

    def tail(self, name: str, n_bytes: int) -> bytes | None:
        """Return at most the last *n_bytes* bytes of a key; None if it does not exist."""
        result = self._get(name, Range=f"bytes=-{n_bytes}")
        return None if result is None else result[0]

    def exists(self, name: str) -> bool:
        """Return True if a key exists."""
        return self.size(name) is not None

    def size(self, name: str) -> int | None:
        """Return the bytes of a key; None if it does not exist."""
        bucket, key = self._bucket_and_key(name)
        try:
            with aws.translate_errors(f"{self.url}/{name}"):
                answer = aws.client("s3").head_object(Bucket=bucket, Key=key)
        except EndpointError as error:
            if error.reason in _MISSING:
                return None
            msg = f"{self.url}/{name}: cannot read: {error}"
            raise StoreError(msg) from error
        return int(answer["ContentLength"])

    def delete(self, name: str) -> None:
        """Delete a key."""
        bucket, key = self._bucket_and_key(name)
        with self._translate_errors("delete", name):
            aws.client("s3").delete_object(Bucket=bucket, Key=key)

    def put(self, name: str, path: Path) -> str:
        """Copy a file to a key, by a multipart upload if it is large; return its URL."""
        with self._translate_errors("write", name):
            aws.upload(path, f"{self.url}/{name}")
        return f"{self.url}/{name}"

    def swap(self, name: str, content: bytes, *, expected: bytes) -> bool:
        """Replace the content *expected* (``If-Match``)."""
        result = self._get(name)
        if result is None or result[0] != expected:
            return False
        return self._put(name, content, IfMatch=result[1])

    def names(self, prefix: str) -> list[str]:
        """Return all keys that start with *prefix*, sorted, relative to this store."""
        bucket, root = self._bucket_and_key("")
        with self._translate_errors("list", prefix):
            pages = aws.client("s3").get_paginator("list_objects_v2")
            keys = [
                entry["Key"]
                for page in pages.paginate(Bucket=bucket, Prefix=root + prefix)
                for entry in page.get("Contents", ())
            ]
        return sorted(key.removeprefix(root) for key in keys)

    def folders(self, prefix: str) -> list[str]:
        """Return the common prefixes of keys directly below *prefix*, sorted."""
        bucket, start = self._bucket_and_key(prefix)
        with self._translate_errors("list", prefix):
            pages = aws.client("s3").get_paginator("list_objects_v2")
            prefixes = [
                entry["Prefix"]
                for page in pages.paginate(Bucket=bucket, Prefix=start, Delimiter="/")
                for entry in page.get("CommonPrefixes", ())
            ]
        return sorted(key.removeprefix(start).rstrip("/") for key in prefixes)

    def remove(self, prefix: str = "") -> None:
        """Delete all keys that start with *prefix*."""
        for name in self.names(prefix):
            self.delete(name)

    def check(self) -> None:
        """Raise if the service ignores conditions of writes.

        Raises
        ------
        StoreError
            If a key could be created twice, or cannot be written.
        """
        name = f"probe-{uuid.uuid4().hex}"
        first, second = self.create(name, b"1"), self.create(name, b"2")
        self.delete(name)
        if not first or second:
            msg = f"{self.url}: the service does not know conditional writes; jobs could be mixed"
            raise StoreError(msg)

    def _put(self, name: str, content: bytes, **condition: str) -> bool:
        bucket, key = self._bucket_and_key(name)
        try:
            with aws.translate_errors(f"{self.url}/{name}"):
                aws.client("s3").put_object(Bucket=bucket, Key=key, Body=content, **condition)
        except EndpointError as error:
            if self.read(name) == content:
                return True  # written, though the response was lost, or the same by another writer
            if error.reason in _CONFLICTS:
                return False
            msg = f"{self.url}/{name}: cannot write: {error}"
            raise StoreError(msg) from error
        return True

    def _get(self, name: str, **options: str) -> tuple[bytes, str] | None:
        bucket, key = self._bucket_and_key(name)
        try:
            with aws.translate_errors(f"{self.url}/{name}"):
                response = aws.client("s3").get_object(Bucket=bucket, Key=key, **options)
                return response["Body"].read(), response["ETag"]
        except EndpointError as error:
            if error.reason in _MISSING:
                return None
            msg = f"{self.url}/{name}: cannot read: {error}"
            raise StoreError(msg) from error

    def _bucket_and_key(self, name: str) -> tuple[str, str]:
        parts = urlsplit(self.url)
        root = parts.path.strip("/")
        return parts.netloc, f"{root}/{name}" if root else name

    @contextmanager
    def _translate_errors(self, action: str, name: str) -> Iterator[None]:
        try:
            with aws.translate_errors(f"{self.url}/{name}"):
                yield
        except EndpointError as error:
            msg = f"{self.url}/{name}: cannot {action}: {error}"
            raise StoreError(msg) from error
