"""Looks at all that a job depends on before one does: one finding for each thing."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from daskmr.doctor.finding import Finding, problem

__all__ = ["Finding", "examine"]

_OF_AWS = ("s3://", "sagemaker://", "sagemaker-async://")


def examine(
    *,
    scheduler: str | None = None,
    model: str | None = None,
    store: str | None = None,
    queue: str | None = None,
    dead_letters: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Iterator[Finding]:
    """Look at this process, and at whatever else is named; findings come as they are made.

    Parameters
    ----------
    scheduler
        As of `daskmr.run`; None looks at no cluster.
    model
        As of `daskmr.run`; it is reached, and sent no tile.
    store
        Folder or ``s3://`` URL that keeps jobs; a name is written there and removed.
    queue, dead_letters
        URLs of queues; no message is received.
    options
        Options of `daskmr.run` that say how the model is reached.
    """
    from daskmr.doctor import cluster, places, software

    yield from software.installed()
    named = [store or "", model or ""]
    needs_aws = bool(queue) or any(name.startswith(_OF_AWS) for name in named)
    yield places.credentials(are_needed=needs_aws)
    with ExitStack() as stack:
        client, why = _client(scheduler, stack)
        if why:
            yield problem("cluster", why)
        for finding in cluster.processes(client) if client is not None else ():
            yield finding
            if finding.grade == "problem":
                client = None  # what does not run there cannot look from there either
        if store:
            yield from places.store(store, client)
        if model:
            yield from places.model(model, dict(options or {}), client)
        if queue:
            yield from places.queue(queue, dead_letters or "")


def _client(scheduler: str | None, stack: ExitStack) -> tuple[Any, str]:
    """A client of a cluster, or why there is none; both empty when none is asked for."""
    from daskmr.errors import DaskmrError
    from daskmr.pipeline.cluster import connect

    if scheduler is None:
        return None, ""
    try:
        return stack.enter_context(connect(scheduler=scheduler)).client, ""
    except DaskmrError as error:
        return None, str(error)
