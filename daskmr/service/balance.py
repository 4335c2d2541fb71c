"""Which job is started next: a deterministic core without clock, queue or endpoint.

Jobs of one endpoint start in the order of their priority and age. The endpoint with the least load
comes first, and one that is full never keeps another waiting. A job starts where its load fits into
what the endpoint has left, or where nothing else runs. So that a small job need not wait for a
large one to end, one at a time may run beside those that fill the endpoint; the endpoint's calls
are shared evenly among jobs (`daskmr.endpoints.limiter`), so it takes about twice its time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from daskmr.core.capacity import available, image_load

SMALL = 1 / 8
"""Part of the tiles of what runs at an endpoint, up to which another job is a small one."""
WORKERS = 4
"""Calls that a region is expected to have in flight (``TILE_WORKERS_PER_INSTANCE``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One image to be run."""

    job_id: str
    """Name of its job."""
    endpoint: str
    """Where it is sent: endpoint and variant."""
    asked_at: float
    """When it was asked for, seconds of any clock that all entries share."""
    n_regions: int | None = None
    """Regions that have not ended; None when nobody has counted them."""
    n_tiles: int = 0
    """Tiles that have not ended: what tells a small job from a large one."""
    priority: int = 0
    """Entries of a higher one start before those of a lower one."""

    @property
    def order(self) -> tuple[int, float, str]:
        """Smaller starts first."""
        return -self.priority, self.asked_at, self.job_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """What an endpoint stands."""

    instances: int = 1
    """Instances in service."""
    most: int | None = None
    """Calls at once; None when nobody knows, and all may start."""


class Why(StrEnum):
    """Why a job was started, or was not."""

    FITS = "FITS"
    ALONE = "ALONE"
    SMALL = "SMALL"
    NO_CAPACITY = "NO_CAPACITY"
    ENDPOINT_LIMIT = "ENDPOINT_LIMIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to become of a waiting job now."""

    entry: Entry
    """Which."""
    why: Why
    """Why it starts, or has to wait."""

    @property
    def starts(self) -> bool:
        """Whether it starts."""
        return self.why in {Why.FITS, Why.ALONE, Why.SMALL}


@dataclass(kw_only=True)
class Balance:
    """Jobs that wait and run, and what their endpoints stand."""

    max_jobs: int
    """Most jobs that run at once."""
    per_endpoint: int | None = None
    """Most jobs that run at once at one endpoint; None: as many as fit."""
    target: float = 1.0
    """Part of an endpoint's capacity that is used."""
    workers: int = WORKERS
    """Calls that a region is expected to have in flight."""
    waiting: dict[str, Entry] = field(default_factory=dict)
    """By name of the job."""
    running: dict[str, Entry] = field(default_factory=dict)
    """By name of the job."""
    _small: set[str] = field(default_factory=set)

    def add(self, entry: Entry) -> None:
        """A job is to be run."""
        self.waiting[entry.job_id] = entry

    def progressed(self, job_id: str, *, n_regions: int, n_tiles: int = 0) -> None:
        """So many regions, and tiles, of a running job have not ended."""
        if job_id in self.running:
            before = self.running[job_id]
            self.running[job_id] = replace(before, n_regions=n_regions, n_tiles=n_tiles)

    def is_beside(self, job_id: str) -> bool:
        """Whether a job runs as a small one beside others."""
        return job_id in self._small

    def ended(self, job_id: str) -> None:
        """A job neither waits nor runs any more."""
        self.waiting.pop(job_id, None)
        self.running.pop(job_id, None)
        self._small.discard(job_id)

    def choose(self, strengths: Mapping[str, Strength]) -> list[Decision]:
        """Start what can be started now.

        Parameters
        ----------
        strengths
            By endpoint; one that is missing has one instance, and all its jobs may start.

        Returns
        -------
        Those that start, in order, then the first that has to wait at each endpoint.
        """
        started = []
        while len(self.running) < self.max_jobs:
            decision = self._next(strengths)
            if decision is None:
                break
            self._start(decision)
            started.append(decision)
        if len(self.running) >= self.max_jobs:
            return started
        held = (self._judged(self._line(e)[0], strengths) for e in self._by_load(strengths))
        return [*started, *held]

    def load_factor(self, endpoint: str, strengths: Mapping[str, Strength]) -> float:
        """Regions that have not ended, of all jobs of an endpoint, for each of its instances."""
        running = [1 if e.n_regions is None else e.n_regions for e in self._at(endpoint)]
        waiting = [e.n_regions or 0 for e in self.waiting.values() if e.endpoint == endpoint]
        return sum(running + waiting) / max(1, strengths.get(endpoint, Strength()).instances)

    def _by_load(self, strengths: Mapping[str, Strength]) -> list[str]:
        """Endpoints with jobs that wait, the one whose turn it is first."""
        endpoints = {entry.endpoint for entry in self.waiting.values()}
        return sorted(
            endpoints,
            key=lambda e: (self.load_factor(e, strengths), self._line(e)[0].asked_at, e),
        )

    def _next(self, strengths: Mapping[str, Strength]) -> Decision | None:
        for endpoint in self._by_load(strengths):
            line = self._line(endpoint)
            first = self._judged(line[0], strengths)
            if first.starts:
                return first
            if first.why is Why.NO_CAPACITY:
                small = (e for e in line[1:] if self._is_small(e))
                found = next(small, None)
                if found is not None:
                    return Decision(entry=found, why=Why.SMALL)
        return None

    def _judged(self, entry: Entry, strengths: Mapping[str, Strength]) -> Decision:
        """What becomes of an entry whose turn it is."""
        beside = self._at(entry.endpoint)
        if self.per_endpoint is not None and len(beside) >= self.per_endpoint:
            return Decision(entry=entry, why=Why.ENDPOINT_LIMIT)
        large = [e for e in beside if e.job_id not in self._small and e.n_regions != 0]
        most = strengths.get(entry.endpoint, Strength()).most
        if not large:
            return Decision(entry=entry, why=Why.ALONE)
        loads = [self._load(e) for e in large]
        if most is None or available(most, self.target, loads) >= self._load(entry):
            return Decision(entry=entry, why=Why.FITS)
        if self._is_small(entry):
            return Decision(entry=entry, why=Why.SMALL)
        return Decision(entry=entry, why=Why.NO_CAPACITY)

    def _is_small(self, entry: Entry) -> bool:
        """Whether a job may run beside those that fill its endpoint; one at a time does."""
        beside = self._at(entry.endpoint)
        if any(e.job_id in self._small for e in beside):
            return False
        return 0 < entry.n_tiles <= SMALL * sum(e.n_tiles for e in beside)

    def _start(self, decision: Decision) -> None:
        entry = self.waiting.pop(decision.entry.job_id)
        self.running[entry.job_id] = entry
        if decision.why is Why.SMALL:
            self._small.add(entry.job_id)

    def _line(self, endpoint: str) -> list[Entry]:
        """Those that wait at an endpoint, the first first."""
        found = (e for e in self.waiting.values() if e.endpoint == endpoint)
        return sorted(found, key=lambda entry: entry.order)

    def _at(self, endpoint: str) -> list[Entry]:
        """Those that run at an endpoint."""
        return [entry for entry in self.running.values() if entry.endpoint == endpoint]

    def _load(self, entry: Entry) -> int:
        return image_load(entry.n_regions, self.workers)
