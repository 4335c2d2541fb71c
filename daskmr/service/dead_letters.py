"""Messages of a dead-letter queue: looked at without hiding them, and sent back to their queue.

SQS has no way to read a message but to receive it. What is received here becomes visible again as
soon as all of it was read, and it is sent before it is deleted, so that nothing is lost in between.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from daskmr import aws
from daskmr.errors import RequestError
from daskmr.service.sqs import MAX_BATCH, ORIGIN, REASON, Message, RequestQueue

_LOOK_S = 60
"""Visibility timeout while a queue is read, seconds; it ends early."""
_EMPTY_POLLS = 3
"""Polls without a message after which a queue is read: one poll does not reach all of its hosts."""
_OWN = frozenset({REASON, ORIGIN})


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One message of a dead-letter queue."""

    message: Message
    """The message."""

    @property
    def id(self) -> str:
        """Id of the original message, by which operators know it; else of this one."""
        return self._attribute(ORIGIN) or self.message.id

    @property
    def job_id(self) -> str:
        """Name of the job; empty where the message does not say it."""
        return self._field("jobId", "job_id")

    @property
    def job_name(self) -> str:
        """Name of the job for people; empty without one."""
        return self._field("jobName", "job_name")

    @property
    def reason(self) -> str:
        """Why it was rejected; that SQS moved it, where no listener has."""
        return self._attribute(REASON) or "moved by SQS: received too often"

    def is_named(self, name: str) -> bool:
        """Return True if a name is an id of the message, or that of its job."""
        return name in {self.id, self.message.id, self.job_id}

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, with the body."""
        return {
            "id": self.id,
            "job_id": self.job_id,
            "job_name": self.job_name,
            "reason": self.reason,
            "sent_at": self.message.sent_at,
            "body": self.message.body,
        }

    def _attribute(self, name: str) -> str:
        return str(self.message.attributes.get(name, {}).get("StringValue", ""))

    def _field(self, *names: str) -> str:
        try:
            document = json.loads(self.message.request)
        except (ValueError, RecursionError):
            return ""
        values = [document.get(name) for name in names] if isinstance(document, dict) else []
        return next((str(value) for value in values if isinstance(value, str | int | float)), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterQueue:
    """A dead-letter queue."""

    url: str
    """URL of the queue."""

    def messages(self, limit: int | None = None) -> list[DeadLetter]:
        """Return messages, the oldest first; they stay in the queue.

        Parameters
        ----------
        limit
            Maximal number of messages; None for all.

        Raises
        ------
        EndpointError
            If the queue does not answer.
        """
        letters: list[DeadLetter] = []
        try:
            for batch in self._receive(limit):
                letters.extend(batch)
        finally:
            self._release(letters)
        return sorted(letters, key=lambda letter: letter.message.sent_at)

    def find(self, name: str) -> DeadLetter:
        """Return the message of an id or of a job; it stays in the queue.

        Raises
        ------
        RequestError
            If there is none, or several of a job.
        EndpointError
            If the queue does not answer.
        """
        matches = [letter for letter in self.messages() if letter.is_named(name)]
        if not matches:
            raise _no_message(name)
        if len(matches) > 1:
            msg = f"id: {name!r} has several messages: {', '.join(each.id for each in matches)}"
            raise RequestError(msg)
        return matches[0]

    def redrive(self, target: str, names: Sequence[str] = ()) -> Iterator[DeadLetter]:
        """Send messages to a queue and delete them here; yield each when it was moved.

        They arrive as new messages, with a receive count of their own and without the attributes
        that a listener added. One that was sent and could not be deleted arrives twice.

        Parameters
        ----------
        target
            URL of the queue.
        names
            Ids of messages, or names of jobs; empty for all.

        Raises
        ------
        RequestError
            If the target is this queue, or a name is in no message: nothing is sent then.
        EndpointError
            If a queue does not answer; what was not moved stays.
        """
        if target == self.url:
            msg = f"queue: {target!r} is the dead-letter queue itself"
            raise RequestError(msg)
        letters: list[DeadLetter] = []
        try:
            for batch in [self._named(names, letters)] if names else self._receive():
                letters.extend(letter for letter in batch if letter not in letters)
                for letter in batch:
                    _send(target, letter.message)
                    self._queue.delete(letter.message)
                    letters.remove(letter)
                    yield letter
        finally:
            self._release(letters)

    def _named(self, names: Sequence[str], received: list[DeadLetter]) -> list[DeadLetter]:
        """Return the messages of names; those that were received are appended to a list."""
        for batch in self._receive():
            received.extend(batch)
        missing = [name for name in names if not any(each.is_named(name) for each in received)]
        if missing:
            raise RequestError(*(str(_no_message(name)) for name in missing))
        return [each for each in received if any(each.is_named(name) for name in names)]

    def _release(self, letters: Sequence[DeadLetter]) -> None:
        for letter in letters:
            self._queue.release(letter.message)

    @property
    def _queue(self) -> RequestQueue:
        return RequestQueue(url=self.url, visibility_s=_LOOK_S)

    def _receive(self, limit: int | None = None) -> Iterator[list[DeadLetter]]:
        """Receive each message once, in batches."""
        known: set[str] = set()
        n_empty = 0
        while n_empty < _EMPTY_POLLS:
            n_left = MAX_BATCH if limit is None else min(MAX_BATCH, limit - len(known))
            if n_left <= 0:
                return
            batch = [m for m in self._queue.receive(n_left, 0) if m.id not in known]
            n_empty = 0 if batch else n_empty + 1
            known |= {message.id for message in batch}
            yield [DeadLetter(message=message) for message in batch]


def _no_message(name: str) -> RequestError:
    return RequestError(f"id: {name!r} is neither a message of the queue nor the job of one")


def _send(queue: str, message: Message) -> None:
    attributes = {name: value for name, value in message.attributes.items() if name not in _OWN}
    with aws.translate_errors(queue):
        aws.client("sqs").send_message(
            QueueUrl=queue, MessageBody=message.body, MessageAttributes=attributes
        )
