"""A queue of background work: in order within a lane, and retried until it succeeds.

Our own: one thread serves all lanes, so a pause is a time in a heap, not a sleep of a library.
"""

import heapq
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Generic, TypeVar

from daskmr.errors import DaskmrError

T = TypeVar("T")
BACKOFF_S, MAX_BACKOFF_S = 0.5, 30.0
"""Seconds that a lane pauses after its first failure, and at most; each pause doubles."""
_JOIN_S = 1.0
log = logging.getLogger(__name__)


@dataclass
class _Lane(Generic[T]):
    """Items that are processed in order."""

    items: deque[T] = field(default_factory=deque)
    pause_s: float = 0.0


class RetryQueue(Generic[T]):
    """One thread that processes the items of lanes; a lane that fails pauses, others go on.

    Parameters
    ----------
    name
        Name of the thread.
    process
        Called with a lane and its first item; after a `DaskmrError` or `OSError` it is retried.
    limit
        Maximal number of waiting items; None for any.
    backoff_s
        Seconds of the first and of the longest pause.
    """

    def __init__(
        self,
        name: str,
        process: Callable[[str, T], None],
        *,
        limit: int | None = None,
        backoff_s: tuple[float, float] = (BACKOFF_S, MAX_BACKOFF_S),
    ) -> None:
        self._name, self._process, self._limit = name, process, limit
        self._backoff_s, self._max_backoff_s = backoff_s
        self._lanes: dict[str, _Lane[T]] = {}
        self._due: list[tuple[float, int, str]] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._n_items, self._closing, self._stopped = 0, False, False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, lane: str, item: T, *, share: float = 1.0) -> bool:
        """Append an item to a lane; return False if the queue is full or closed.

        Parameters
        ----------
        lane
            Name of the lane.
        item
            The item.
        share
            Part of the limit up to which this item is accepted.
        """
        with self._changed:
            is_full = self._limit is not None and self._n_items >= self._limit * share
            if self._closing or is_full:
                return False
            items = self._lanes.setdefault(lane, _Lane()).items
            items.append(item)
            self._n_items += 1
            if len(items) == 1:
                self._schedule(lane, 0.0)
            return True

    def has(self, lane: str) -> bool:
        """Return True if an item of a lane waits or is being processed."""
        with self._changed:
            return lane in self._lanes

    @property
    def n_waiting(self) -> int:
        """Number of items that were not processed."""
        with self._changed:
            return self._n_items

    def drain(self, timeout_s: float) -> bool:
        """Wait until the queue is empty; return False after *timeout_s* seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._lanes, max(0.0, timeout_s))

    def close(self, timeout_s: float) -> bool:
        """Accept no more items, retry paused lanes at once, and end within *timeout_s* seconds."""
        with self._changed:
            self._closing = True
            self._due = [(0.0, number, lane) for _, number, lane in self._due]
            heapq.heapify(self._due)
            self._changed.notify_all()
        is_done = self.drain(0.0 if self._stopped else timeout_s)
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(_JOIN_S)
        return is_done

    def _run(self) -> None:
        while (lane := self._next()) is not None:
            error: Exception | None = None
            try:
                self._process(lane, self._lanes[lane].items[0])
            except (DaskmrError, OSError) as raised:
                error = raised
            self._finish(lane, error)

    def _next(self) -> str | None:
        """Wait for the next lane that is due; return None at the end."""
        with self._changed:
            while not self._stopped:
                if self._due and self._due[0][0] <= monotonic():
                    return heapq.heappop(self._due)[2]
                if self._closing and not self._lanes:
                    return None
                self._changed.wait(self._due[0][0] - monotonic() if self._due else None)
            return None

    def _finish(self, name: str, error: Exception | None) -> None:
        with self._changed:
            lane = self._lanes[name]
            if error is not None:
                level = logging.DEBUG if lane.pause_s else logging.WARNING
                log.log(level, "%s: %s has to wait: %s", self._name, name, error)
                lane.pause_s = min(self._max_backoff_s, max(self._backoff_s, 2 * lane.pause_s))
                self._schedule(name, lane.pause_s)
                return
            lane.items.popleft()
            lane.pause_s = 0.0
            self._n_items -= 1
            if lane.items:
                self._schedule(name, 0.0)
            else:
                del self._lanes[name]
            self._changed.notify_all()

    def _schedule(self, lane: str, delay_s: float) -> None:
        heapq.heappush(self._due, (monotonic() + delay_s, next(self._numbers), lane))
        self._changed.notify_all()
