"""A status channel: events of jobs as lines of a file."""

import json
from pathlib import Path

from daskmr.core.events import StatusEvent
from daskmr.registry import plugin


@plugin
class FileChannel:
    """Appends one line of JSON for each event."""

    path: str
    """The file."""

    @property
    def key(self) -> str:
        """Short name, fit for a file name."""
        return "file"

    def publish(self, event: StatusEvent) -> None:
        """Say one event; it may come twice, with the same id."""
        said = {"id": event.id, "job": event.job_id, "status": str(event.status)}
        with Path(self.path).open("a", encoding="utf-8") as file:
            file.write(json.dumps({**said, "message": event.message}) + "\n")
