"""The queue: messages are received one by one, held, and deleted or refused.

Every call may raise a `daskmr.errors.EndpointError`; nothing is lost by it, since a message that is
neither deleted nor held comes back by itself.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from daskmr import aws

MOST_AT_ONCE = 10
"""Most messages of one call."""
_MAX_ATTRIBUTES = 10
_MAX_REASON = 1000
REASON, ORIGIN = "daskmrReason", "daskmrMessageId"
"""Attributes of a message that was refused: why, and which it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One delivery of a message."""

    id: str
    """What the queue calls it."""
    receipt: str
    """Names this delivery."""
    body: str
    """Its text."""
    attributes: dict[str, Any]
    """Those of its sender, as the queue has them."""
    sent_at: float
    """When it was sent, seconds since 1970 (UTC)."""
    n_received: int = 1
    """How often it was delivered."""
    received_at: float = field(default_factory=monotonic)
    """When this delivery was, by a clock of this process that never goes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """A queue of SQS, and the one for what is refused."""

    url: str
    """Of the queue."""
    dead_letters: str = ""
    """Of the queue that gets what is refused; empty for none."""
    visibility_s: int = 180
    """Seconds for which a message is ours, unless it is held longer."""

    def receive(self, n: int, wait_s: int) -> list[Message]:
        """Up to n messages; waits for the first for so many seconds."""
        with aws.translated(self.url):
            answer = aws.client("sqs").receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=min(n, MOST_AT_ONCE),
                WaitTimeSeconds=wait_s,
                VisibilityTimeout=self.visibility_s,
                AttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
                MessageAttributeNames=["All"],
            )
        return [_message(said) for said in answer.get("Messages", ())]

    def hold(self, messages: Sequence[Message]) -> list[Message]:
        """Keep messages for another while; those that are no longer ours."""
        lost = []
        for start in range(0, len(messages), MOST_AT_ONCE):
            some = messages[start : start + MOST_AT_ONCE]
            entries = [
                {
                    "Id": str(number),
                    "ReceiptHandle": message.receipt,
                    "VisibilityTimeout": self.visibility_s,
                }
                for number, message in enumerate(some)
            ]
            with aws.translated(self.url):
                answer = aws.client("sqs").change_message_visibility_batch(
                    QueueUrl=self.url, Entries=entries
                )
            lost += [some[int(failed["Id"])] for failed in answer.get("Failed", ())]
        return lost

    def release(self, message: Message) -> None:
        """Let another process have a message at once."""
        with aws.translated(self.url):
            aws.client("sqs").change_message_visibility(
                QueueUrl=self.url, ReceiptHandle=message.receipt, VisibilityTimeout=0
            )

    def delete(self, message: Message) -> None:
        """A message was dealt with."""
        with aws.translated(self.url):
            aws.client("sqs").delete_message(QueueUrl=self.url, ReceiptHandle=message.receipt)

    def bury(self, message: Message, reason: str) -> None:
        """Send a message to where the refused ones are, its body untouched, with the reason."""
        told = "".join(c if c.isprintable() else " " for c in reason)[:_MAX_REASON]
        ours = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in ((REASON, told or "unknown"), (ORIGIN, message.id))
        }
        kept = dict(list(message.attributes.items())[: _MAX_ATTRIBUTES - len(ours)])
        with aws.translated(self.dead_letters):
            aws.client("sqs").send_message(
                QueueUrl=self.dead_letters,
                MessageBody=message.body,
                MessageAttributes={**kept, **ours},
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFacts:
    """What a queue tells of itself."""

    n_waiting: int
    """Messages that can be received, about."""
    n_held: int
    """Messages that somebody has, about."""
    most_receives: int
    """Deliveries after which the queue itself puts a message aside; 0 for never."""


def facts(queue: str) -> QueueFacts:
    """Ask a queue about itself; receives nothing.

    Raises
    ------
    EndpointError
        When it does not answer.
    """
    with aws.translated(queue):
        answer = aws.client("sqs").get_queue_attributes(
            QueueUrl=queue,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
                "RedrivePolicy",
            ],
        )
    said = answer.get("Attributes", {})
    return QueueFacts(
        n_waiting=int(said.get("ApproximateNumberOfMessages", 0)),
        n_held=int(said.get("ApproximateNumberOfMessagesNotVisible", 0)),
        most_receives=int(json.loads(said.get("RedrivePolicy", "{}")).get("maxReceiveCount", 0)),
    )


def send(queue: str, body: str) -> str:
    """Put a request into a queue; what the queue calls it.

    Raises
    ------
    EndpointError
        When it could not be put there.
    """
    with aws.translated(queue):
        answer = aws.client("sqs").send_message(QueueUrl=queue, MessageBody=body)
    return str(answer["MessageId"])


def _message(said: dict[str, Any]) -> Message:
    facts = said.get("Attributes", {})
    attributes = {
        name: {key: value for key, value in held.items() if key in _PARTS}
        for name, held in said.get("MessageAttributes", {}).items()
    }
    return Message(
        id=said["MessageId"],
        receipt=said["ReceiptHandle"],
        body=said["Body"],
        attributes=attributes,
        sent_at=int(facts.get("SentTimestamp", 0)) / 1000,
        n_received=int(facts.get("ApproximateReceiveCount", 1)),
    )


_PARTS = frozenset({"DataType", "StringValue", "BinaryValue"})
