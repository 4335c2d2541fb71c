"""Checks everything that a job depends on, before one runs: one result for each thing.

`software` checks this process, `cluster` the workers, `services` store, queue, model and
credentials; `check_result` holds their results.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from daskmr.doctor.check_result import CheckResult, problem

__all__ = ["CheckResult", "examine"]

_AWS_SCHEMES = ("s3://", "sagemaker://", "sagemaker-async://")


def examine(
    *,
    scheduler: str | None = None,
    model: str | None = None,
    store: str | None = None,
    queue: str | None = None,
    dead_letters: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Iterator[CheckResult]:
    """Check this process and everything else that is named; yield each result at once.

    Parameters
    ----------
    scheduler
        As of `daskmr.run`; None checks no cluster.
    model
        As of `daskmr.run`; it is connected to, but no tile is sent.
    store
        Folder or ``s3://`` URL that keeps jobs; a name is written there and removed.
    queue, dead_letters
        URLs of queues; no message is received.
    options
        Options of `daskmr.run` for the model.
    """
    from daskmr.doctor import cluster, services, software

    yield from software.installed()
    names = [store or "", model or ""]
    needs_aws = bool(queue) or any(name.startswith(_AWS_SCHEMES) for name in names)
    yield services.credentials(are_needed=needs_aws)
    with ExitStack() as stack:
        client, error = _client(scheduler, stack)
        if error:
            yield problem("cluster", error)
        for result in cluster.check_processes(client) if client is not None else ():
            yield result
            if result.grade == "problem":
                client = None  # workers that cannot run daskmr cannot check services either
        if store:
            yield from services.store(store, client)
        if model:
            yield from services.model(model, dict(options or {}), client)
        if queue:
            yield from services.queue(queue, dead_letters or "")


def _client(scheduler: str | None, stack: ExitStack) -> tuple[Any, str]:
    """Return a client and no error, or None and the error; both empty without a scheduler."""
    from daskmr.dispatch.cluster import connect
    from daskmr.errors import DaskmrError

    if scheduler is None:
        return None, ""
    try:
        return stack.enter_context(connect(scheduler=scheduler)).client, ""
    except DaskmrError as error:
        return None, str(error)
