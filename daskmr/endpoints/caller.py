"""Calls of endpoints from any thread, on one event loop of each process."""

import asyncio
import atexit
import logging
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
from daskmr.endpoints.base import Closing, ControlPlane, Endpoint, Refreshing
from daskmr.endpoints.limiter import GIVE_UP_FAULTS_S, Limiter, is_endpoint_error, is_model_fault
from daskmr.endpoints.shares import Grant, Report
from daskmr.errors import AuthError, EndpointError

T = TypeVar("T")
log = logging.getLogger(__name__)
_RANKS = count()
_LISTENERS: list[Callable[[], None]] = []
_JOIN_S = 5.0
CAPACITY_EVERY_S = 60.0
"""Seconds between queries of the capacity of an endpoint that may scale."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of an endpoint."""

    answer: Answer
    """Its body and media type."""
    attempts: int
    """Number of calls made."""
    seconds: float
    """Duration of the successful call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Limits of one job's use of an endpoint."""

    job: str
    """Name of the job: slots go to jobs in turn."""
    capacity: int | None = None
    """Calls that the endpoint can serve in all; None: measured."""
    share: int | None = None
    """This process's part of the capacity without a coordinator; None: it has no limit."""
    processes: int = 1
    """Number of processes that call the endpoint."""
    is_coordinated: bool = False
    """Whether a coordinator divides the capacity among processes."""
    target: float | None = None
    """Fraction of the capacity that is used, of an endpoint whose control plane is polled; None for
    a capacity set by the user."""
    patience_s: float = PATIENCE_S
    """Seconds for which a tile waits for an endpoint that is busy or unreachable."""


@dataclass
class Caller:
    """One region's calls of one endpoint, with retries; use it in a ``with`` block.

    A call keeps its slot while it waits for its next attempt, so that an endpoint in trouble gets
    fewer calls, not more. The endpoint is closed with the process's loop, see
    `daskmr.endpoints.base.Closing`.
    """

    endpoint: Endpoint
    """The endpoint to call."""
    terms: Terms
    """Limits of the job."""
    _channel: "_Channel" = field(init=False)
    _rank: int = field(init=False)

    def __enter__(self) -> "Caller":
        self._rank = next(_RANKS)
        self._channel = _channel(os.getpid(), self.endpoint.name)
        self._channel.loop.close_at_end(self.endpoint)
        terms = self.terms
        if terms.target is not None and isinstance(self.endpoint, ControlPlane):
            self._channel.watch_capacity(self.endpoint)
        self._channel.call_limiter(
            lambda it: it.join(
                terms.job,
                terms.capacity,
                terms.share,
                processes=terms.processes,
                target=terms.target,
                is_coordinated=terms.is_coordinated,
            )
        )
        if self._channel.limiter.awaits_grant:
            for listener in _LISTENERS:
                listener()
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.call_limiter(lambda it: it.leave(self.terms.job))

    @property
    def limit(self) -> int:
        """Maximum calls in flight of this process now."""
        return self._channel.limiter.limit

    def submit(self, payload: bytes, content_type: str) -> "Future[Reply]":
        """Start a call; the future ends with a `Reply`, or with an EndpointError.

        The error's ``attempts`` is the number of calls made. Cancelling the future ends the call.
        """
        return self._channel.loop.run(self._call(payload, content_type))

    async def _call(self, payload: bytes, content_type: str) -> Reply:
        limiter = self._channel.limiter
        await limiter.acquire(self.terms.job, rank=self._rank)
        try:
            return await _Call(self, limiter, payload, content_type).run()
        finally:
            limiter.release()


@dataclass
class _Call:
    """The attempts at one tile; it holds a slot of the limiter."""

    caller: Caller
    limiter: Limiter
    payload: bytes
    content_type: str
    n_failed: int = 0
    """Attempts that failed."""
    n_spent: Counter[type[EndpointError]] = field(default_factory=Counter)
    """Attempts that count towards the limit, by kind of error; cleared after an outage."""
    n_refreshed: int = 0

    async def run(self) -> Reply:
        """Call until there is an answer, or an error that another attempt cannot help."""
        deadline = monotonic() + self.caller.terms.patience_s
        last_error: EndpointError | None = None
        while True:
            is_probe = await self._wait_until_available(deadline, last_error)
            started = monotonic()
            try:
                answer = await self._attempt()
            except EndpointError as error:
                last_error = error
                self.n_failed += 1
                await self._wait_for_retry(error, deadline)
            except BaseException:  # cancelled, or a fault of the endpoint's own code
                if is_probe:
                    self.limiter.cancel_probe()
                raise
            else:
                seconds = monotonic() - started
                self.limiter.record_success(seconds)
                return Reply(answer, self.n_failed + 1, seconds)

    async def _wait_until_available(
        self, deadline: float, last_error: EndpointError | None
    ) -> bool:
        """Wait until the endpoint may be called; return True if this call is a probe.

        Every tile is sent at least once, even after the deadline, so that none fails because of
        others' errors.
        """
        if self.limiter.auth_error is not None:
            raise self._final_error(self.limiter.auth_error)
        if not self.limiter.is_unavailable:
            return False
        error = last_error or self.limiter.last_error
        patience_s = self.caller.terms.patience_s
        if error is not None and is_model_fault(error):
            patience_s = min(patience_s, GIVE_UP_FAULTS_S)
        end = min(deadline, monotonic() + patience_s - self.limiter.outage_s())
        is_probe = await self.limiter.wait_for_breaker(end)
        is_unavailable: bool = self.limiter.is_unavailable
        if not is_probe and is_unavailable and last_error is not None:
            raise self._final_error(last_error)
        if not is_unavailable:
            self.n_spent.clear()
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

    async def _wait_for_retry(self, error: EndpointError, deadline: float) -> None:
        """Wait for the next attempt, or raise when there is none."""
        self.limiter.record_failure(error)
        if self.limiter.is_unavailable and is_endpoint_error(error):
            return  # all calls wait in `_wait_until_available`
        self.n_spent[type(error)] += 1
        wait_s = delay_s(
            error,
            self.n_spent[type(error)],
            random.random(),  # noqa: S311 - jitter
            round_trip_s=self.limiter.window.round_trip_s,
        )
        if wait_s is None or monotonic() + wait_s > deadline:
            raise self._final_error(error)
        await asyncio.sleep(wait_s)
        if self.limiter.is_overfull and not self.limiter.is_unavailable:
            self.limiter.release()
            await self._reacquire()

    async def _reacquire(self) -> None:
        try:
            await self.limiter.acquire(self.caller.terms.job, rank=-inf)
        except asyncio.CancelledError:
            self.limiter.in_flight += 1  # the slot that `Caller` releases
            raise

    def _final_error(self, error: EndpointError) -> EndpointError:
        """Return a copy of the error for this tile; other tiles may fail with the same one."""
        final = copy(error)
        final.attempts = self.n_failed
        return final


@dataclass
class _Channel:
    """A process's loop and limiter of one endpoint."""

    loop: "_Loop"
    limiter: Limiter
    is_watched: bool = False

    def call_limiter(self, act: Callable[[Limiter], None]) -> None:
        """Call a function of the limiter on its loop, and wait for it."""
        self.loop.run(_apply(act, self.limiter)).result()

    def watch_capacity(self, endpoint: ControlPlane) -> None:
        """Poll the endpoint's capacity from now on; once is enough."""
        with _LOCK:
            if self.is_watched:
                return
            self.is_watched = True
        self.loop.run(self._poll_capacity(endpoint))

    async def _poll_capacity(self, endpoint: ControlPlane) -> None:
        while True:
            await asyncio.sleep(CAPACITY_EVERY_S * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            if not self.limiter.is_idle:
                capacity = await asyncio.to_thread(endpoint.capacity)
                if capacity is not None:
                    self.limiter.set_capacity(capacity)


async def _apply(act: Callable[[Limiter], T], limiter: Limiter) -> T:
    return act(limiter)


def reports() -> dict[str, Report]:
    """Return this process's report of each endpoint that a job uses; from any thread."""
    channels = {name: it for (pid, name), it in list(_CHANNELS.items()) if pid == os.getpid()}
    return {name: it.limiter.report() for name, it in channels.items() if not it.limiter.is_idle}


def on_join(listener: Callable[[], None]) -> None:
    """Call *listener* whenever a region has to wait for a first grant; from any thread."""
    _LISTENERS.append(listener)


def apply_grant(name: str, grant: Grant | None) -> "Future[None]":
    """Apply the coordinator's grant to an endpoint's limiter; None: there is no coordinator.

    Returns
    -------
    concurrent.futures.Future
        Done when it is applied. A report that is made before that would tell an older share.
    """
    channel = _CHANNELS[os.getpid(), name]

    def act(limiter: Limiter) -> None:
        limiter.drop_coordinator() if grant is None else limiter.apply_grant(grant)

    return channel.loop.run(_apply(act, channel.limiter))


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._endpoints: set[Closing] = set()
        self._thread = threading.Thread(target=self._serve, name="daskmr-endpoints", daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def run(self, call: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    def call(self, act: Callable[..., object], *args: object) -> None:
        self._loop.call_soon_threadsafe(act, *args)

    def close_at_end(self, endpoint: object) -> None:
        """Close an endpoint once the loop stops; equal ones are closed once."""
        if isinstance(endpoint, Closing):
            self.call(self._endpoints.add, endpoint)

    def stop(self) -> None:
        """Cancel the calls, close the endpoints and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_JOIN_S)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        pending = asyncio.all_tasks(self._loop)
        for task in pending:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        closing = (endpoint.close() for endpoint in self._endpoints)
        results = self._loop.run_until_complete(asyncio.gather(*closing, return_exceptions=True))
        for error in filter(None, results):
            log.warning("endpoint was not closed: %r", error)
        self._loop.close()


_LOCK = threading.Lock()
_LOOPS: dict[int, _Loop] = {}
_CHANNELS: dict[tuple[int, str], _Channel] = {}
if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(
        before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release
    )


def _channel(pid: int, name: str) -> _Channel:
    """Return a process's only channel to an endpoint; a forked child has its own."""
    with _LOCK:
        if pid not in _LOOPS:
            _LOOPS[pid] = _Loop()
        if (pid, name) not in _CHANNELS:
            _CHANNELS[pid, name] = _Channel(_LOOPS[pid], Limiter())
        return _CHANNELS[pid, name]
