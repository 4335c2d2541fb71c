"""Tell an image that is missing or broken from one whose store or server is away.

GDAL reports both as the same error, and remembers a file that it could not open as missing.
"""

from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from daskmr import aws
from daskmr.aws import Identity
from daskmr.errors import (
    EndpointError,
    ExpiredCredentialsError,
    ImageUnreachableError,
    UnreachableError,
)
from daskmr.image._refusal import redact_url

_TIMEOUT_S = 10.0
_BUSY = frozenset({408, 425, 429})
_SERVER_FAULT = 500


def is_readable(url: str, reader: Identity) -> bool:
    """Return True if an image that could not be read is remote, and its place hands it out.

    One byte is requested, since the errors of a HEAD do not say what is wrong with credentials.

    Parameters
    ----------
    url
        Path or URL of the image.
    reader
        AWS identity that reads objects of S3.

    Raises
    ------
    ImageUnreachableError
        When its place does not answer at the moment; names the URL and the reason.
    """
    parts = urlsplit(url)
    try:
        if parts.scheme == "s3":
            place = parts.netloc, parts.path.lstrip("/")
            try:
                return _is_in_s3(*place, reader)
            except ExpiredCredentialsError:  # they are read again
                return _is_in_s3(*place, reader)
        return parts.scheme in {"http", "https"} and _is_on_server(url)
    except (UnreachableError, ExpiredCredentialsError) as error:
        raise ImageUnreachableError(redact_url(url, f"cannot be reached: {error}")) from error


def _is_in_s3(bucket: str, key: str, reader: Identity) -> bool:
    name = f"s3://{bucket}/{key}"
    try:
        with aws.translate_errors(name):
            answer = aws.client("s3", reader).get_object(Bucket=bucket, Key=key, Range="bytes=0-0")
            answer["Body"].read()
    except EndpointError as error:
        if error.may_pass:
            is_expired = isinstance(error, ExpiredCredentialsError)
            kind = ExpiredCredentialsError if is_expired else UnreachableError
            msg = str(error).removeprefix(f"{name}: ")
            raise kind(msg, reason=error.reason) from error
        return False
    return True


def _is_on_server(url: str) -> bool:
    try:
        request = Request(url, headers={"Range": "bytes=0-0"})  # noqa: S310 - http or https
        with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            answer.read(1)
    except HTTPError as error:
        error.close()
        if error.code in _BUSY or error.code >= _SERVER_FAULT:
            msg = f"HTTP {error.code}"
            raise UnreachableError(msg, reason=f"HTTP_{error.code}") from error
        return False
    except (OSError, ValueError) as error:  # URLError is an OSError
        msg = f"no answer: {getattr(error, 'reason', '') or type(error).__name__}"
        raise UnreachableError(msg, reason="CONNECT") from error
    return True
