"""The SQS queue of requests and its dead-letter queue.

Every call may raise a `daskmr.errors.EndpointError`; no message is lost by it, since one that is
neither deleted nor extended becomes visible again by itself.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from daskmr import aws

MAX_BATCH = 10
"""Maximal number of messages of one SQS call."""
_MAX_ATTRIBUTES = 10
_MAX_REASON = 1000
REASON, ORIGIN = "daskmrReason", "daskmrMessageId"
"""Attributes of a dead letter: why it was rejected, and the id of the original message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One delivery of an SQS message."""

    id: str
    """SQS message id."""
    receipt: str
    """Receipt handle of this delivery."""
    body: str
    """Text of the message."""
    attributes: dict[str, Any]
    """Message attributes of the sender, in the form of the SQS API."""
    sent_at: float
    """When it was sent, seconds since 1970 (UTC)."""
    n_received: int = 1
    """Number of deliveries so far."""
    received_at: float = field(default_factory=monotonic)
    """Time of this delivery, seconds of this process's monotonic clock."""

    @property
    def request(self) -> str:
        """Text of the request: the body, or the message in it that an SNS topic has wrapped."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return self.body
        is_wrapped = isinstance(document, dict) and document.get("Type") == "Notification"
        inner = document.get("Message") if is_wrapped else None
        return inner if isinstance(inner, str) else self.body


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestQueue:
    """An SQS queue and its dead-letter queue."""

    url: str
    """URL of the queue."""
    dead_letters: str = ""
    """URL of the queue for rejected messages; empty for none."""
    visibility_s: int = 180
    """SQS visibility timeout in seconds."""

    def receive(self, n: int, wait_s: int) -> list[Message]:
        """Receive messages.

        Parameters
        ----------
        n
            Maximal number of messages.
        wait_s
            Seconds to wait for the first message.
        """
        with aws.translate_errors(self.url):
            response = aws.client("sqs").receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=min(n, MAX_BATCH),
                WaitTimeSeconds=wait_s,
                VisibilityTimeout=self.visibility_s,
                AttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
                MessageAttributeNames=["All"],
            )
        return [_message(fields) for fields in response.get("Messages", ())]

    def extend_visibility(self, messages: Sequence[Message]) -> list[Message]:
        """Restart the visibility timeout of messages and return those that it failed for."""
        lost = []
        for start in range(0, len(messages), MAX_BATCH):
            batch = messages[start : start + MAX_BATCH]
            entries = [
                {
                    "Id": str(number),
                    "ReceiptHandle": message.receipt,
                    "VisibilityTimeout": self.visibility_s,
                }
                for number, message in enumerate(batch)
            ]
            with aws.translate_errors(self.url):
                response = aws.client("sqs").change_message_visibility_batch(
                    QueueUrl=self.url, Entries=entries
                )
            lost += [batch[int(failed["Id"])] for failed in response.get("Failed", ())]
        return lost

    def release(self, message: Message) -> None:
        """Make a message visible to other consumers at once."""
        with aws.translate_errors(self.url):
            aws.client("sqs").change_message_visibility(
                QueueUrl=self.url, ReceiptHandle=message.receipt, VisibilityTimeout=0
            )

    def delete(self, message: Message) -> None:
        """Delete a message."""
        with aws.translate_errors(self.url):
            aws.client("sqs").delete_message(QueueUrl=self.url, ReceiptHandle=message.receipt)

    def send_to_dlq(self, message: Message, reason: str) -> None:
        """Send the unchanged body of a message to the dead-letter queue, with the reason."""
        printable = "".join(c if c.isprintable() else " " for c in reason)[:_MAX_REASON]
        added = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in ((REASON, printable or "unknown"), (ORIGIN, message.id))
        }
        kept = dict(list(message.attributes.items())[: _MAX_ATTRIBUTES - len(added)])
        with aws.translate_errors(self.dead_letters):
            aws.client("sqs").send_message(
                QueueUrl=self.dead_letters,
                MessageBody=message.body,
                MessageAttributes={**kept, **added},
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueInfo:
    """Attributes of an SQS queue."""

    n_visible: int
    """Approximate number of messages that can be received."""
    n_in_flight: int
    """Approximate number of messages that a consumer has received and not deleted."""
    max_receives: int
    """Deliveries after which SQS itself moves a message to a dead-letter queue; 0 for never."""


def queue_info(queue: str) -> QueueInfo:
    """Return the attributes of a queue; receives no message.

    Raises
    ------
    EndpointError
        If the queue does not answer.
    """
    with aws.translate_errors(queue):
        response = aws.client("sqs").get_queue_attributes(
            QueueUrl=queue,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
                "RedrivePolicy",
            ],
        )
    values = response.get("Attributes", {})
    redrive = json.loads(values.get("RedrivePolicy", "{}"))
    return QueueInfo(
        n_visible=int(values.get("ApproximateNumberOfMessages", 0)),
        n_in_flight=int(values.get("ApproximateNumberOfMessagesNotVisible", 0)),
        max_receives=int(redrive.get("maxReceiveCount", 0)),
    )


def send(queue: str, body: str) -> str:
    """Send a request to a queue and return its SQS message id.

    Raises
    ------
    EndpointError
        If the queue did not take it.
    """
    with aws.translate_errors(queue):
        response = aws.client("sqs").send_message(QueueUrl=queue, MessageBody=body)
    return str(response["MessageId"])


def _message(fields: dict[str, Any]) -> Message:
    system = fields.get("Attributes", {})
    attributes = {
        name: {key: value for key, value in attribute.items() if key in _ATTRIBUTE_KEYS}
        for name, attribute in fields.get("MessageAttributes", {}).items()
    }
    return Message(
        id=fields["MessageId"],
        receipt=fields["ReceiptHandle"],
        body=fields["Body"],
        attributes=attributes,
        sent_at=int(system.get("SentTimestamp", 0)) / 1000,
        n_received=int(system.get("ApproximateReceiveCount", 1)),
    )


_ATTRIBUTE_KEYS = frozenset({"DataType", "StringValue", "BinaryValue"})
