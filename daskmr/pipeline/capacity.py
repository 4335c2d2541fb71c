"""What a job tells its workers of an endpoint: which one exactly, and how many calls it stands."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from daskmr.core.capacity import target
from daskmr.encode.base import PlacedTileEncoder
from daskmr.endpoints import Hints
from daskmr.endpoints._auth import Auth, auth_of
from daskmr.endpoints.base import ControlPlane, Endpoint, LocalModel
from daskmr.endpoints.caller import Terms
from daskmr.errors import RequestError
from daskmr.pipeline.cluster import Connection
from daskmr.pipeline.coordinator import install
from daskmr.pipeline.job import Asking
from daskmr.pipeline.settings import Settings

if TYPE_CHECKING:
    from daskmr.pipeline.plan import Plan

TARGET = "daskmr.capacity-target-percentage"
"""Setting of `dask.config`: which part of a known capacity is used, 1 for all of it."""
HEADERS = "daskmr.request-headers"
"""Setting of `dask.config`: names of headers that a request may set beside the usual ones."""
AUTH = "daskmr.auth"
"""Setting of `dask.config`: who we are, by the origin of an HTTP endpoint."""


def hints(model: Any, settings: Settings) -> Hints:
    """What settings and configuration say of an endpoint.

    Raises
    ------
    RequestError
        When the configuration's entry for the endpoint cannot be read.
    """
    import dask

    return Hints(
        concurrency=settings.concurrency,
        timeout_s=settings.timeout_s,
        max_batch=settings.batch,
        auth=_auth(model) if isinstance(model, str) else None,
        headers=tuple(map(str, dask.config.get(HEADERS, ()))),
        options=settings.endpoint_options,
    )


def _auth(url: str) -> Auth | None:
    """Who we are to the server of a URL; its origin must match exactly."""
    import dask

    origin = _origin(url)
    for place, said in dict(dask.config.get(AUTH, {})).items():
        if origin and _origin(str(place)) == origin:
            if not isinstance(said, dict):
                msg = f"{AUTH}: {place}: not a mapping"
                raise RequestError(msg)
            return auth_of({str(k).replace("_", "-"): str(v) for k, v in said.items()}, place=AUTH)
    return None


def _origin(url: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (KeyError, ValueError):
        return None
    return parts.scheme, parts.hostname or "", port


def asking(plan: "Plan", connection: Connection | None = None) -> Asking:
    """How the model of a plan is asked; looks up what its endpoint is and stands.

    The variant of a SageMaker endpoint is chosen here, once for the image.

    Parameters
    ----------
    plan
        What to do.
    connection
        Whose workers ask; None for this process alone.

    Raises
    ------
    RequestError
        When there is no such endpoint.
    """
    settings, model = plan.settings, plan.model
    if isinstance(model, ControlPlane):
        model = model.resolved(key=f"{settings.job_id}:{plan.info.url}")
    is_placed = isinstance(plan.encoder, PlacedTileEncoder)
    return Asking(
        info=plan.info if is_placed else replace(plan.info, document=b""),
        model=model,
        encoder=plan.encoder,
        answers=plan.answers,
        terms=_terms(model, settings, connection),
        max_batch=settings.batch,
        linger_s=settings.linger_s,
        sensor=plan.flat if is_placed else None,
    )


def _terms(
    model: Endpoint | LocalModel, settings: Settings, connection: Connection | None
) -> Terms:
    """How each worker process may use a model."""
    capacity = _capacity(model) if isinstance(model, Endpoint) else None
    n_workers = connection.n_workers() if connection is not None else 1
    is_coordinated = (
        isinstance(model, Endpoint) and connection is not None and install(connection.client)
    )
    share = None
    if capacity is not None:
        share = max(0 if is_coordinated else 1, capacity // n_workers)
    return Terms(
        job=settings.job_id,
        capacity=capacity,
        share=share,
        processes=n_workers,
        target=_target() if getattr(model, "concurrency", 0) == "auto" else None,
        patience_s=settings.patience_s,
    )


def _capacity(model: Endpoint) -> int | None:
    """Calls that an endpoint may have in flight; None when that is to be found by trying."""
    if model.concurrency != "auto":
        return model.concurrency
    found = model.capacity() if isinstance(model, ControlPlane) else None
    return None if found is None else target(found, _target())


def _target() -> float:
    """The part of an endpoint's capacity that is used."""
    import dask

    said = dask.config.get(TARGET, 1.0)
    try:
        return float(said)
    except (TypeError, ValueError):
        msg = f"{TARGET}: {said!r} is not a number"
        raise RequestError(msg) from None
