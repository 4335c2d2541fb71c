"""SNS, SQS and EventBridge on loopback, which go away and come back."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from daskmr import aws

REGION = "eu-west-1"
_NUMBERS = count()


@dataclass
class Aws:
    """A server, and the queues that listen to what is said there."""

    port: int = 0
    _server: Any = None
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Begin to answer; what was made before is still there."""
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()
        self.port = self._server.get_host_and_port()[1]

    def stop(self) -> None:
        """Answer nobody."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def close(self) -> None:
        for made in self._clients.values():
            made.close()
        self.stop()

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service, region_name=REGION, endpoint_url=self.url
            )
        return self._clients[service]

    def queue(self, *, fifo: bool = False) -> tuple[str, str]:
        """URL and ARN of a new queue."""
        name = f"queue-{next(_NUMBERS)}{'.fifo' if fifo else ''}"
        kind = {"FifoQueue": "true", "ContentBasedDeduplication": "false"} if fifo else {}
        url = self.client("sqs").create_queue(QueueName=name, Attributes=kind)["QueueUrl"]
        return url, f"arn:aws:sqs:{REGION}:123456789012:{name}"

    def topic(self, *, fifo: bool = False, raw: bool = False) -> tuple[str, str]:
        """ARN of a new topic, and the URL of a queue that hears it."""
        name = f"topic-{next(_NUMBERS)}{'.fifo' if fifo else ''}"
        kind = {"FifoTopic": "true"} if fifo else {}
        arn: str = self.client("sns").create_topic(Name=name, Attributes=kind)["TopicArn"]
        url, queue = self.queue(fifo=fifo)
        self.client("sns").subscribe(
            TopicArn=arn,
            Protocol="sqs",
            Endpoint=queue,
            Attributes={"RawMessageDelivery": "true"} if raw else {},
        )
        return arn, url

    def bus(self) -> tuple[str, str]:
        """Name of a new event bus, and the URL of a queue that hears it."""
        name = f"bus-{next(_NUMBERS)}"
        events = self.client("events")
        events.create_event_bus(Name=name)
        events.put_rule(
            Name=name, EventBusName=name, EventPattern=json.dumps({"source": ["daskmr"]})
        )
        url, arn = self.queue()
        events.put_targets(Rule=name, EventBusName=name, Targets=[{"Id": "1", "Arn": arn}])
        return name, url

    def messages(self, url: str) -> list[dict[str, Any]]:
        """All messages of a queue, which are gone then."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.client("sqs").receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"],
                AttributeNames=["All"],
            )  # fmt: skip
            batch = answer.get("Messages", [])
            if not batch:
                return found
            for message in batch:
                self.client("sqs").delete_message(
                    QueueUrl=url, ReceiptHandle=message["ReceiptHandle"]
                )
            found.extend(batch)

    def envelopes(self, url: str) -> list[dict[str, Any]]:
        """All envelopes of SNS in a queue, which are gone then."""
        return [json.loads(message["Body"]) for message in self.messages(url)]

    def heard(self, url: str) -> list[dict[str, str]]:
        """Attributes and ``Message`` of all messages of SNS in a queue, which are gone then."""
        return [
            {
                **{name: said["Value"] for name, said in found["MessageAttributes"].items()},
                "Message": found["Message"],
            }
            for found in self.envelopes(url)
        ]

    def heard_by(self, url: str, n: int, timeout_s: float = 20.0) -> list[dict[str, str]]:
        """Wait until so many messages were heard."""
        found: list[dict[str, str]] = []
        until = time.monotonic() + timeout_s
        while len(found) < n and time.monotonic() < until:
            found.extend(self.heard(url))
            time.sleep(0.02)
        return found

    def heard_until(self, url: str, status: str, timeout_s: float = 20.0) -> list[dict[str, str]]:
        """Wait until an event of a status was heard."""
        found: list[dict[str, str]] = []
        until = time.monotonic() + timeout_s
        while not any(each["status"] == status for each in found) and time.monotonic() < until:
            found.extend(self.heard(url))
            time.sleep(0.02)
        return found


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """A server that daskmr's clients of SNS and EventBridge find."""
    made = Aws()
    made.start()
    for name, value in {
        "AWS_ENDPOINT_URL_SNS": made.url,
        "AWS_ENDPOINT_URL_EVENTBRIDGE": made.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
    }.items():
        monkeypatch.setenv(name, value)
    aws.close()
    yield made
    aws.close()
    made.close()
