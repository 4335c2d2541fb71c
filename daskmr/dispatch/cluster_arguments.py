"""The arguments that say where a job runs: checked, and what follows from them."""

import sys
from collections.abc import Iterator
from typing import Any

from daskmr.clusters import named_cluster
from daskmr.clusters.base import NEW
from daskmr.configuration import configuration
from daskmr.errors import RequestError

THREADS, SYNCHRONOUS = "threads", "synchronous"
"""Schedulers without a cluster, by the names that Dask gives them: threads of this process, and the
calling thread alone."""


def check_cluster(
    *, client: Any = None, scheduler: str | None = None, workers: int | None = None
) -> None:
    """Raise when the arguments that say where a job runs cannot be used, or contradict each other.

    Raises
    ------
    RequestError
        Names the argument.
    """
    problems = []
    if client is not None and scheduler:
        problems.append(f"client, scheduler: two clusters at once; leave out {scheduler!r}")
    if workers is not None and (client is not None or named(scheduler) in {THREADS, SYNCHRONOUS}):
        other = "client" if client is not None else repr(named(scheduler))
        problems.append(f"workers: {workers} of a cluster of our own, beside {other}")
    if client is not None:
        problems.extend(_client_problems(client))
    if problems:
        raise RequestError(*problems)


def _client_problems(client: Any) -> Iterator[str]:
    """Yield what keeps a value from being used as the client of a job."""
    kind = type(client).__name__
    if isinstance(client, str):
        yield f"client: {client!r} is an address; give it as scheduler"
    elif hasattr(client, "get_client"):
        yield f"client: a {kind} is a cluster; give its client, {kind}.get_client()"
    elif not hasattr(client, "nthreads"):
        yield f"client: a {kind} is no distributed.Client"
    elif client.asynchronous:
        yield "client: it is asynchronous; give one made without asynchronous=True"


def makes_own(
    *, client: Any = None, scheduler: str | None = None, workers: int | None = None
) -> bool:
    """Return whether a job would run in this process, or on a cluster of our own made for it."""
    del workers
    return current_client(client, scheduler) is None and address_of(scheduler) == "local"


def can_connect_again(
    *, client: Any = None, scheduler: str | None = None, workers: int | None = None
) -> bool:
    """Return whether `connect` soon gives a cluster; not one that is started anew, nor threads."""
    del workers
    return client is not None or not (
        starts_anew(scheduler) or named(scheduler) in {THREADS, SYNCHRONOUS}
    )


def named(scheduler: str | None) -> str:
    """Return the scheduler that is named in a call or in the configuration; empty when none is."""
    return scheduler or configuration().scheduler or ""


def current_client(client: Any, scheduler: str | None) -> Any:
    """Return the client of the caller, or the current one where no scheduler is named."""
    if client is not None or scheduler:
        return client
    return _current()


def address_of(scheduler: str | None) -> str:
    """Return the address or name of the cluster to connect to; ``local`` for one of our own."""
    name = named(scheduler)
    return "local" if name in {"", THREADS, SYNCHRONOUS} else name


def starts_anew(scheduler: str | None) -> bool:
    """Return whether each connection to a named cluster starts it anew, which may take minutes."""
    cluster = named_cluster(scheduler or "")
    return cluster is not None and cluster.name == NEW


def _current() -> Any:
    if "distributed" not in sys.modules:  # nobody has made a client; its import takes a second
        return None
    from distributed import get_client

    try:
        return get_client()
    except ValueError:
        return None
