"""HTTP headers of a request's parameters, as Model Runner sends them."""

import re
from collections.abc import Collection, Mapping

from daskmr.errors import RequestError

Headers = tuple[tuple[str, str], ...]

_RENAMED = {"customattributes": "X-Amzn-SageMaker-Custom-Attributes"}
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_TEXT = re.compile(r"[\x20-\x7e\t]*")
_RESERVED = frozenset(
    {
        "authorization", "connection", "content-encoding", "content-length", "content-type",
        "cookie", "expect", "host", "keep-alive", "proxy-authorization", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip


_ALLOWED = frozenset({"accept", "accept-language"})
_NOT_ALLOWED = ("x-amz-", "x-forwarded-", "x-real-ip")


def request_headers(parameters: Mapping[str, object], extra: Collection[str] = ()) -> Headers:
    """Return the HTTP headers of a request's parameters.

    ``CustomAttributes`` goes by SageMaker's header name; every other name is the header's own. A
    request may set ``Accept``, ``Accept-Language`` and headers that begin with ``X-``, but for
    those by which proxies and clouds know a caller.

    Parameters
    ----------
    parameters
        Names and values.
    extra
        Further headers that a request may set.

    Raises
    ------
    RequestError
        Names every parameter that is not a request's to set.

    Examples
    --------
    >>> request_headers({"CustomAttributes": "a=1", "X-Foo": 5})
    (('X-Amzn-SageMaker-Custom-Attributes', 'a=1'), ('X-Foo', '5'))
    """
    headers = tuple(
        (_RENAMED.get(name.lower(), name), str(value)) for name, value in parameters.items()
    )
    allowed = _ALLOWED | {name.lower() for name in extra}
    refused = [name for name, _ in headers if not _is_allowed(name.lower(), allowed)]
    if refused:
        raise RequestError(*(f"parameters: {name!r} is not a request's to set" for name in refused))
    return headers


def _is_allowed(name: str, allowed: Collection[str]) -> bool:
    return name in allowed or (name.startswith("x-") and not name.startswith(_NOT_ALLOWED))


def check_headers(headers: Headers) -> None:
    """Raise for headers that HTTP cannot carry, or that a request may not set.

    Raises
    ------
    RequestError
        Names every one of them.
    """
    problems = []
    for name, text in headers:
        if not _TOKEN.fullmatch(name):
            problems.append(f"parameters: {name!r} cannot be the name of a header")
        elif name.lower() in _RESERVED:
            problems.append(f"parameters: {name!r} is not a request's to set")
        elif not _TEXT.fullmatch(text):
            problems.append(f"parameters: {name!r} holds characters that no header can: {text!r}")
    if problems:
        raise RequestError(*problems)
