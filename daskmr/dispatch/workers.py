"""Where the regions of a job run: in threads of this process, or on the workers of a cluster.

A small job, or one whose model answers over the network, pays for no processes: to start them
takes seconds, and they import the caller's script again. Python code of a model runs in one thread
at a time, so that many tiles of a model in process are faster on a cluster.
"""

from collections.abc import Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from daskmr.dispatch.cluster import connect, own_slots
from daskmr.dispatch.cluster_arguments import SYNCHRONOUS, THREADS, makes_own, named
from daskmr.dispatch.cluster_workers import ClusterWorkers
from daskmr.dispatch.dispatcher import Executor
from daskmr.dispatch.progress import Tracker
from daskmr.dispatch.threads import ThreadWorkers
from daskmr.endpoints.base import Endpoint
from daskmr.errors import RequestError
from daskmr.lifecycle.open_job import OpenJob
from daskmr.planning.plan import Plan
from daskmr.worker.task import JobContext

SMALL_TILES = 32
"""Most tiles of a model in process for which no worker processes are started."""


class RegionWorkers(Protocol):
    """What runs regions, and facts of it."""

    @property
    def place(self) -> str:
        """Where they run, for people."""

    @property
    def dashboard(self) -> str:
        """URL of the dashboard; empty when there is none."""

    @property
    def can_reconnect(self) -> bool:
        """Whether others can take their place when they are lost."""

    def n_processes(self) -> int:
        """Return the number of processes that call the endpoint."""

    def coordinate(self) -> bool:
        """Let a coordinator divide an endpoint's capacity; return whether there is one."""

    def check(self, job: JobContext) -> None:
        """Raise before the first tile if no tile of a job could succeed."""

    def executor(
        self, job: OpenJob, context: JobContext, tracker: Tracker
    ) -> AbstractContextManager[Executor]:
        """Return the executor of a job's regions, which reports progress while it is open."""

    def drive(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a dispatcher to its end; stop it when this thread is interrupted."""


def placement(plan: Plan, cluster: dict[str, Any], *, is_resumed: bool = False) -> str:
    """Return where the regions of a plan run: ``threads``, ``synchronous`` or ``cluster``.

    Parameters
    ----------
    plan
        The job.
    cluster
        Keyword arguments of `daskmr.dispatch.cluster.connect`.
    is_resumed
        Whether an earlier process that ran the job was cut off: perhaps by a tile that kills the
        process that reads it, which then must not be this one.
    """
    name = named(cluster.get("scheduler"))
    if cluster.get("client") is None and name in {THREADS, SYNCHRONOUS}:
        return name
    if not makes_own(**cluster) or name or cluster.get("workers"):
        return "cluster"
    n_tiles = plan.n_tiles - plan.n_skipped
    is_light = isinstance(plan.model, Endpoint) or n_tiles <= SMALL_TILES
    return THREADS if is_light and not is_resumed else "cluster"


@contextmanager
def workers_of(job: OpenJob) -> Iterator[RegionWorkers]:
    """Yield the workers of a job.

    Raises
    ------
    RequestError
        When the model cannot be sent to worker processes.
    ClusterError
        When there is no cluster.
    """
    cluster = job.execution.cluster
    where = placement(job.plan, cluster, is_resumed=job.workspace.epoch > 0)
    if not (named(cluster.get("scheduler")) and where != "cluster"):
        check_sendable(job.plan)
    if where == "cluster":
        with connect(**cluster) as connection:
            yield ClusterWorkers(connection)
        return
    with ThreadWorkers(0 if where == SYNCHRONOUS else own_slots()) as threads:
        yield threads


def check_sendable(plan: Plan) -> None:
    """Raise when the model of a plan could not be sent to worker processes.

    A small job would run without, in threads; it is refused all the same, since the same model
    would fail on the next larger image.

    Raises
    ------
    RequestError
        Names what cannot be pickled.
    """
    if isinstance(plan.model, Endpoint):
        return
    import cloudpickle

    try:
        cloudpickle.dumps(plan.model)
    except Exception as error:  # noqa: BLE001 - whatever a user's object raises
        msg = (
            f"model: {plan.model.name} cannot be sent to worker processes ({error}); make what "
            f"cannot be pickled inside the function, or run in this process: scheduler='threads'"
        )
        raise RequestError(msg) from None
