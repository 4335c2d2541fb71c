"""Takes events of jobs to the channels, in the background; nothing of it ever reaches a job.

An event is kept in the folder of its job first (`daskmr.status._outbox`), then said by every
channel, of one job in order, at least once, however long a channel is away. What a process leaves
behind, the next one that takes up the job says.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Self

from daskmr.core.events import Status, StatusEvent
from daskmr.errors import PermanentError
from daskmr.status._lanes import MAX_REST_S, REST_S, Lanes
from daskmr.status._outbox import Outbox, mark, read
from daskmr.status.base import Shelf, StatusChannel

LIMIT = 2000
"""Most events that wait to be kept; half of it for those that are not the end of anything."""
CLOSE_S = 10.0
"""Seconds that are waited for channels at the end."""
_BOXES = 256
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Letter:
    """Something to do about a job: keep an event, or only look what waits."""

    shelf: Shelf
    event: StatusEvent | None


class Courier:
    """Says events of all jobs of a process; use it in a ``with`` block.

    Parameters
    ----------
    channels
        Where events are said; they do not wait for each other.
    limit
        Most events that wait to be kept; more are dropped, and logged.
    rest_s
        Seconds of the first and of the longest rest of what fails.
    """

    def __init__(
        self,
        channels: Sequence[StatusChannel],
        *,
        limit: int = LIMIT,
        rest_s: tuple[float, float] = (REST_S, MAX_REST_S),
    ) -> None:
        self._boxes: dict[str, Outbox] = {}
        self._rounds = [_Round(channel, rest_s=rest_s) for channel in channels]
        self._keeping: Lanes[_Letter] = Lanes(
            "daskmr-outbox", self._keep, limit=limit, rest_s=rest_s
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def post(self, shelf: Shelf, event: StatusEvent) -> bool:
        """Say an event; returns at once, never raises; False when it was dropped.

        Parameters
        ----------
        shelf
            Folder of the job, such as `daskmr.store.JobFolder.place`.
        """
        matters = not event.region_id and event.status is not Status.IN_PROGRESS
        is_taken = self._keeping.put(
            shelf.url, _Letter(shelf, event), share=1.0 if matters else 0.5
        )
        if not is_taken:
            log.log(
                logging.ERROR if matters else logging.WARNING,
                "event dropped: %s of job %s: too many wait, or the courier is closed",
                event.status,
                event.job_id,
            )
        return is_taken

    def resume(self, shelf: Shelf) -> bool:
        """Say what an earlier process could not say of a job; as `post`."""
        return self._keeping.put(shelf.url, _Letter(shelf, None), share=0.5)

    def has_said(self, shelf: Shelf) -> bool:
        """Whether nothing of a job waits to be kept or said."""
        is_kept = not self._keeping.has(shelf.url)  # first: what is kept is with the channels then
        return is_kept and not any(way.lanes.has(shelf.url) for way in self._rounds)

    @property
    def n_waiting(self) -> int:
        """Events that some channel has not said, each counted once for each such channel."""
        return self._keeping.n_waiting + sum(way.lanes.n_waiting for way in self._rounds)

    def drain(self, timeout_s: float) -> bool:
        """Wait until all is said; False when it is not within so many seconds."""
        until = monotonic() + timeout_s
        is_done = self._keeping.drain(timeout_s)  # first: what is kept is with the channels then
        for way in self._rounds:
            is_done &= way.lanes.drain(until - monotonic())
        return is_done

    def close(self, timeout_s: float = CLOSE_S) -> bool:
        """Take nothing more, and end after so many seconds at most; True when all is said."""
        until = monotonic() + timeout_s
        is_done = self._keeping.close(timeout_s)
        for way in self._rounds:
            is_done &= way.lanes.close(until - monotonic())
        return is_done

    def _keep(self, url: str, letter: _Letter) -> None:
        box = self._boxes.get(url)
        if box is None:
            self._forget_idle()
            box = Outbox(letter.shelf)
            for way, numbers in [(way, box.waiting(way.channel.key)) for way in self._rounds]:
                for number in numbers:
                    way.lanes.put(url, (letter.shelf, number))
            self._boxes[url] = box
        kept = None if letter.event is None else box.add(letter.event)
        if kept is not None:
            for way in self._rounds:
                way.lanes.put(url, (letter.shelf, kept))

    def _forget_idle(self) -> None:
        """Keep memory bounded: what is forgotten is read again when it is needed."""
        if len(self._boxes) >= _BOXES:
            busy = {url for url in self._boxes if any(way.lanes.has(url) for way in self._rounds)}
            self._boxes = {url: box for url, box in self._boxes.items() if url in busy}


class _Round:
    """Takes kept events to one channel."""

    def __init__(self, channel: StatusChannel, *, rest_s: tuple[float, float]) -> None:
        self.channel = channel
        self._answers: dict[tuple[str, int], str] = {}
        self.lanes: Lanes[tuple[Shelf, int]] = Lanes(
            f"daskmr-{channel.key}", self._deliver, rest_s=rest_s
        )

    def _deliver(self, url: str, item: tuple[Shelf, int]) -> None:
        shelf, number = item
        if (url, number) not in self._answers:
            event = read(shelf, number)
            self._answers[url, number] = "not an event" if event is None else self._say(event)
        refusal = self._answers[url, number]
        mark(shelf, number, key=self.channel.key, refusal=refusal)
        del self._answers[url, number]

    def _say(self, event: StatusEvent) -> str:
        """Why the channel will never take the event; empty when it took it."""
        try:
            self.channel.publish(event)
        except PermanentError as error:
            log.warning("event refused: %s of job %s: %s", event.status, event.job_id, error)
            return str(error)
        return ""
