"""The outbox of one job: its events, stored in its folder until every channel published them.

::

    JOB/outbox/000001.json   created once: an event; numbers are the order
               000001.KEY    created once: the channel of that key published or refused it

Of two processes that add an event at the same time one gets the number; the other reads that event
and adds its own only if it is still new.
"""

import json
import logging
from dataclasses import dataclass, field

from daskmr.core.events import History, StatusEvent
from daskmr.errors import StoreError
from daskmr.status._redaction import redact_event
from daskmr.status.base import EventStore

log = logging.getLogger(__name__)
_PREFIX = "outbox/"
_PUBLISHED = b"said\n"


@dataclass
class Outbox:
    """The events of one job; for one thread."""

    store: EventStore
    """Folder of the job."""
    _history: History = field(default_factory=History)
    _last: int = -1

    def add(self, event: StatusEvent) -> int | None:
        """Store an event and return its number; None if its status was reported before.

        Raises
        ------
        StoreError
            If the folder cannot be read or written.
        """
        redacted = redact_event(event)
        content = json.dumps(redacted.as_dict(), sort_keys=True).encode()
        if self._last < 0:
            self._load()
        while self._history.is_news(redacted):
            number = self._last + 1
            if self.store.create(_name(number, "json"), content):
                self._history.add(redacted)
                self._last = number
                return number
            self._load()
            if self._last < number:
                msg = f"{self.store.url}/{_name(number, 'json')}: there, but not listed"
                raise StoreError(msg)
        return None

    def waiting(self, key: str) -> list[int]:
        """Return the numbers of the events that a channel has not published, in order.

        Raises
        ------
        StoreError
            If the folder cannot be read.
        """
        names = set(self.store.names(_PREFIX))
        numbers = sorted(_number(name) for name in names if name.endswith(".json"))
        return [number for number in numbers if _name(number, key) not in names]

    def _load(self) -> None:
        for number in self.waiting(""):
            if number > self._last:
                event = read(self.store, number)
                if event is not None:
                    self._history.add(event)
                self._last = number
        self._last = max(self._last, 0)


def read(store: EventStore, number: int) -> StatusEvent | None:
    """Return the event of a number; None if there is none, or it is malformed.

    Raises
    ------
    StoreError
        If the folder cannot be read.
    """
    name = _name(number, "json")
    content = store.read(name)
    try:
        return None if content is None else StatusEvent.from_dict(json.loads(content))
    except (ValueError, TypeError, AttributeError) as error:
        log.warning("%s/%s is not an event: %s", store.url, name, error)
        return None


def mark(store: EventStore, number: int, *, key: str, refusal: str = "") -> None:
    """Record that a channel published an event, or refused it for ever.

    Parameters
    ----------
    store
        Folder of the job.
    number
        Number of the event.
    key
        Key of the channel.
    refusal
        Why it was refused; empty if it was published.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    """
    store.create(_name(number, key), f"refused: {refusal}\n".encode() if refusal else _PUBLISHED)


def _name(number: int, suffix: str) -> str:
    return f"{_PREFIX}{number:06d}.{suffix}"


def _number(name: str) -> int:
    text = name.removeprefix(_PREFIX).partition(".")[0]
    return int(text) if text.isdecimal() else 0
