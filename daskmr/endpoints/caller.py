"""Calls of endpoints from any thread: one event loop for each process, many calls in flight."""

import asyncio
import atexit
import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from copy import copy
from dataclasses import dataclass, field
from itertools import count
from math import inf
from time import monotonic
from typing import Any, TypeVar

from daskmr.core.wire import Answer
from daskmr.endpoints._retry import PATIENCE_S, delay_s
from daskmr.endpoints._wire import close_sessions
from daskmr.endpoints.base import ControlPlane, Endpoint, Refreshing
from daskmr.endpoints.limiter import GIVE_UP_FAULTS_S, Limiter, can_pass, is_fault
from daskmr.endpoints.shares import Grant, Report
from daskmr.errors import AuthError, EndpointError

T = TypeVar("T")
_RANKS = count()
_JOIN_S = 5.0
LOOK_EVERY_S = 60.0
"""Seconds between looks at the capacity of an endpoint that may scale."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of an endpoint."""

    answer: Answer
    """What it said."""
    attempts: int
    """Calls that were made."""
    seconds: float
    """Time of the call that succeeded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a job may use an endpoint."""

    job: str
    """Name of the job: jobs take turns."""
    capacity: int | None = None
    """Calls that the endpoint stands in all; None: found by trying."""
    share: int | None = None
    """This process's part of it to begin with; None without a capacity."""
    processes: int = 1
    """Processes that began with a share."""
    target: float | None = None
    """Part of the capacity that is used, when the control plane is asked again as it changes; None
    for a capacity that the user gave."""
    patience_s: float = PATIENCE_S
    """Seconds for which a tile waits for an endpoint that is busy or away."""


@dataclass
class Caller:
    """One region's calls of one endpoint, with retries; use it in a ``with`` block.

    A call keeps its slot while it waits for its next attempt, so that an endpoint in trouble is
    asked less, not more.
    """

    endpoint: Endpoint
    """Whom to call."""
    terms: Terms
    """How."""
    _line: "_Line" = field(init=False)
    _rank: int = field(init=False)

    def __enter__(self) -> "Caller":
        self._rank = next(_RANKS)
        self._line = _line(os.getpid(), self.endpoint.name)
        terms = self.terms
        if terms.target is not None and isinstance(self.endpoint, ControlPlane):
            self._line.follow(self.endpoint)
        self._line.tell(
            lambda it: it.join(
                terms.job,
                terms.capacity,
                terms.share,
                processes=terms.processes,
                target=terms.target,
            )
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._line.tell(lambda it: it.leave(self.terms.job))

    @property
    def limit(self) -> int:
        """Calls that this process may have in flight now."""
        return self._line.limiter.limit

    def submit(self, payload: bytes, content_type: str) -> "Future[Reply]":
        """Begin a call; the future ends with a `Reply`, or with an EndpointError.

        The error's ``attempts`` says how many calls were made. Cancelling the future ends the call.
        """
        return self._line.loop.run(self._call(payload, content_type))

    async def _call(self, payload: bytes, content_type: str) -> Reply:
        limiter = self._line.limiter
        await limiter.take(self.terms.job, rank=self._rank)
        try:
            return await _Attempts(self, limiter, payload, content_type).run()
        finally:
            limiter.give()


@dataclass
class _Attempts:
    """The attempts at one tile; it holds a slot of the limiter."""

    caller: Caller
    limiter: Limiter
    payload: bytes
    content_type: str
    n_failed: int = 0
    """Attempts that failed."""
    spent: Counter[type[EndpointError]] = field(default_factory=Counter)
    """Those that count, by kind: what an outage took is given back."""
    n_refreshed: int = 0

    async def run(self) -> Reply:
        """Attempt until there is an answer, or an error that no further attempt can help."""
        deadline = monotonic() + self.caller.terms.patience_s
        last: EndpointError | None = None
        while True:
            is_probe = await self._permission(deadline, last)
            started = monotonic()
            try:
                answer = await self._attempt()
            except EndpointError as error:
                last = error
                self.n_failed += 1
                await self._pause(error, deadline)
            except BaseException:  # cancelled, or a fault of the endpoint's own code
                if is_probe:
                    self.limiter.abandoned()
                raise
            else:
                seconds = monotonic() - started
                self.limiter.answered(seconds)
                return Reply(answer, self.n_failed + 1, seconds)

    async def _permission(self, deadline: float, last: EndpointError | None) -> bool:
        """Wait until the endpoint may be asked; True when this call is a probe.

        When patience ends, a tile that was never asked about is asked about once all the same: none
        fails for what happened to others.
        """
        if self.limiter.refused is not None:
            raise self._given_up(self.limiter.refused)
        if not self.limiter.is_away:
            return False
        trouble = last or self.limiter.trouble
        patience_s = self.caller.terms.patience_s
        if trouble is not None and is_fault(trouble):
            patience_s = min(patience_s, GIVE_UP_FAULTS_S)
        end = min(deadline, monotonic() + patience_s - self.limiter.away_s())
        is_probe = await self.limiter.open_door(end)
        still_away: bool = self.limiter.is_away
        if not is_probe and still_away and last is not None:
            raise self._given_up(last)
        if not still_away:
            self.spent.clear()
        return is_probe

    async def _attempt(self) -> Answer:
        endpoint = self.caller.endpoint
        try:
            return await endpoint.invoke(self.payload, content_type=self.content_type)
        except AuthError:
            if self.n_refreshed or not isinstance(endpoint, Refreshing):
                raise
            self.n_refreshed += 1
            self.n_failed += 1
            await endpoint.refresh()
            return await self._attempt()

    async def _pause(self, error: EndpointError, deadline: float) -> None:
        """Wait for the next attempt, or give up."""
        self.limiter.failed(error)
        if self.limiter.is_away and can_pass(error):
            return  # to wait with all others
        self.spent[type(error)] += 1
        wait_s = delay_s(
            error,
            self.spent[type(error)],
            random.random(),  # noqa: S311 - jitter
            round_trip_s=self.limiter.congestion.round_trip_s,
        )
        if wait_s is None or monotonic() + wait_s > deadline:
            raise self._given_up(error)
        await asyncio.sleep(wait_s)
        if self.limiter.is_overfull and not self.limiter.is_away:
            self.limiter.give()
            await self._take_again()

    async def _take_again(self) -> None:
        try:
            await self.limiter.take(self.caller.terms.job, rank=-inf)
        except asyncio.CancelledError:
            self.limiter.in_flight += 1  # the one that `Caller` gives back
            raise

    def _given_up(self, error: EndpointError) -> EndpointError:
        """The error for this tile; others may be given up for the same one."""
        own = copy(error)
        own.attempts = self.n_failed
        return own


@dataclass
class _Line:
    """A process's way to one endpoint."""

    loop: "_Loop"
    limiter: Limiter
    is_followed: bool = False

    def tell(self, act: Callable[[Limiter], None]) -> None:
        """Do something with the limiter, on its loop."""
        self.loop.run(_done(act, self.limiter)).result()

    def follow(self, endpoint: ControlPlane) -> None:
        """Look from time to time how many calls the endpoint stands by now."""
        with _LOCK:
            if self.is_followed:
                return
            self.is_followed = True
        self.loop.run(self._following(endpoint))

    async def _following(self, endpoint: ControlPlane) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            if not self.limiter.is_idle:
                found = await asyncio.to_thread(endpoint.capacity)
                if found is not None:
                    self.limiter.scaled(found)


async def _done(act: Callable[[Limiter], T], limiter: Limiter) -> T:
    return act(limiter)


def reports() -> dict[str, Report]:
    """What this process has to say of each endpoint that a job uses; from any thread."""
    lines = {name: line for (pid, name), line in list(_LINES.items()) if pid == os.getpid()}
    return {name: line.limiter.report() for name, line in lines.items() if not line.limiter.is_idle}


def grant(name: str, granted: Grant | None) -> None:
    """Pass on what the coordinator granted for an endpoint; None when there is none any more."""
    line = _LINES.get((os.getpid(), name))
    if line is None:
        return
    limiter = line.limiter
    line.loop.call(limiter.alone) if granted is None else line.loop.call(limiter.granted, granted)


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="daskmr-endpoints", daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def run(self, call: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    def call(self, act: Callable[..., object], *args: object) -> None:
        self._loop.call_soon_threadsafe(act, *args)

    def stop(self) -> None:
        """Close clients and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_JOIN_S)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        pending = asyncio.all_tasks(self._loop)
        for task in pending:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        self._loop.run_until_complete(close_sessions())
        self._loop.close()


_LOCK = threading.Lock()
_LOOPS: dict[int, _Loop] = {}
_LINES: dict[tuple[int, str], _Line] = {}
os.register_at_fork(
    before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release
)


def _line(pid: int, name: str) -> _Line:
    """A process's one way to an endpoint; a forked child does not use its parent's."""
    with _LOCK:
        if pid not in _LOOPS:
            _LOOPS[pid] = _Loop()
        if (pid, name) not in _LINES:
            _LINES[pid, name] = _Line(_LOOPS[pid], Limiter())
        return _LINES[pid, name]
