"""Status events through Amazon EventBridge."""

import hashlib
import re

from daskmr import aws
from daskmr.aws import Identity
from daskmr.core.events import StatusEvent, eventbridge_entry
from daskmr.errors import PermanentError, RequestError, UnreachableError
from daskmr.registry import plugin
from daskmr.status._redaction import redact_event

_BUS = re.compile(
    r"(?:arn:[a-z0-9-]+:events:(?P<region>[a-z0-9-]+):[0-9]{12}:event-bus/)?[/.A-Za-z0-9_-]{1,256}"
)
_PERMANENT = frozenset(
    {"InvalidArgument", "MalformedDetail", "ValidationError", "ValidationException"}
)


@plugin
class EventBridgeChannel:
    """Puts events on a bus; ``detail`` holds the attributes that SNS carries."""

    bus: str = "default"
    """Name or ARN of the event bus."""
    regions: bool = False
    """Whether events of regions are published, too."""

    def __post_init__(self) -> None:
        """Raise if *bus* is not the name or ARN of an event bus."""
        if not _BUS.fullmatch(self.bus):
            msg = f"bus: {self.bus!r} is not the name or the ARN of an event bus"
            raise RequestError(msg)

    @property
    def key(self) -> str:
        """Short name of the event bus."""
        return f"eventbridge-{hashlib.sha256(self.bus.encode()).hexdigest()[:8]}"

    def publish(self, event: StatusEvent) -> None:
        """Put an event on the bus."""
        if event.region_id and not self.regions:
            return
        match = _BUS.fullmatch(self.bus)
        client = aws.client("events", Identity(region=match["region"] if match else None))
        entry = eventbridge_entry(redact_event(event), self.bus)
        name = f"event bus {self.bus}"
        try:
            with aws.translate_errors(name):
                response = client.put_events(Entries=[entry])
        except PermanentError as error:
            if error.reason in _PERMANENT:
                raise
            raise UnreachableError(str(error), reason=error.reason) from error
        result = response["Entries"][0]
        if result.get("ErrorCode"):
            code, text = result["ErrorCode"], result.get("ErrorMessage", "")
            error_type = PermanentError if code in _PERMANENT else UnreachableError
            msg = f"{name}: {code}: {' '.join(text.split())[:300]}"
            raise error_type(msg, reason=code)
