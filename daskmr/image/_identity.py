"""What tells one version of an image's bytes from another, without reading them."""

from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from daskmr import aws
from daskmr.aws import OURSELVES, Identity
from daskmr.errors import EndpointError, SourceChangedError

_TIMEOUT_S = 10.0


def identity(url: str, reader: Identity = OURSELVES) -> str:
    """Size and time of change of a file, ETag of an object; "" for not known.

    Parameters
    ----------
    url
        The image.
    reader
        Who asks for objects of S3.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return _of_object(parts.netloc, parts.path.lstrip("/"), reader)
    if parts.scheme in {"http", "https"}:
        return _of_page(url)
    if "://" in url:
        return ""
    try:
        stat = Path(url).stat()
    except OSError:  # gone: opening it says so
        return ""
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def check(url: str, planned: str, *, reader: Identity = OURSELVES) -> None:
    """Refuse an image that is not the one that was planned; one that cannot be asked passes.

    Raises
    ------
    SourceChangedError
        When it is another one.
    """
    found = identity(url, reader) if planned else ""
    if found and found != planned:
        place = urlsplit(url)._replace(query="").geturl()
        msg = f"{place}: the image has changed since it was planned"
        raise SourceChangedError(msg)


def _of_object(bucket: str, key: str, reader: Identity) -> str:
    try:
        with aws.translated(f"s3://{bucket}/{key}"):
            found = aws.client("s3", reader).head_object(Bucket=bucket, Key=key)
    except EndpointError:  # not ours to ask, or gone: opening it says so
        return ""
    return f"{found['ContentLength']}-{found['ETag']}"


def _of_page(url: str) -> str:
    try:
        asked = Request(url, method="HEAD")  # noqa: S310 - http or https, see above
        with urlopen(asked, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            headers = dict(answer.headers.items())
    except (URLError, OSError, ValueError):
        return ""
    found = {name.lower(): value for name, value in headers.items()}
    tag = found.get("etag", "")
    mark = tag if tag and not tag.startswith("W/") else found.get("last-modified", "")
    return f"{found.get('content-length', '')}-{mark}" if mark else ""
