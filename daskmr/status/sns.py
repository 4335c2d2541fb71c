"""Status events through Amazon SNS, with the messages and attributes of Model Runner."""

import hashlib
import re
from typing import Any

from daskmr import aws
from daskmr.aws import Identity
from daskmr.core.events import StatusEvent, sns_message
from daskmr.errors import PermanentError, RequestError, UnreachableError
from daskmr.registry import plugin
from daskmr.status._redaction import redact_event

_ARN = re.compile(r"arn:[a-z0-9-]+:sns:([a-z0-9-]+):[0-9]{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?")
_PERMANENT = frozenset({"InvalidParameter", "InvalidParameterValue", "ValidationException"})
_MAX_GROUP = 128


@plugin
class SnsChannel:
    """Publishes events of images to one topic, and those of regions to another."""

    topic: str
    """ARN of the topic of images; a FIFO topic if it ends in ``.fifo``."""
    region_topic: str = ""
    """ARN of the topic of regions; if empty, they are not published."""

    def __post_init__(self) -> None:
        """Raise if a topic is not the ARN of an SNS topic."""
        for name, arn in (("topic", self.topic), ("regionTopic", self.region_topic)):
            if not _ARN.fullmatch(arn) and (arn or name == "topic"):
                msg = f"{name}: {arn!r} is not the ARN of an SNS topic"
                raise RequestError(msg)

    @property
    def key(self) -> str:
        """Short name of the topics."""
        return f"sns-{hashlib.sha256(f'{self.topic} {self.region_topic}'.encode()).hexdigest()[:8]}"

    def publish(self, event: StatusEvent) -> None:
        """Publish an event; a FIFO topic keeps the order of the events of one job."""
        arn = self.region_topic if event.region_id else self.topic
        if not arn:
            return
        client = aws.client("sns", Identity(region=arn.split(":")[3]))
        redacted = redact_event(event)
        try:
            with aws.translate_errors(arn):
                client.publish(TopicArn=arn, **sns_message(redacted), **_fifo_fields(arn, redacted))
        except PermanentError as error:
            if error.reason in _PERMANENT:
                raise
            raise UnreachableError(str(error), reason=error.reason) from error


def _fifo_fields(arn: str, event: StatusEvent) -> dict[str, Any]:
    """Return the fields that a FIFO topic requires; none for other topics."""
    if not arn.endswith(".fifo"):
        return {}
    group = re.sub(r"[^!-~]", "_", event.job_id)[:_MAX_GROUP] or "_"
    return {"MessageGroupId": group, "MessageDeduplicationId": event.id}
