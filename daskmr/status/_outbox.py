"""Events of one job, kept in its folder until every channel has said them.

::

    JOB/outbox/000001.json   created once: an event; numbers are the order
               000001.KEY    created once: the channel of that key has said it, or refused it

Of two processes that say something at the same time one gets the number, and the other looks again
whether it still has any news.
"""

import json
import logging
from dataclasses import dataclass, field

from daskmr.core.events import History, StatusEvent
from daskmr.errors import StoreError
from daskmr.status._redaction import redacted_event
from daskmr.status.base import Shelf

log = logging.getLogger(__name__)
_PREFIX = "outbox/"
_SAID = b"said\n"


@dataclass
class Outbox:
    """The events of one job; for one thread."""

    shelf: Shelf
    """Folder of the job."""
    _history: History = field(default_factory=History)
    _last: int = -1

    def add(self, event: StatusEvent) -> int | None:
        """Keep an event; its number, or None when it is no news.

        Raises
        ------
        StoreError
            When the folder cannot be read or written.
        """
        kept = redacted_event(event)
        content = json.dumps(kept.as_dict(), sort_keys=True).encode()
        if self._last < 0:
            self._load()
        while self._history.is_news(kept):
            number = self._last + 1
            if self.shelf.create(_name(number, "json"), content):
                self._history.add(kept)
                self._last = number
                return number
            self._load()
            if self._last < number:
                msg = f"{self.shelf.url}/{_name(number, 'json')}: there, but not listed"
                raise StoreError(msg)
        return None

    def waiting(self, key: str) -> list[int]:
        """Numbers of the events that a channel has not said, in order.

        Raises
        ------
        StoreError
            When the folder cannot be read.
        """
        there = set(self.shelf.names(_PREFIX))
        numbers = sorted(_number(name) for name in there if name.endswith(".json"))
        return [number for number in numbers if _name(number, key) not in there]

    def _load(self) -> None:
        for number in self.waiting(""):
            if number > self._last:
                event = read(self.shelf, number)
                if event is not None:
                    self._history.add(event)
                self._last = number
        self._last = max(self._last, 0)


def read(shelf: Shelf, number: int) -> StatusEvent | None:
    """The event of a number; None when it is not there, or is not an event.

    Raises
    ------
    StoreError
        When the folder cannot be read.
    """
    name = _name(number, "json")
    content = shelf.read(name)
    try:
        return None if content is None else StatusEvent.from_dict(json.loads(content))
    except (ValueError, TypeError, AttributeError) as error:
        log.warning("%s/%s is not an event: %s", shelf.url, name, error)
        return None


def mark(shelf: Shelf, number: int, *, key: str, refusal: str = "") -> None:
    """Note that a channel has said an event, or will never take it.

    Raises
    ------
    StoreError
        When the folder cannot be written.
    """
    shelf.create(_name(number, key), f"refused: {refusal}\n".encode() if refusal else _SAID)


def _name(number: int, suffix: str) -> str:
    return f"{_PREFIX}{number:06d}.{suffix}"


def _number(name: str) -> int:
    text = name.removeprefix(_PREFIX).partition(".")[0]
    return int(text) if text.isdecimal() else 0
