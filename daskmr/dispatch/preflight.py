"""Checks on a worker, before the first tile: can it run daskmr, write parts, reach the endpoint."""

import asyncio
from concurrent.futures import wait
from time import monotonic
from typing import Any

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_incrementing

from daskmr.dispatch.cluster import Connection
from daskmr.dispatch.futures import result_of
from daskmr.endpoints.base import Endpoint
from daskmr.errors import ClusterError, DaskmrError, UnreachableError
from daskmr.worker.task import JobContext

_TIMEOUT_S = 60
_LOOK_S = 2.0
_FIRST = 1_000_000


def preflight(connection: Connection, job: JobContext) -> None:
    """Raise before the first tile if no tile of a job could succeed.

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
    except Exception as error:
        text = " ".join(str(error).split())
        msg = (
            f"the workers cannot run this job (are daskmr and the model installed there?): "
            f"{type(error).__name__}: {text}"
        )
        raise ClusterError(msg) from error
    if isinstance(name, DaskmrError):
        raise name
    job.parts.check(name)


def _answer(connection: Connection, future: Any) -> str | DaskmrError:
    """Return the result of the check, tending the cluster meanwhile: its workers may die too."""
    loop = connection.client.loop.asyncio_loop
    answer = asyncio.run_coroutine_threadsafe(result_of(future), loop)
    end = monotonic() + _TIMEOUT_S
    while not wait([answer], _LOOK_S).done:
        if monotonic() > end:
            answer.cancel()
            msg = f"no answer within {_TIMEOUT_S} s"
            raise TimeoutError(msg)
        connection.tend()
    name: str | DaskmrError = answer.result()
    return name


def check_job(job: JobContext) -> str:
    """Return the name of what was written to a job's parts; in a thread without an event loop.

    Raises
    ------
    StoreError
        When nothing can be written there.
    UnreachableError, AuthError
        When the endpoint cannot be connected to from here.
    """
    if isinstance(job.call.model, Endpoint):
        _reach(job.call.model)
    return job.parts.probe()


def _on_worker(job: JobContext) -> str | DaskmrError:
    """Return what `check_job` returns, or its error, of which Dask logs no traceback then."""
    try:
        return check_job(job)
    except DaskmrError as error:
        return error


@retry(
    retry=retry_if_exception_type(UnreachableError),
    wait=wait_incrementing(start=0.5, increment=0.5),
    stop=stop_after_attempt(3),
    reraise=True,
)
def _reach(endpoint: Endpoint) -> None:
    asyncio.run(endpoint.check())
