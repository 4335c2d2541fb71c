"""Which URLs a model may have: those that every parser reads in the same way."""

import re
from urllib.parse import SplitResult, urlsplit

from daskmr.errors import RequestError

PORTS = {"http": 80, "https": 443}
"""Ports that a URL need not name."""

_PLAIN = re.compile(r"[!-\[\]-~]+")
_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")


def server_url(url: str) -> SplitResult:
    """The parts of the URL of a server.

    Refused are a user name or password, a port that is none, white space, backslashes, and whatever
    is not ASCII: a host beyond it is written in punycode, a path percent-encoded.

    Raises
    ------
    RequestError
        Names the URL, without what may be secret in it.

    Examples
    --------
    >>> server_url("https://models.example/invocations").hostname
    'models.example'
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if "@" in parts.netloc:
            msg = f"model: the URL of {host} must not hold a user name or password"
            raise RequestError(msg)
        known = bool(_NAME.fullmatch(host)) or ":" in host
        if known and parts.scheme in PORTS and parts.port != 0 and _PLAIN.fullmatch(url):
            return parts
    except ValueError:  # brackets that do not match, a port that is no number
        pass
    shown = url.rpartition("@")[2].partition("?")[0]
    msg = f"model: {shown!r} is not an http:// or https:// URL of a server"
    raise RequestError(msg)
