"""Retry policy of regions: failed attempts, and the next step after each.

A worker that dies takes all its regions with it, most of them innocent, so each is run again. One
whose workers died twice is run alone, in a process of its own; should that die twice as well, the
region is the cause. A worker that is retired counts for nothing: Dask moves its regions. Our own,
since Dask's `allowed-failures` blames every task of a worker that died.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from daskmr.errors import (
    CanceledError,
    DaskmrError,
    SchedulerLostError,
    SourceChangedError,
    StoreError,
    WorkerLostError,
)

WORKER_LOST, CRASHED, TASK_FAILED = "worker_lost", "crashed", "task_failed"
_MOST = {WORKER_LOST: 2, CRASHED: 2, TASK_FAILED: 3}


class Fate(Enum):
    """Next step for a region after a failed attempt."""

    AGAIN = auto()
    """Run it as before."""
    ALONE = auto()
    """Run it in a process of its own."""
    POISON = auto()
    """Give it up: it kills the process that runs it."""
    FAILED = auto()
    """Give it up: it cannot be run."""
    RAISE = auto()
    """Give up the job: no region of it can be run."""


def cause_of(error: Exception) -> str:
    """Return the short name of an attempt's cause of failure; empty when it is not the region's."""
    if isinstance(error, WorkerLostError):
        return CRASHED if error.alone else WORKER_LOST
    is_of_all = isinstance(error, SchedulerLostError | SourceChangedError | CanceledError)
    return "" if is_of_all else TASK_FAILED


@dataclass
class RetryPolicy:
    """Failed attempts of one job, and what follows from them."""

    _counts: dict[str, Counter[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, causes: Mapping[str, Iterable[str]]) -> "RetryPolicy":
        """Return the policy after the failed attempts of earlier drivers."""
        return cls({name: Counter(causes) for name, causes in causes.items()})

    def n(self, name: str) -> int:
        """Return the number of failed attempts at a region."""
        return sum(self._counts.get(name, Counter()).values())

    def is_suspect(self, name: str) -> bool:
        """Return whether a region must run in a process of its own."""
        return self._counts.get(name, Counter())[WORKER_LOST] >= _MOST[WORKER_LOST]

    def ended(self, name: str, error: Exception) -> Fate:
        """Count a failed attempt, and return the next step."""
        cause = cause_of(error)
        if not cause:
            return Fate.RAISE
        counts = self._counts.setdefault(name, Counter())
        counts[cause] += 1
        if cause == WORKER_LOST:
            return Fate.ALONE if self.is_suspect(name) else Fate.AGAIN
        if counts[cause] < _MOST[cause]:
            return Fate.ALONE if self.is_suspect(name) else Fate.AGAIN
        if cause == CRASHED:
            return Fate.POISON
        return Fate.RAISE if isinstance(error, StoreError) else Fate.FAILED


def reason_of(fate: Fate, error: Exception) -> tuple[str, str]:
    """Return the reason and the message of the tiles of a region that was given up."""
    text = " ".join(str(error).split())[:500]
    if fate is Fate.POISON:
        return "POISON", text
    sentence = text if isinstance(error, DaskmrError) else f"{type(error).__name__}: {text}"
    return "TASK_FAILED", sentence
