"""How many calls of an endpoint one process has in flight, and whose turn it is."""

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
from daskmr.endpoints._breaker import Breaker
from daskmr.endpoints._congestion import Congestion
from daskmr.endpoints.shares import Grant, Report
from daskmr.errors import AuthError, CapacityError, EndpointError, TransientError, UnreachableError

REFUSALS = 10
"""Calls in a row whose credentials are refused, until no further one is made for these jobs."""
GIVE_UP_FAULTS_S = 120.0
"""Seconds after which a model that answers nothing but faults is given up."""


@dataclass
class Limiter:
    """Slots for calls of one endpoint; lives on one event loop.

    Slots are handed to jobs in turn, so that a large job does not keep a small one waiting. Their
    number follows the share of a known capacity and what the endpoint turns away. While the
    endpoint answers nobody, all wait but for a probe.
    """

    congestion: Congestion = field(default_factory=Congestion)
    breaker: Breaker = field(default_factory=Breaker)
    in_flight: int = 0
    """Slots taken."""
    share: int | None = None
    """Most slots, where the endpoint's capacity is known."""
    _members: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)
    """Capacity and share that each job says."""
    _following: dict[str, float] = field(default_factory=dict)
    """Jobs that follow the endpoint as it scales, and the part of it that they use."""
    _is_coordinated: bool = False
    _processes: int = 1
    _n_refusals: int = 0
    trouble: EndpointError | None = None
    """How the endpoint last failed to answer anything."""
    refused: AuthError | None = None
    """Set once our credentials were refused again and again: nobody needs to ask any more."""
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
    ) -> None:
        """A region of a job begins.

        Parameters
        ----------
        job
            Name of the job.
        capacity
            Calls that the endpoint stands in all, as the job knows it; None when it does not.
        share
            This process's part of it, until somebody divides it better.
        processes
            Processes that began with a share.
        target
            Part of the endpoint's capacity that the job uses, when it follows it.
        """
        self._processes = processes
        self._regions[job] += 1
        if target is not None:
            self._following[job] = target
        if job in self._members and target is not None:
            return  # it may have been scaled meanwhile
        self._members[job] = (capacity, share)
        self._adjust()

    def leave(self, job: str) -> None:
        """A region of a job ended."""
        self._regions[job] -= 1
        if self._regions[job] <= 0:
            del self._regions[job]
            del self._members[job]
            self._following.pop(job, None)
            if not self._members:
                self._is_coordinated, self.refused = False, None
            self._adjust()

    def scaled(self, most: int) -> None:
        """The endpoint was found to stand that many calls now; jobs that follow it do."""
        for job, part in self._following.items():
            capacity = target(most, part)
            before, share = self._members[job]
            if before and share is not None and capacity != before:
                self._members[job] = (capacity, max(1, round(share * capacity / before)))
        self._adjust()

    @property
    def capacity(self) -> int | None:
        """Calls that the endpoint stands in all: the least that a job says."""
        return min((c for c, _ in self._members.values() if c is not None), default=None)

    def _adjust(self) -> None:
        """Follow what the jobs say."""
        capacity = self.capacity
        if capacity is None:
            self._limit(None)
        elif self._is_coordinated and self.share is not None:
            self._limit(min(self.share, capacity))
        else:
            shares = (share for _, share in self._members.values() if share is not None)
            self._limit(min(shares, default=capacity))

    # -- slots ------------------------------------------------------------------------------------

    @property
    def limit(self) -> int:
        """Slots there are now."""
        return self.congestion.limit

    async def take(self, job: str, *, rank: float = 0.0) -> None:
        """Wait for a slot.

        Parameters
        ----------
        job
            Whose turn it must be.
        rank
            Place among the calls of this job, the smaller the earlier; those of one rank are served
            as they came. Regions that began earlier end earlier then, and less is lost with a
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
                self.give()
            else:
                self._drop(job, turn)
            raise

    def give(self) -> None:
        """Give a slot back."""
        self.in_flight -= 1
        self._serve()

    @property
    def is_overfull(self) -> bool:
        """Whether more slots are taken than there are now."""
        return self.in_flight > self.limit

    def _serve(self) -> None:
        """Hand out the free slots, one job after the other."""
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

    async def open_door(self, deadline: float) -> bool:
        """Wait while the endpoint answers nobody; True for the one that is to find out.

        Parameters
        ----------
        deadline
            When to stop waiting, on the monotonic clock: then it is False, and `is_away` true.
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
    def is_away(self) -> bool:
        """Whether the endpoint answers nobody."""
        return self.breaker.is_open

    def away_s(self) -> float:
        """Seconds for which the endpoint has answered nobody; 0 when it does."""
        return max(0.0, monotonic() - self.breaker.opened_at) if self.is_away else 0.0

    def answered(self, seconds: float) -> None:
        """A call came back, be it with a refusal of this tile."""
        now = monotonic()
        self._n_refusals = 0
        if self.breaker.succeeded(now):
            self._resume()
        self.congestion.succeeded(seconds, now, in_flight=self.in_flight)
        self._serve()

    def failed(self, error: EndpointError) -> None:
        """A call came back with nothing, or with word that the endpoint is busy."""
        now, uniform = monotonic(), random.random()  # noqa: S311 - jitter
        self._n_refusals = self._n_refusals + 1 if isinstance(error, AuthError) else 0
        if isinstance(error, AuthError) and self._n_refusals >= REFUSALS:
            self.refused = error
        if isinstance(error, CapacityError):
            self.congestion.throttled(now)
        if not can_pass(error):
            if self.breaker.succeeded(now):  # it refused this tile, but it is there
                self._resume()
            return
        self.trouble = error
        self.breaker.failed(
            now,
            round_trip_s=self.congestion.round_trip_s,
            uniform=uniform,
            fault=is_fault(error),
        )

    def abandoned(self) -> None:
        """A probe was cancelled."""
        self.breaker.abandoned(monotonic(), random.random())  # noqa: S311 - jitter

    # -- the others -------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether no job uses the endpoint."""
        return not self._members and not self.in_flight

    def report(self) -> Report:
        """What the coordinator is told."""
        alive = monotonic() - self.breaker.last_success
        return Report(
            capacity=self.capacity,
            share=self.share,
            in_flight=self.in_flight,
            waiting=sum(map(len, self._waiting.values())),
            alive_s=alive,
            processes=self._processes,
        )

    def granted(self, grant: Grant) -> None:
        """What the coordinator says."""
        self._is_coordinated = True
        self.breaker.peers = grant.peers
        if self.capacity is not None:
            self._limit(grant.share)
        if self.breaker.heard(grant.alive_s, monotonic()):
            self._resume()
        self._serve()

    def alone(self) -> None:
        """There is no coordinator any more."""
        if self._is_coordinated:
            self._is_coordinated = False
            self._adjust()

    def _limit(self, share: int | None) -> None:
        self.share = share
        self.congestion.cap(inf if share is None else share)
        self._serve()

    def _resume(self) -> None:
        self.congestion.restart()
        self._changed.set()
        self._changed = asyncio.Event()


def can_pass(error: EndpointError) -> bool:
    """Whether the endpoint, and not the tile or its answer, may be the trouble."""
    return isinstance(error, CapacityError | TransientError | UnreachableError)


def is_fault(error: EndpointError) -> bool:
    """Whether the model itself may have failed, on this tile or on all."""
    return isinstance(error, TransientError) and error.reason in {"HTTP_500", "HTTP_424"}
