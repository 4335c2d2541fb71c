"""Options of an endpoint, from the options of a job and from the configuration."""

from typing import Any
from urllib.parse import urlsplit

from daskmr.configuration import configuration, key
from daskmr.endpoints import Hints
from daskmr.endpoints._auth import Auth, parse_auth
from daskmr.planning.settings import Settings


def endpoint_hints(model: Any, settings: Settings) -> Hints:
    """Return what settings and configuration say of an endpoint.

    Raises
    ------
    RequestError
        When the configuration's entry for the endpoint cannot be read.
    """
    return Hints(
        concurrency=settings.concurrency,
        timeout_s=settings.timeout_s,
        max_batch=settings.batch,
        auth=_auth(model) if isinstance(model, str) else None,
        headers=configuration().request_headers,
        options=settings.endpoint_options,
    )


def _auth(url: str) -> Auth | None:
    """Who we are to the server of a URL; its origin must match exactly."""
    origin = _origin(url)
    for place, fields in configuration().auth.items():
        if origin and _origin(place) == origin:
            entry = {name.replace("_", "-"): str(value) for name, value in fields.items()}
            return parse_auth(entry, place=key("auth"))
    return None


def _origin(url: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (KeyError, ValueError):
        return None
    return parts.scheme, parts.hostname or "", port
