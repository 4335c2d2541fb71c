"""Work done in the background: in order within a lane, and tried again until it succeeds."""

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
REST_S, MAX_REST_S = 0.5, 30.0
"""Seconds that a lane rests after its first failure, and at most; each rest is twice the last."""
_JOIN_S = 1.0
log = logging.getLogger(__name__)


@dataclass
class _Lane(Generic[T]):
    """What is to be done in one order."""

    items: deque[T] = field(default_factory=deque)
    rest_s: float = 0.0


class Lanes(Generic[T]):
    """One thread that does what is put into lanes; a lane that fails rests, others go on.

    Parameters
    ----------
    name
        Name of the thread.
    do
        Does one item of a lane; a `DaskmrError` means that it is to be tried again.
    limit
        Most items that wait.
    rest_s
        Seconds of the first and of the longest rest.
    """

    def __init__(
        self,
        name: str,
        do: Callable[[str, T], None],
        *,
        limit: int | None = None,
        rest_s: tuple[float, float] = (REST_S, MAX_REST_S),
    ) -> None:
        self._name, self._do, self._limit = name, do, limit
        self._first_s, self._longest_s = rest_s
        self._lanes: dict[str, _Lane[T]] = {}
        self._due: list[tuple[float, int, str]] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._n_items, self._closing, self._stopped = 0, False, False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, lane: str, item: T, *, share: float = 1.0) -> bool:
        """Add an item at the end of a lane; False when too many wait, or all is over.

        Parameters
        ----------
        share
            Part of the limit that items of this kind may fill.
        """
        with self._changed:
            is_full = self._limit is not None and self._n_items >= self._limit * share
            if self._closing or is_full:
                return False
            held = self._lanes.setdefault(lane, _Lane())
            held.items.append(item)
            self._n_items += 1
            if len(held.items) == 1:
                self._schedule(lane, 0.0)
            return True

    def has(self, lane: str) -> bool:
        """Whether anything of a lane waits or is being done."""
        with self._changed:
            return lane in self._lanes

    @property
    def n_waiting(self) -> int:
        """Items that are not done."""
        with self._changed:
            return self._n_items

    def drain(self, timeout_s: float) -> bool:
        """Wait until all is done; False when it is not within so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._lanes, max(0.0, timeout_s))

    def close(self, timeout_s: float) -> bool:
        """Take nothing more, try what rests at once, and end after so many seconds at most."""
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
                self._do(lane, self._lanes[lane].items[0])
            except (DaskmrError, OSError) as raised:
                error = raised
            self._done(lane, error)

    def _next(self) -> str | None:
        """The lane whose turn it is; waits for one, None at the end."""
        with self._changed:
            while not self._stopped:
                if self._due and self._due[0][0] <= monotonic():
                    return heapq.heappop(self._due)[2]
                if self._closing and not self._lanes:
                    return None
                self._changed.wait(self._due[0][0] - monotonic() if self._due else None)
            return None

    def _done(self, lane: str, error: Exception | None) -> None:
        with self._changed:
            held = self._lanes[lane]
            if error is not None:
                level = logging.DEBUG if held.rest_s else logging.WARNING
                log.log(level, "%s: %s has to wait: %s", self._name, lane, error)
                held.rest_s = min(self._longest_s, max(self._first_s, 2 * held.rest_s))
                self._schedule(lane, held.rest_s)
                return
            held.items.popleft()
            held.rest_s = 0.0
            self._n_items -= 1
            if held.items:
                self._schedule(lane, 0.0)
            else:
                del self._lanes[lane]
            self._changed.notify_all()

    def _schedule(self, lane: str, in_s: float) -> None:
        heapq.heappush(self._due, (monotonic() + in_s, next(self._numbers), lane))
        self._changed.notify_all()
