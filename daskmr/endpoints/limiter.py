"""Limiter of one process's calls in flight to one endpoint, fair among jobs.

Our own: libraries limit calls to a number or a rate; here the number is felt for (a congestion
window), shared by the scheduler among processes, and served to jobs in turn.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from time import monotonic

from daskmr.core.capacity import target
from daskmr.endpoints import _congestion_window
from daskmr.endpoints._breaker import Breaker
from daskmr.endpoints._congestion_window import CongestionWindow
from daskmr.endpoints.shares import Grant, Report
from daskmr.errors import AuthError, CapacityError, EndpointError, TransientError, UnreachableError

INITIAL_WINDOW = int(_congestion_window.INITIAL_WINDOW)
"""Calls in flight with which a process begins where the capacity is not known."""
REFUSALS = 10
"""Consecutive calls with auth_error credentials after which these jobs make no further one."""
GRANT_WAIT_S = 10.0
"""Seconds after which a process begins without the coordinator's first grant; a coordinator that is
away is known at once."""
GIVE_UP_FAULTS_S = 120.0
"""Seconds after which calls of a model that answers nothing but faults fail."""


@dataclass
class Limiter:
    """Slots for calls of one endpoint; lives on one event loop.

    Slots go to jobs in turn, so that a large job does not keep a small one waiting. Their number
    follows the share of a known capacity and the endpoint's throttling. During an outage all calls
    wait but for a probe.

    Our own, since its limit changes with a cluster-wide share and the endpoint's answers, and it
    serves jobs in turn; asyncio.Semaphore has a fixed limit, distributed.Semaphore costs a round
    trip to the scheduler for each call, aiolimiter limits rates.
    """

    window: CongestionWindow = field(default_factory=CongestionWindow)
    breaker: Breaker = field(default_factory=Breaker)
    in_flight: int = 0
    """Slots taken."""
    share: int | None = None
    """Maximum slots; None when the endpoint's capacity is unknown."""
    _members: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)
    """Capacity and share of each job."""
    _targets: dict[str, float] = field(default_factory=dict)
    """Fraction of the capacity used, of jobs that follow the endpoint as it scales."""
    _is_coordinated: bool = False
    _grant_timer: asyncio.TimerHandle | None = None
    """Runs while the first grant is waited for."""
    _processes: int = 1
    _n_refusals: int = 0
    last_error: EndpointError | None = None
    """Last error that the endpoint itself may be the cause of."""
    auth_error: AuthError | None = None
    """Error of the credentials after `REFUSALS` consecutive refusals: no call is made any more."""
    _regions: Counter[str] = field(default_factory=Counter)
    _waiting: "dict[str, list[tuple[float, int, asyncio.Future[None]]]]" = field(
        default_factory=dict
    )
    _numbers: Iterator[int] = field(default_factory=count)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    # -- jobs -------------------------------------------------------------------------------------

    def join(
        self,
        job: str,
        capacity: int | None,
        share: int | None,
        *,
        processes: int = 1,
        target: float | None = None,
        is_coordinated: bool = False,
    ) -> None:
        """Register a region of a job.

        Parameters
        ----------
        job
            Name of the job.
        capacity
            Calls that the endpoint can serve in all; None when the job does not know.
        share
            This process's part of it without a coordinator.
        processes
            Number of processes that call the endpoint.
        target
            Fraction of the endpoint's capacity that the job uses; None if it does not follow it.
        is_coordinated
            Whether a coordinator divides the capacity: the first job of the process then has no
            slots before the first grant, or for `GRANT_WAIT_S`.
        """
        if is_coordinated and not self._members and not self._is_coordinated:
            loop = asyncio.get_running_loop()
            self._grant_timer = loop.call_later(GRANT_WAIT_S, self._begin_alone)
        self._processes = processes
        self._regions[job] += 1
        if target is not None:
            self._targets[job] = target
        if job in self._members and target is not None:
            return  # it may have been scaled meanwhile
        self._members[job] = (capacity, share)
        self._adjust()

    def leave(self, job: str) -> None:
        """Remove a region of a job."""
        self._regions[job] -= 1
        if self._regions[job] <= 0:
            del self._regions[job]
            del self._members[job]
            self._targets.pop(job, None)
            if not self._members:
                self._is_coordinated, self.auth_error = False, None
                self._stop_waiting()
            self._adjust()

    def set_capacity(self, capacity: int) -> None:
        """Set the endpoint's present capacity, for the jobs that follow it."""
        for job, fraction in self._targets.items():
            n_calls = target(capacity, fraction)
            before, share = self._members[job]
            if before and share is not None and n_calls != before:
                self._members[job] = (n_calls, max(1, round(share * n_calls / before)))
        self._adjust()

    @property
    def capacity(self) -> int | None:
        """Calls that the endpoint can serve in all: the minimum over the jobs."""
        return min((c for c, _ in self._members.values() if c is not None), default=None)

    def _adjust(self) -> None:
        """Set the limit from the jobs' capacities and shares."""
        capacity = self.capacity
        if capacity is None:
            self._limit(None)
        elif self._is_coordinated and self.share is not None:
            self._limit(min(self.share, capacity))
        elif self.awaits_grant:
            self._limit(0)
        else:
            shares = (share for _, share in self._members.values() if share is not None)
            self._limit(min(shares, default=capacity))

    # -- slots ------------------------------------------------------------------------------------

    @property
    def limit(self) -> int:
        """Number of slots now."""
        return self.window.limit

    async def acquire(self, job: str, *, rank: float = 0.0) -> None:
        """Wait for a slot.

        Parameters
        ----------
        job
            Name of the job that the call belongs to.
        rank
            Place among the calls of this job, the smaller the earlier; first come, first served
            within a rank. Regions that began earlier end earlier then, and less is lost with a
            process that dies.
        """
        if self.in_flight < self.limit and not self._waiting:
            self.in_flight += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._waiting.setdefault(job, []), (rank, next(self._numbers), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            else:
                self._drop(job, turn)
            raise

    def release(self) -> None:
        """Return a slot."""
        self.in_flight -= 1
        self._serve()

    @property
    def is_overfull(self) -> bool:
        """True while more slots are taken than exist now."""
        return self.in_flight > self.limit

    def _serve(self) -> None:
        """Assign the free slots, one job after the other."""
        while self._waiting and self.in_flight < self.limit:
            job = next(iter(self._waiting))
            line = self._waiting.pop(job)
            _, _, turn = heappop(line)
            if line:
                self._waiting[job] = line  # behind all others
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)

    def _drop(self, job: str, turn: "asyncio.Future[None]") -> None:
        line = self._waiting.get(job, [])
        line[:] = [entry for entry in line if entry[2] is not turn]
        heapify(line)
        if not line:
            self._waiting.pop(job, None)

    # -- outcomes ---------------------------------------------------------------------------------

    async def wait_for_breaker(self, deadline: float) -> bool:
        """Wait while the breaker is open; return True to the caller that must probe.

        Parameters
        ----------
        deadline
            End of the wait, on the monotonic clock: then the result is False, and
            `is_unavailable` true.
        """
        while self.breaker.is_open:
            now = monotonic()
            if self.breaker.may_probe(now):
                return True
            if now >= deadline:
                return False
            pause = min(self.breaker.wait_s(now), deadline - now)
            try:
                async with asyncio.timeout(max(pause, 0.001)):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return False

    @property
    def is_unavailable(self) -> bool:
        """True during an outage."""
        return self.breaker.is_open

    def outage_s(self) -> float:
        """Return the seconds since the outage began; 0 without one."""
        return max(0.0, monotonic() - self.breaker.opened_at) if self.is_unavailable else 0.0

    def record_success(self, seconds: float) -> None:
        """Record a successful call."""
        now = monotonic()
        self._n_refusals = 0
        if self.breaker.record_success(now):
            self._resume()
        self.window.record_success(seconds, now, in_flight=self.in_flight)
        self._serve()

    def record_failure(self, error: EndpointError) -> None:
        """Record a call that failed."""
        now, uniform = monotonic(), random.random()  # noqa: S311 - jitter
        self._n_refusals = self._n_refusals + 1 if isinstance(error, AuthError) else 0
        if isinstance(error, AuthError) and self._n_refusals >= REFUSALS:
            self.auth_error = error
        if isinstance(error, CapacityError) or error.reason in {"TIMEOUT", "CONNECT_TIMEOUT"}:
            self.window.record_throttling(now)
        if not is_endpoint_error(error):
            if self.breaker.record_success(now):  # it auth_error this tile, but is available
                self._resume()
            return
        self.last_error = error
        self.breaker.record_failure(
            now,
            round_trip_s=self.window.round_trip_s,
            uniform=uniform,
            is_model_fault=is_model_fault(error),
        )

    def cancel_probe(self) -> None:
        """Record that a probe was cancelled."""
        self.breaker.cancel_probe(monotonic(), random.random())  # noqa: S311 - jitter

    # -- coordinator ------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """True if no job uses the endpoint."""
        return not self._members and not self.in_flight

    def report(self) -> Report:
        """Return the report for the coordinator."""
        alive = monotonic() - self.breaker.last_success
        return Report(
            capacity=self.capacity,
            share=self.share,
            in_flight=self.in_flight,
            waiting=sum(map(len, self._waiting.values())),
            alive_s=alive,
            processes=self._processes,
        )

    def apply_grant(self, grant: Grant) -> None:
        """Apply the coordinator's grant; one that comes after the last job has ended is void."""
        if not self._members:
            return
        self._is_coordinated = True
        self._stop_waiting()
        self.breaker.peers = grant.peers
        if self.capacity is not None:
            self._limit(grant.share)
        if self.breaker.record_peers(grant.alive_s, monotonic()):
            self._resume()
        self._serve()

    @property
    def awaits_grant(self) -> bool:
        """True while no call is made before the coordinator's first grant."""
        return self._grant_timer is not None

    def drop_coordinator(self) -> None:
        """Return to the jobs' own shares, without a coordinator."""
        if self._is_coordinated or self.awaits_grant:
            self._is_coordinated = False
            self._begin_alone()

    def _begin_alone(self) -> None:
        """Use the jobs' own shares."""
        self._stop_waiting()
        self._adjust()

    def _stop_waiting(self) -> None:
        if self._grant_timer is not None:
            self._grant_timer.cancel()
            self._grant_timer = None

    def _limit(self, share: int | None) -> None:
        self.share = share
        self.window.cap(inf if share is None else share)
        self._serve()

    def _resume(self) -> None:
        self.window.restart()
        self._changed.set()
        self._changed = asyncio.Event()


def is_endpoint_error(error: EndpointError) -> bool:
    """Return True if the endpoint may be the cause of an error, not the tile or its answer."""
    return isinstance(error, CapacityError | TransientError | UnreachableError)


def is_model_fault(error: EndpointError) -> bool:
    """Return True if the model itself may have failed, on this tile or on all."""
    return isinstance(error, TransientError) and error.reason in {"HTTP_500", "HTTP_424"}
