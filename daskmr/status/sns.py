"""Status through Amazon SNS, with the messages and attributes of Model Runner."""

import hashlib
import re
from typing import Any

from daskmr import aws
from daskmr.aws import Identity
from daskmr.core.events import StatusEvent, sns_message
from daskmr.errors import PermanentError, RequestError, UnreachableError
from daskmr.registry import plugin
from daskmr.status._redaction import redacted_event

_ARN = re.compile(r"arn:[a-z0-9-]+:sns:([a-z0-9-]+):[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?")
_OF_EVENT = frozenset({"InvalidParameter", "InvalidParameterValue", "ValidationException"})
_MAX_GROUP = 128


@plugin
class SnsChannel:
    """Publishes events of images to one topic, and those of regions to another."""

    topic: str
    """ARN of the topic of images; of the kind FIFO when it ends so."""
    region_topic: str = ""
    """ARN of the topic of regions; empty: nothing is said of them."""

    def __post_init__(self) -> None:
        """Refuse what is no topic."""
        for name, arn in (("topic", self.topic), ("regionTopic", self.region_topic)):
            if not _ARN.fullmatch(arn) and (arn or name == "topic"):
                msg = f"{name}: {arn!r} is not the ARN of an SNS topic"
                raise RequestError(msg)

    @property
    def key(self) -> str:
        """Short name of where events are said."""
        return f"sns-{hashlib.sha256(f'{self.topic} {self.region_topic}'.encode()).hexdigest()[:8]}"

    def publish(self, event: StatusEvent) -> None:
        """Publish an event; of one job, in the order of the calls where the topic is FIFO."""
        arn = self.region_topic if event.region_id else self.topic
        if not arn:
            return
        client = aws.client("sns", Identity(region=arn.split(":")[3]))
        said = redacted_event(event)
        try:
            with aws.translated(arn):
                client.publish(TopicArn=arn, **sns_message(said), **_order(arn, said))
        except PermanentError as error:
            if error.reason in _OF_EVENT:
                raise
            raise UnreachableError(str(error), reason=error.reason) from error


def _order(arn: str, event: StatusEvent) -> dict[str, Any]:
    """What a FIFO topic has to know."""
    if not arn.endswith(".fifo"):
        return {}
    group = re.sub(r"[^!-~]", "_", event.job_id)[:_MAX_GROUP] or "_"
    return {"MessageGroupId": group, "MessageDeduplicationId": event.id}
