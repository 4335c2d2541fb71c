"""Resolve the endpoint of a plan for its workers: which one exactly, and its capacity."""

from dataclasses import replace
from typing import Protocol

from daskmr.configuration import configuration
from daskmr.core.capacity import target
from daskmr.encode.base import PlacedTileEncoder
from daskmr.endpoints.base import ControlPlane, Endpoint, LocalModel
from daskmr.endpoints.caller import Terms
from daskmr.planning.plan import Plan
from daskmr.planning.settings import Settings
from daskmr.worker.task import ModelCall


class Callers(Protocol):
    """The processes that call an endpoint."""

    def n_processes(self) -> int:
        """Return how many there are."""

    def coordinate(self) -> bool:
        """Let a coordinator divide the capacity among them; return whether there is one."""


def model_call(plan: Plan, callers: Callers | None = None) -> ModelCall:
    """Return how the model of a plan is called; asks the control plane for its endpoint.

    The variant of a SageMaker endpoint is chosen here, once for the image.

    Parameters
    ----------
    plan
        What to do.
    callers
        The processes that call it; None for this process alone.

    Raises
    ------
    RequestError
        When there is no such endpoint.
    """
    settings, model = plan.settings, plan.model
    if isinstance(model, ControlPlane):
        model = model.resolved(key=f"{settings.job_id}:{plan.info.url}")
    is_placed = isinstance(plan.encoder, PlacedTileEncoder)
    return ModelCall(
        info=plan.info if is_placed else replace(plan.info, document=b""),
        model=model,
        encoder=plan.encoder,
        answers=plan.answers,
        terms=_terms(model, settings, callers),
        max_batch=settings.batch,
        linger_s=settings.linger_s,
        sensor=plan.flat if is_placed else None,
    )


def _terms(model: Endpoint | LocalModel, settings: Settings, callers: Callers | None) -> Terms:
    """Return how each worker process may use a model."""
    capacity = _capacity(model) if isinstance(model, Endpoint) else None
    n_processes = callers.n_processes() if callers is not None else 1
    is_coordinated = isinstance(model, Endpoint) and callers is not None and callers.coordinate()
    is_auto = isinstance(model, Endpoint) and model.concurrency == "auto"
    share = None
    if capacity is not None:
        share = max(1, capacity // n_processes)
    return Terms(
        job=settings.job_id,
        capacity=capacity,
        share=share,
        processes=n_processes,
        is_coordinated=is_coordinated,
        target=configuration().capacity_target_percentage if is_auto else None,
        patience_s=settings.patience_s,
    )


def _capacity(model: Endpoint) -> int | None:
    """Return the calls that an endpoint may have in flight; None when that must be measured."""
    if model.concurrency != "auto":
        return model.concurrency
    capacity = model.capacity() if isinstance(model, ControlPlane) else None
    return (
        None if capacity is None else target(capacity, configuration().capacity_target_percentage)
    )
