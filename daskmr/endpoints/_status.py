"""Errors of HTTP statuses: the class says whether another attempt can help."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from daskmr.errors import (
    AuthError,
    BadResponseError,
    CapacityError,
    EndpointError,
    PermanentError,
    TransientError,
)

_OK = 200
_CAPACITY = frozenset({429, 503})
_TRANSIENT = frozenset({408, 424, 425, 500, 502, 504, 530})
_AUTH = frozenset({401, 403, 407})


def status_error(
    status: int, message: str, *, retry_after_s: float | None = None
) -> EndpointError | None:
    """Return the error of an HTTP status; None for 200.

    Parameters
    ----------
    status
        HTTP status of the response.
    message
        Name of the endpoint; the status is appended.
    retry_after_s
        Seconds of the response's Retry-After.

    Examples
    --------
    >>> status_error(404, "http://models")
    PermanentError('http://models: HTTP 404')
    """
    if status == _OK:
        return None
    text, reason = f"{message}: HTTP {status}", f"HTTP_{status}"
    if status in _CAPACITY:
        return CapacityError(text, reason=reason, retry_after_s=retry_after_s)
    kind: type[EndpointError] = PermanentError
    if status in _AUTH:
        kind = AuthError
    elif status in _TRANSIENT or status >= 500:  # noqa: PLR2004 - any other server error
        kind = TransientError
    elif status < 300:  # noqa: PLR2004 - success, but without features
        kind = BadResponseError
    return kind(text, reason=reason)


def retry_after_s(header: str | None) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110, section 10.2.3): a number or a date.

    Examples
    --------
    >>> retry_after_s("120")
    120.0
    >>> retry_after_s("soon") is None
    True
    """
    if header is None:
        return None
    if (text := header.strip()).isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
