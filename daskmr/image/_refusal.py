"""Messages about images that are not opened, without secrets."""

from daskmr.errors import ImageError


def refusal(url: str, why: str) -> ImageError:
    """Return the error for a URL that is refused."""
    return ImageError(redact_url(url, why))


def redact_url(url: str, why: str) -> str:
    """Return the URL and the reason without secrets and control characters, for a message."""
    plain = url
    if "://" in url:  # passwords and signed queries must not be logged
        scheme, _, rest = url.partition("://")
        host, slash, path = rest.partition("?")[0].partition("/")
        plain = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    shown = f"{plain[:200]}: {why.replace(url, plain)}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)
