"""URLs that a model may have: those that every parser reads in the same way."""

import re
from ipaddress import IPv4Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from daskmr.errors import RequestError

PORTS = {"http": 80, "https": 443}
"""Default port of each scheme."""

_WRAPPED = (
    (ip_network("64:ff9b::/96"), 0),  # NAT64: the last 32 bits are an IPv4 address (RFC 6052)
    (ip_network("2002::/16"), 80),  # 6to4: bits 16 to 48 (RFC 3056)
)
_RESERVED = (ip_network("192.0.0.0/24"), ip_network("100.64.0.0/10"))
_PLAIN = re.compile(r"[!-\[\]-~]+")
_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")


def server_url(url: str) -> SplitResult:
    """Return the parts of the URL of a server.

    Refused are a user name or password, an invalid port, white space, backslashes, and anything
    that is not ASCII: other hosts are written in punycode, other paths percent-encoded.

    Raises
    ------
    RequestError
        Names the URL, without user, password and query.

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
        is_host = bool(_NAME.fullmatch(host)) or ":" in host
        if is_host and parts.scheme in PORTS and parts.port != 0 and _PLAIN.fullmatch(url):
            return parts
    except ValueError:  # brackets that do not match, a port that is no number
        pass
    shown = url.rpartition("@")[2].partition("?")[0]
    msg = f"model: {shown!r} is not an http:// or https:// URL of a server"
    raise RequestError(msg)


def is_public(address: str) -> bool:
    """Return True for an address of the public internet, also where IPv6 wraps an IPv4 address.

    Examples
    --------
    >>> is_public("93.184.216.34"), is_public("169.254.169.254"), is_public("::ffff:10.0.0.1")
    (True, False, False)
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return parsed.is_global and not any(parsed in net for net in _RESERVED)
    inner = parsed.ipv4_mapped
    for network, shift in _WRAPPED:
        if parsed in network:
            inner = IPv4Address(int(parsed) >> shift & 0xFFFFFFFF)
    return is_public(str(inner)) if inner is not None else parsed.is_global


def check_public(parts: SplitResult) -> None:
    """Raise for a host that is a private address, or that could be read as one.

    The addresses of host names are checked when they are resolved.

    Raises
    ------
    RequestError
        Names the host.
    """
    host = (parts.hostname or "").rstrip(".")
    looks_like_a_number = not re.search(r"[a-z_-]", host.removeprefix("0x")) or "0x" in host
    is_literal = ":" in host or looks_like_a_number
    if (is_literal and not is_public(host)) or host.rpartition(".")[2] in {"localhost", "internal"}:
        msg = f"model: {host!r} is not a public address"
        raise RequestError(msg)
