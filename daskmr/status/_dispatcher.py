"""Delivers status events to the channels in the background; its errors never reach a job.

An event is stored in the folder of its job first (`daskmr.status._outbox`), then published by every
channel: those of one job in order, each at least once, however long a channel is unavailable.
Events that a process leaves behind are delivered by the next one that continues the job.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Self

from daskmr.core.events import Status, StatusEvent
from daskmr.errors import DaskmrError, PermanentError
from daskmr.status._outbox import Outbox, mark, read
from daskmr.status._retry_queue import BACKOFF_S, MAX_BACKOFF_S, RetryQueue
from daskmr.status.base import EventStore, StatusChannel

LIMIT = 2000
"""Maximal number of events that wait to be stored; half of it for events of progress."""
CLOSE_S = 10.0
"""Seconds to wait for channels at the end."""
_MAX_OUTBOXES = 256
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _StoreTask:
    """An event to store, or, without one, a request to deliver the stored events of a job."""

    store: EventStore
    event: StatusEvent | None


class StatusDispatcher:
    """Delivers the events of all jobs of a process; a context manager.

    Parameters
    ----------
    channels
        Channels that publish events, independently of each other.
    limit
        Maximal number of events that wait to be stored; more are dropped and logged.
    backoff_s
        Seconds of the first and of the longest pause before a retry.
    """

    def __init__(
        self,
        channels: Sequence[StatusChannel],
        *,
        limit: int = LIMIT,
        backoff_s: tuple[float, float] = (BACKOFF_S, MAX_BACKOFF_S),
    ) -> None:
        self._outboxes: dict[str, Outbox] = {}
        self._deliveries = [_Delivery(channel, backoff_s=backoff_s) for channel in channels]
        self._entries: RetryQueue[_StoreTask] = RetryQueue(
            "daskmr-outbox", self._store, limit=limit, backoff_s=backoff_s
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def post(self, store: EventStore, event: StatusEvent) -> bool:
        """Queue an event; return False if it was dropped. Returns at once and never raises.

        Parameters
        ----------
        store
            Folder of the job, such as `daskmr.store.JobFolder.objects`.
        event
            The event.
        """
        is_final = not event.region_id and event.status is not Status.IN_PROGRESS
        is_queued = self._entries.put(
            store.url, _StoreTask(store, event), share=1.0 if is_final else 0.5
        )
        if not is_queued:
            log.log(
                logging.ERROR if is_final else logging.WARNING,
                "event dropped: %s of job %s: too many wait, or the dispatcher is closed",
                event.status,
                event.job_id,
            )
        return is_queued

    def resume(self, store: EventStore) -> bool:
        """Queue the events of a job that an earlier process did not deliver; as `post`."""
        return self._entries.put(store.url, _StoreTask(store, None), share=0.5)

    def is_idle(self, store: EventStore) -> bool:
        """Return True if all events of a job were stored and delivered."""
        is_stored = not self._entries.has(store.url)  # first: a stored event is with the channels
        return is_stored and not any(each.queue.has(store.url) for each in self._deliveries)

    @property
    def n_waiting(self) -> int:
        """Number of undelivered events, each counted once for each channel."""
        return self._entries.n_waiting + sum(each.queue.n_waiting for each in self._deliveries)

    def drain(self, timeout_s: float) -> bool:
        """Wait until all events are delivered; return False after *timeout_s* seconds."""
        until = monotonic() + timeout_s
        is_done = self._entries.drain(timeout_s)  # first: a stored event is with the channels
        for each in self._deliveries:
            is_done &= each.queue.drain(until - monotonic())
        return is_done

    def close(self, timeout_s: float = CLOSE_S) -> bool:
        """Accept no more events and end within *timeout_s*; return True if all were delivered."""
        until = monotonic() + timeout_s
        is_done = self._entries.close(timeout_s)
        for each in self._deliveries:
            is_done &= each.queue.close(until - monotonic())
        return is_done

    def _store(self, url: str, entry: _StoreTask) -> None:
        outbox = self._outboxes.get(url)
        if outbox is None:
            self._drop_idle_outboxes()
            outbox = Outbox(entry.store)
            waiting = [(each, outbox.waiting(each.channel.key)) for each in self._deliveries]
            for each, numbers in waiting:
                for number in numbers:
                    each.queue.put(url, (entry.store, number))
            self._outboxes[url] = outbox
        added = None if entry.event is None else outbox.add(entry.event)
        if added is not None:
            for each in self._deliveries:
                each.queue.put(url, (entry.store, added))

    def _drop_idle_outboxes(self) -> None:
        """Bound the memory; a dropped outbox is read again when it is needed."""
        if len(self._outboxes) >= _MAX_OUTBOXES:
            self._outboxes = {
                url: outbox
                for url, outbox in self._outboxes.items()
                if any(each.queue.has(url) for each in self._deliveries)
            }


class _Delivery:
    """Delivers stored events to one channel."""

    def __init__(self, channel: StatusChannel, *, backoff_s: tuple[float, float]) -> None:
        self.channel = channel
        self._refusals: dict[tuple[str, int], str] = {}
        self.queue: RetryQueue[tuple[EventStore, int]] = RetryQueue(
            f"daskmr-{channel.key}", self._deliver, backoff_s=backoff_s
        )

    def _deliver(self, url: str, item: tuple[EventStore, int]) -> None:
        store, number = item
        if (url, number) not in self._refusals:
            event = read(store, number)
            self._refusals[url, number] = "not an event" if event is None else self._publish(event)
        refusal = self._refusals[url, number]
        mark(store, number, key=self.channel.key, refusal=refusal)
        del self._refusals[url, number]

    def _publish(self, event: StatusEvent) -> str:
        """Publish an event; return why it is refused for ever, or nothing."""
        try:
            self.channel.publish(event)
        except PermanentError as error:
            log.warning("event refused: %s of job %s: %s", event.status, event.job_id, error)
            return str(error)
        except (DaskmrError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - a fault of a channel: logged once, not for ever
            reason = f"{type(error).__name__}: {error}"
            log.warning("event lost: %s of job %s: %s", event.status, event.job_id, reason)
            return reason
        return ""
