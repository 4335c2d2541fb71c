"""Identify the version of an image by size, time or ETag, without reading its bytes."""

from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from daskmr import aws
from daskmr.aws import OURSELVES, Identity
from daskmr.errors import EndpointError, ImageUnreachableError, SourceChangedError

_TIMEOUT_S = 10.0


def identity(url: str, reader: Identity = OURSELVES) -> str:
    """Return size and modification time of a file, or size and ETag of an object; "" if unknown.

    Parameters
    ----------
    url
        Path or URL of the image.
    reader
        AWS identity that reads objects of S3.

    Raises
    ------
    ImageUnreachableError
        When S3 does not answer.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return _object_identity(parts.netloc, parts.path.lstrip("/"), reader)
    if parts.scheme in {"http", "https"}:
        return _http_identity(url)
    if "://" in url:
        return ""
    try:
        stat = Path(url).stat()
    except OSError:  # missing: opening it raises the error
        return ""
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def check(url: str, planned: str, *, reader: Identity = OURSELVES) -> None:
    """Raise when an image has changed since it was planned; pass when its identity is unknown.

    Raises
    ------
    SourceChangedError
        When its identity is not the planned one.
    """
    try:
        current = identity(url, reader) if planned else ""
    except ImageUnreachableError:  # reading it raises the error
        return
    if current and current != planned:
        place = urlsplit(url)._replace(query="").geturl()
        msg = f"{place}: the image has changed since it was planned"
        raise SourceChangedError(msg)


def _object_identity(bucket: str, key: str, reader: Identity) -> str:
    try:
        with aws.translate_errors(f"s3://{bucket}/{key}"):
            head = aws.client("s3", reader).head_object(Bucket=bucket, Key=key)
    except EndpointError as error:
        if error.may_pass:
            raise ImageUnreachableError(str(error)) from error
        return ""  # not allowed, or missing: opening it raises the error
    return f"{head['ContentLength']}-{head['ETag']}"


def _http_identity(url: str) -> str:
    try:
        request = Request(url, method="HEAD")  # noqa: S310 - http or https, see above
        with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            headers = {name.lower(): value for name, value in answer.headers.items()}
    except (URLError, OSError, ValueError):
        return ""
    tag = headers.get("etag", "")
    mark = tag if tag and not tag.startswith("W/") else headers.get("last-modified", "")
    return f"{headers.get('content-length', '')}-{mark}" if mark else ""
