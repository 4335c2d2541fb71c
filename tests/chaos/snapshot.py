"""All files under a folder or an ``s3://`` URL, as anybody sees them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One file or object."""

    content: bytes
    at: float
    """When it was written, seconds of the clock of the wall; whole seconds in a bucket."""


def snapshot(url: str, *, endpoint: str | None = None) -> dict[str, Stored]:
    """Everything there is, by name; files that are still being written (``.name``) left out.

    Parameters
    ----------
    url
        Folder or ``s3://`` URL.
    endpoint
        URL of the S3 server.
    """
    if "://" not in url:
        return dict(_files(Path(url)))
    client = s3(endpoint)
    try:
        return dict(_objects(client, url))
    finally:
        client.close()


def s3(endpoint: str | None) -> Any:
    """Return a client of an S3 server that takes any credentials, or those of the environment."""
    import boto3

    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")


def _files(root: Path) -> Iterator[tuple[str, Stored]]:
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield (
                path.relative_to(root).as_posix(),
                Stored(content=path.read_bytes(), at=path.stat().st_mtime),
            )


def _objects(client: Any, url: str) -> Iterator[tuple[str, Stored]]:
    parts = urlsplit(url)
    bucket, root = parts.netloc, parts.path.strip("/") + "/"
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=root):
        for entry in page.get("Contents", ()):
            body = client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            name = entry["Key"].removeprefix(root)
            if not name.rpartition("/")[2].startswith("."):
                yield name, Stored(content=body, at=entry["LastModified"].timestamp())
