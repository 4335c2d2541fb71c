"""Status through Amazon EventBridge."""

import hashlib
import re

from daskmr import aws
from daskmr.aws import Identity
from daskmr.core.events import StatusEvent, eventbridge_entry
from daskmr.errors import PermanentError, RequestError, UnreachableError
from daskmr.registry import plugin
from daskmr.status._redaction import redacted_event

_BUS = re.compile(
    r"(?:arn:[a-z0-9-]+:events:(?P<region>[a-z0-9-]+):[0-9]{12}:event-bus/)?[/.A-Za-z0-9_-]{1,256}"
)
_OF_EVENT = frozenset(
    {"InvalidArgument", "MalformedDetail", "ValidationError", "ValidationException"}
)


@plugin
class EventBridgeChannel:
    """Puts events on a bus; ``detail`` holds the attributes that SNS carries."""

    bus: str = "default"
    """Name or ARN of the event bus."""
    regions: bool = False
    """Whether events of regions are said, too."""

    def __post_init__(self) -> None:
        """Refuse what is no event bus."""
        if not _BUS.fullmatch(self.bus):
            msg = f"bus: {self.bus!r} is not the name or the ARN of an event bus"
            raise RequestError(msg)

    @property
    def key(self) -> str:
        """Short name of where events are said."""
        return f"eventbridge-{hashlib.sha256(self.bus.encode()).hexdigest()[:8]}"

    def publish(self, event: StatusEvent) -> None:
        """Put an event on the bus."""
        if event.region_id and not self.regions:
            return
        found = _BUS.fullmatch(self.bus)
        client = aws.client("events", Identity(region=found["region"] if found else None))
        entry = eventbridge_entry(redacted_event(event), self.bus)
        what = f"event bus {self.bus}"
        try:
            with aws.translated(what):
                answer = client.put_events(Entries=[entry])
        except PermanentError as error:
            if error.reason in _OF_EVENT:
                raise
            raise UnreachableError(str(error), reason=error.reason) from error
        refused = answer["Entries"][0]
        if refused.get("ErrorCode"):
            code, told = refused["ErrorCode"], refused.get("ErrorMessage", "")
            kind = PermanentError if code in _OF_EVENT else UnreachableError
            msg = f"{what}: {code}: {' '.join(told.split())[:300]}"
            raise kind(msg, reason=code)
