"""How and where a plan is run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from daskmr.core.progress import OnProgress
from daskmr.planning.outputs import Destination
from daskmr.status import Meter, StatusDispatcher


def never() -> bool:
    """Nobody wants the job to be let go."""
    return False


def all_slots(n: int) -> int:
    """Return a cluster is the job's alone."""
    return n


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How and where a plan is run."""

    outputs: Sequence[Destination] = ()
    """Where results go."""
    cluster: dict[str, Any]
    """Keyword arguments of `daskmr.dispatch.cluster.connect`."""
    on_progress: OnProgress
    """Told about once a second how far the job has come."""
    job_name: str = ""
    """Name of the job for people, in events and logs; empty for none."""
    store: str | None = None
    """Where jobs are kept, so that a later run of the same job goes on; None for this run alone."""
    keeps_beside: bool = False
    """Whether `store` lies beside the results, and ends with them but for a record."""
    again: bool = False
    """Whether a job that there is begins anew."""
    overwrite: bool = False
    """Whether one of another image or of other settings is replaced."""
    retry_failed: bool = True
    """Whether the failed tiles of a job that has ended are asked about again."""
    load: bool = True
    """Whether the features are loaded into memory at the end."""
    priority: int = 0
    """Whose regions Dask runs first, among jobs of one cluster: those of the highest."""
    slots: Callable[[int], int] = all_slots
    """Of so many slots of the cluster, those that the job may fill."""
    let_go: Callable[[], bool] = never
    """Whether the job is to be left where it is, for another process to go on with."""
    is_supervised: bool = False
    """Whether the caller runs the job again after an error and decides when it has failed, as the
    service does. Otherwise a job that failed whole asks about its tiles again when it is run again,
    and tells of its own failure."""
    status_dispatcher: StatusDispatcher | None = None
    """Says how the job comes along; None: one of its own, as the configuration has it."""
    meter: Meter = field(default_factory=Meter)
    """Told what things took."""
