"""The order in which jobs start: a deterministic core without clock, queue or endpoint.

Jobs of one endpoint start in the order of their priority and age. The endpoint with the lowest load
factor comes first, and a full endpoint never delays another. A job starts where its load fits into
the endpoint's free capacity, or where no other job runs. So that a small job need not wait for the
end of a large one, one small job at a time may run beside those that fill the endpoint; the
endpoint's calls are shared evenly among jobs (`daskmr.endpoints.limiter`), so it takes about twice
its time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from daskmr.configuration import Configuration
from daskmr.core.capacity import available, image_load

SMALL = 1 / 8
"""A job is small up to this part of the tiles of the jobs that run at its endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One image to run."""

    job_id: str
    """Name of its job."""
    endpoint: str
    """Endpoint and variant that its tiles are sent to."""
    requested_at: float
    """Time of the request, seconds of any clock that all entries share."""
    n_regions: int | None = None
    """Regions that have not ended; None if unknown."""
    n_tiles: int = 0
    """Tiles that have not ended; decides if a job is small."""
    priority: int = 0
    """Entries of a higher priority start before those of a lower one."""

    @property
    def order(self) -> tuple[int, float, str]:
        """Sort key; the smallest starts first."""
        return -self.priority, self.requested_at, self.job_id


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointCapacity:
    """Capacity of an endpoint."""

    n_instances: int = 1
    """Instances in service."""
    max_calls: int | None = None
    """Maximal concurrent calls; None if unknown, which does not limit jobs."""


class Reason(StrEnum):
    """Reason why a job starts or waits."""

    FITS = "FITS"
    ALONE = "ALONE"
    SMALL = "SMALL"
    NO_CAPACITY = "NO_CAPACITY"
    ENDPOINT_LIMIT = "ENDPOINT_LIMIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Decision on a waiting job."""

    entry: Entry
    """The job."""
    reason: Reason
    """Reason why it starts or waits."""

    @property
    def starts(self) -> bool:
        """True if the job starts."""
        return self.reason in {Reason.FITS, Reason.ALONE, Reason.SMALL}


@dataclass(kw_only=True)
class JobScheduler:
    """Waiting and running jobs, and the rules by which they start."""

    max_jobs: int
    """Maximal number of running jobs."""
    per_endpoint: int | None = None
    """Maximal number of running jobs of one endpoint; None: as many as its capacity allows."""
    target: float = 1.0
    """Part of an endpoint's capacity to use."""
    workers: int = Configuration().calls_per_region
    """Expected calls in flight of one region."""
    waiting: dict[str, Entry] = field(default_factory=dict)
    """Waiting jobs by name."""
    running: dict[str, Entry] = field(default_factory=dict)
    """Running jobs by name."""
    _small: set[str] = field(default_factory=set)

    def add(self, entry: Entry) -> None:
        """Add a waiting job."""
        self.waiting[entry.job_id] = entry

    def update(self, job_id: str, *, n_regions: int, n_tiles: int = 0) -> None:
        """Set the numbers of regions and tiles of a running job that have not ended."""
        if job_id in self.running:
            entry = self.running[job_id]
            self.running[job_id] = replace(entry, n_regions=n_regions, n_tiles=n_tiles)

    def is_small(self, job_id: str) -> bool:
        """Return True if a running job was started as a small one beside others."""
        return job_id in self._small

    def remove(self, job_id: str) -> None:
        """Remove a job, waiting or running."""
        self.waiting.pop(job_id, None)
        self.running.pop(job_id, None)
        self._small.discard(job_id)

    def start_jobs(self, capacities: Mapping[str, EndpointCapacity]) -> list[Decision]:
        """Start every job that can start now.

        Parameters
        ----------
        capacities
            By endpoint; a missing one has one instance and no limit of calls.

        Returns
        -------
        The started jobs, in order, then the first waiting job of each endpoint.
        """
        started = []
        while len(self.running) < self.max_jobs:
            decision = self._next(capacities)
            if decision is None:
                break
            self._start(decision)
            started.append(decision)
        if len(self.running) >= self.max_jobs:
            return started
        endpoints = self._endpoints_by_load(capacities)
        return [*started, *(self._decide(self._waiting_at(e)[0], capacities) for e in endpoints)]

    def load_factor(self, endpoint: str, capacities: Mapping[str, EndpointCapacity]) -> float:
        """Return the regions of an endpoint's jobs that have not ended, per instance."""
        running = [1 if e.n_regions is None else e.n_regions for e in self._running_at(endpoint)]
        waiting = [e.n_regions or 0 for e in self.waiting.values() if e.endpoint == endpoint]
        n_instances = capacities.get(endpoint, EndpointCapacity()).n_instances
        return sum(running + waiting) / max(1, n_instances)

    def _endpoints_by_load(self, capacities: Mapping[str, EndpointCapacity]) -> list[str]:
        """Return the endpoints with waiting jobs, the lowest load factor first."""

        def order(endpoint: str) -> tuple[float, float, str]:
            first = self._waiting_at(endpoint)[0]
            return self.load_factor(endpoint, capacities), first.requested_at, endpoint

        return sorted({entry.endpoint for entry in self.waiting.values()}, key=order)

    def _next(self, capacities: Mapping[str, EndpointCapacity]) -> Decision | None:
        for endpoint in self._endpoints_by_load(capacities):
            waiting = self._waiting_at(endpoint)
            decision = self._decide(waiting[0], capacities)
            if decision.starts:
                return decision
            if decision.reason is Reason.NO_CAPACITY:
                small = next((e for e in waiting[1:] if self._fits_as_small(e)), None)
                if small is not None:
                    return Decision(entry=small, reason=Reason.SMALL)
        return None

    def _decide(self, entry: Entry, capacities: Mapping[str, EndpointCapacity]) -> Decision:
        """Return the decision on the first waiting job of an endpoint."""
        running = self._running_at(entry.endpoint)
        if self.per_endpoint is not None and len(running) >= self.per_endpoint:
            return Decision(entry=entry, reason=Reason.ENDPOINT_LIMIT)
        large = [e for e in running if e.job_id not in self._small and e.n_regions != 0]
        max_calls = capacities.get(entry.endpoint, EndpointCapacity()).max_calls
        if not large:
            return Decision(entry=entry, reason=Reason.ALONE)
        loads = [self._load(e) for e in large]
        if max_calls is None or available(max_calls, self.target, loads) >= self._load(entry):
            return Decision(entry=entry, reason=Reason.FITS)
        if self._fits_as_small(entry):
            return Decision(entry=entry, reason=Reason.SMALL)
        return Decision(entry=entry, reason=Reason.NO_CAPACITY)

    def _fits_as_small(self, entry: Entry) -> bool:
        """Return True if a job may run as the one small job beside those of its endpoint."""
        running = self._running_at(entry.endpoint)
        if any(e.job_id in self._small for e in running):
            return False
        return 0 < entry.n_tiles <= SMALL * sum(e.n_tiles for e in running)

    def _start(self, decision: Decision) -> None:
        entry = self.waiting.pop(decision.entry.job_id)
        self.running[entry.job_id] = entry
        if decision.reason is Reason.SMALL:
            self._small.add(entry.job_id)

    def _waiting_at(self, endpoint: str) -> list[Entry]:
        """Return the waiting jobs of an endpoint in the order of their start."""
        entries = (e for e in self.waiting.values() if e.endpoint == endpoint)
        return sorted(entries, key=lambda entry: entry.order)

    def _running_at(self, endpoint: str) -> list[Entry]:
        return [entry for entry in self.running.values() if entry.endpoint == endpoint]

    def _load(self, entry: Entry) -> int:
        return image_load(entry.n_regions, self.workers)
