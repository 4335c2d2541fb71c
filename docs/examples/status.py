"""A status channel: events of jobs as lines of a file."""

import json
from dataclasses import replace
from pathlib import Path

from daskmr.core.events import StatusEvent, attributes, body
from daskmr.registry import plugin
from daskmr.status import redact


@plugin
class FileChannel:
    """Append one line of JSON for each event."""

    path: str
    """The file."""

    @property
    def key(self) -> str:
        """Short name, fit for a file name."""
        return "file"

    def publish(self, event: StatusEvent) -> None:
        """Append an event; one that comes twice has the same ``event_id``."""
        safe = replace(event, message=redact(event.message), image_url=redact(event.image_url))
        record = {**attributes(safe), "message": body(safe)}
        with Path(self.path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
