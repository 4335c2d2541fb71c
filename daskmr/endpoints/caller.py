"""Calls of endpoints from any thread: one event loop for each process, many calls in flight."""

import asyncio
import atexit
import os
import random
import threading
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from time import monotonic
from typing import Any

from daskmr.endpoints._retry import DEADLINE_S, delay_s
from daskmr.endpoints.base import Endpoint
from daskmr.endpoints.http import close_sessions
from daskmr.errors import EndpointError

_JOIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of an endpoint."""

    body: bytes
    """What it said."""
    attempts: int
    """Calls that were made."""
    seconds: float
    """Time of the call that succeeded."""


@dataclass
class Caller:
    """Calls one endpoint, with retries, never more at once than this process's share.

    A call keeps its place while it waits for its next attempt, so that an endpoint in trouble is
    asked less, not more.
    """

    endpoint: Endpoint
    """Whom to call."""
    share: int
    """Most calls in flight from this process."""

    def __post_init__(self) -> None:
        """Make room for the share."""
        self._slots = asyncio.Semaphore(self.share)

    def submit(self, payload: bytes, content_type: str) -> "Future[Reply]":
        """Begin a call; the future ends with a `Reply`, or with an EndpointError.

        The error's ``attempts`` says how many calls were made. Cancelling the future ends the call.
        """
        return _loop(os.getpid()).run(self._call(payload, content_type))

    async def _call(self, payload: bytes, content_type: str) -> Reply:
        async with self._slots:
            deadline = monotonic() + DEADLINE_S
            failures = Counter[type[EndpointError]]()
            while True:
                started = monotonic()
                try:
                    body = await self.endpoint.invoke(payload, content_type=content_type)
                except EndpointError as error:
                    failures[type(error)] += 1
                    wait_s = delay_s(error, failures[type(error)], random.random())  # noqa: S311
                    if wait_s is None or monotonic() + wait_s > deadline:
                        error.attempts = failures.total()
                        raise
                    await asyncio.sleep(wait_s)
                else:
                    return Reply(body, failures.total() + 1, monotonic() - started)


def caller(endpoint: Endpoint, *, share: int) -> Caller:
    """The process's one caller of an endpoint; a forked child does not use its parent's."""
    with _LOCK:
        return _CALLERS.setdefault((os.getpid(), endpoint, share), Caller(endpoint, share))


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="daskmr-endpoints", daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def run(self, call: Coroutine[Any, Any, Reply]) -> "Future[Reply]":
        return asyncio.run_coroutine_threadsafe(call, self._loop)

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
_CALLERS: dict[tuple[int, Endpoint, int], Caller] = {}
os.register_at_fork(
    before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release
)


def _loop(pid: int) -> _Loop:
    """The loop of a process; a forked child does not use its parent's."""
    with _LOCK:
        if pid not in _LOOPS:
            _LOOPS[pid] = _Loop()
        return _LOOPS[pid]
