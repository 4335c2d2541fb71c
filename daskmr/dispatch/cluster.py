"""Dask client of a job: the caller's, one at an address, or of a cluster of our own."""

import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from time import monotonic
from typing import Any

from daskmr.clusters import named_cluster
from daskmr.clusters.base import NamedCluster
from daskmr.configuration import configuration
from daskmr.dispatch import log_filters
from daskmr.dispatch.cluster_arguments import address_of, current_client, starts_anew
from daskmr.dispatch.main_guard import asking_for_guard
from daskmr.errors import ClusterError, SchedulerLostError

_CONNECT_S = 15.0
_THREADS_PER_WORKER = 4
"""More regions than cores: while one waits for its last answers, others send theirs."""
_MAX_WORKERS = 4
_MEMORY = {
    # Results of regions are tiny and pixels never stay: there is nothing worth spilling.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": 0.85,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.deploy.lost-worker-timeout": "5s",
}
_TLS = {
    "--tls-ca": "distributed.comm.tls.ca-file",
    "--tls-cert": "distributed.comm.tls.client.cert",
    "--tls-key": "distributed.comm.tls.client.key",
}
_TEND_S = 2.0
_STARTS = 3


def patience_s() -> float:
    """Return the seconds that a job waits for a first worker (``daskmr.worker-wait``)."""
    return configuration().worker_wait


@dataclass(slots=True, kw_only=True)
class Connection:
    """A client, and facts of its cluster."""

    client: Any
    """distributed.Client."""
    owned: bool
    """Whether the cluster is ours, on this machine, and ends with the job."""
    can_reconnect: bool = False
    """Whether another scheduler can take its place: one of ours, or one at the same address."""
    n_wanted: int = 0
    """Workers that a cluster of ours is to have."""
    _tended_at: float = 0.0

    @property
    def dashboard(self) -> str:
        """URL of the cluster's dashboard; empty when it has none."""
        return str(self.client.dashboard_link or "")

    def n_workers(self) -> int:
        """Return the number of worker processes at present, at least 1."""
        return max(1, len(self.client.nthreads()))

    async def n_slots(self) -> int:
        """Return the regions that the workers can run at once; on the client's loop.

        Raises
        ------
        SchedulerLostError
            When there is no scheduler any more.
        """
        if self.client.status not in {"running", "connecting"}:
            msg = f"the Dask scheduler is gone; the client is {self.client.status}"
            raise SchedulerLostError(msg)
        try:
            n_threads: dict[str, int] = await self.client.nthreads()
        except OSError as error:
            msg = f"the Dask scheduler does not answer: {error}"
            raise SchedulerLostError(msg) from error
        return sum(n_threads.values())

    def tend(self) -> None:
        """Replace workers of a cluster of this machine that did not come back by themselves.

        A nanny whose worker dies while it starts gives up. Clusters of the caller's are filled up
        only when no worker is left.
        """
        now = monotonic()
        if now - self._tended_at <= _TEND_S:
            return
        self._tended_at = now
        cluster: Any = getattr(self.client, "cluster", None)
        if self.owned:
            cluster.scale(self.n_wanted)
        elif _is_deserted(cluster):
            cluster.scale(len(cluster.worker_spec))


@contextmanager
def connect(
    *, client: Any = None, scheduler: str | None = None, workers: int | None = None
) -> Iterator[Connection]:
    """Connect to a cluster with at least one worker.

    In this order: the client given; the scheduler at an address, the cluster of a name
    (`daskmr.clusters.named_cluster`), or for ``"local"`` a cluster of our own; the client that is
    current here; the configured address or name (``daskmr.scheduler`` in `dask.config`); a cluster
    of our own, bound to loopback. Only what was made here is closed.

    `workers` is how many a cluster of our own has, and how many one that is made under a name has
    at most (``daskmr.max-workers``).

    Raises
    ------
    ClusterError
        When nothing answers at the address, or no worker joins.
    """
    current = current_client(client, scheduler)
    if current is not None:
        yield _ready(Connection(client=current, owned=False))
        return
    with _open(address_of(scheduler), workers) as connection:
        yield _ready(connection)


def own_slots() -> int:
    """Return the regions that run at once on a cluster of our own, if nothing else is said."""
    return min(os.cpu_count() or 1, _MAX_WORKERS) * _THREADS_PER_WORKER


@contextmanager
def connect_lasting(scheduler: str) -> Iterator[Any]:
    """Connect to a cluster that stays when this process ends, with workers or without.

    Raises
    ------
    ClusterError
        When nothing answers there, or it would end with this process.
    """
    if scheduler == "local" or starts_anew(scheduler):
        msg = f"scheduler: {scheduler!r} would end with this process; name a cluster that stays"
        raise ClusterError(msg)
    with _open(scheduler, None) as connection:
        yield connection.client


def trust_tls(kind: str, file: str) -> None:
    """Set a TLS file for all later connections, which then require encryption.

    Parameters
    ----------
    kind
        ``ca``, ``cert`` or ``key``.
    file
        PEM.
    """
    import dask

    dask.config.set({_TLS[f"--tls-{kind}"]: file})
    dask.config.set({"distributed.comm.require-encryption": True})


@contextmanager
def awake(client: Any) -> Iterator[None]:
    """Keep a cluster from ending because nothing runs on it.

    Schedulers with an idle time-out count only their tasks, and a job has times without any.
    """
    every = configuration().keep_alive
    is_over = threading.Event()

    def nudge() -> None:
        tasks: deque[Any] = deque(maxlen=1)  # a task that no future refers to is not run
        while not is_over.wait(every):
            try:
                tasks.append(client.submit(_nothing, pure=False))
            except Exception:  # noqa: BLE001 - whatever happened to the cluster is reported elsewhere
                return

    thread = threading.Thread(target=nudge, name="daskmr-awake", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(1.0)


def _nothing() -> None:
    """Do nothing, as a task."""


def _open(address: str, workers: int | None) -> AbstractContextManager[Connection]:
    if address == "local":
        return _own(workers)
    cluster = named_cluster(address)
    return _at(address) if cluster is None else _named(cluster, workers)


@contextmanager
def _named(cluster: NamedCluster, workers: int | None) -> Iterator[Connection]:

    most = workers or configuration().max_workers
    with cluster.client(max_workers=most) as client:
        yield Connection(client=client, owned=False, can_reconnect=True)


def _is_deserted(cluster: Any) -> bool:
    """Return whether it is a LocalCluster without any worker left."""
    from distributed import LocalCluster

    scheduler: Any = cluster.scheduler if isinstance(cluster, LocalCluster) else None
    return scheduler is not None and not scheduler.workers


@contextmanager
def _at(address: str) -> Iterator[Connection]:
    import dask
    from distributed import Client

    missing = [flag for flag, key in _TLS.items() if not dask.config.get(key, None)]
    if address.startswith("tls://") and missing:
        msg = f"{address!r}: give {', '.join(missing)}, or distributed.comm.tls of dask.config"
        raise ClusterError(msg)
    try:
        client = Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        msg = f"no Dask scheduler answers at {address!r}: {error}"
        raise ClusterError(msg) from error
    with client:
        yield Connection(client=client, owned=False, can_reconnect=True)


@contextmanager
def _own(workers: int | None) -> Iterator[Connection]:
    import dask
    from distributed import Client

    n_workers = workers or min(os.cpu_count() or 1, _MAX_WORKERS)
    with (
        dask.config.set(_MEMORY),
        log_filters.quiet_about_deaths(),
        _started(n_workers) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield Connection(client=client, owned=True, can_reconnect=True, n_wanted=n_workers)


def _started(n_workers: int) -> Any:
    """Start a cluster of processes of this machine, whose workers may die while they start.

    Raises
    ------
    RequestError
        When the script that runs lacks the guard of its main part.
    ClusterError
        When none came up.
    """
    from distributed import LocalCluster

    for n_left in reversed(range(_STARTS)):
        try:
            with _deaf_to_interrupts(), asking_for_guard():
                return LocalCluster(
                    n_workers=n_workers,
                    threads_per_worker=_THREADS_PER_WORKER,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    preload=log_filters.__name__,
                )
        except (RuntimeError, OSError, TimeoutError) as error:
            if not n_left:
                msg = f"no Dask cluster of {n_workers} workers comes up here: {error}"
                raise ClusterError(msg) from error
    return None


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Block SIGINT in all threads and processes that are started here.

    A terminal sends it to workers too, which would die in the middle of their answers, loudly. The
    driver alone hears it, at the latest on leaving, and ends them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Started later, it would let the thread that starts it hear Ctrl-C again, and all that follow.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ready(connection: Connection) -> Connection:
    try:
        connection.client.wait_for_workers(1, timeout=_CONNECT_S)
    except TimeoutError as error:
        address = connection.client.scheduler_info()["address"]
        msg = f"no worker joined the Dask scheduler at {address} within {_CONNECT_S:g} s"
        raise ClusterError(msg) from error
    return connection
