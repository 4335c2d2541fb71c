"""Checks on a worker, before the first tile: can it run daskmr, write parts, reach the endpoint."""

import asyncio
from threading import Event
from time import monotonic, sleep
from typing import Any

from daskmr.endpoints.base import Endpoint
from daskmr.errors import ClusterError, DaskmrError, UnreachableError
from daskmr.pipeline.cluster import Connection
from daskmr.pipeline.job import Job

_TIMEOUT_S = 60
_LOOK_S = 2.0
_TRIES = 3
_FIRST = 1_000_000


def preflight(connection: Connection, job: Job) -> None:
    """Refuse to start a job that no tile of could succeed.

    Raises
    ------
    ClusterError
        When the workers cannot run daskmr.
    StoreError
        When this process does not see what workers write.
    UnreachableError, AuthError
        When a worker cannot connect to the endpoint.
    """
    future = connection.client.submit(_on_worker, job, pure=False, priority=_FIRST)
    try:
        name = _answer(connection, future)
    except DaskmrError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())
        msg = (
            f"the workers cannot run this job (are daskmr and the model installed there?): "
            f"{type(error).__name__}: {text}"
        )
        raise ClusterError(msg) from error
    job.parts.check(name)


def _answer(connection: Connection, future: Any) -> str:
    """What the check found, on a cluster that is tended meanwhile: its workers may die too."""
    has_ended = Event()
    future.add_done_callback(lambda _: has_ended.set())
    end = monotonic() + _TIMEOUT_S
    while not has_ended.wait(_LOOK_S):
        if monotonic() > end:
            msg = f"no answer within {_TIMEOUT_S} s"
            raise TimeoutError(msg)
        connection.tend()
    return str(future.result(timeout=_TIMEOUT_S))


def _on_worker(job: Job) -> str:
    if isinstance(job.asking.model, Endpoint):
        _reach(job.asking.model)
    return job.parts.probe()


def _reach(endpoint: Endpoint) -> Any:
    for attempt in range(1, _TRIES + 1):
        try:
            return asyncio.run(endpoint.check())
        except UnreachableError:
            if attempt == _TRIES:
                raise
            sleep(attempt * 0.5)
    return None
