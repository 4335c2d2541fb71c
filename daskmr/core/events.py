"""Status events of jobs: Model Runner's status messages, as values.

Names and types are those that its subscribers filter by. Durations are milliseconds everywhere,
failed tiles are JSON, and every text is bounded, so that no event is too large to be sent.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from daskmr.core.grid import Window

MAX_TEXT_BYTES = 2048
"""Most bytes of one text of an event, but for its message."""
MAX_MESSAGE_BYTES = 8192
"""Most bytes of the message."""
MAX_TILES_BYTES = 32 * 2**10
"""Most bytes of the list of failed tiles."""
SOURCE = "daskmr"
"""``Source`` of an entry of EventBridge."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]+")


class Status(StrEnum):
    """Model Runner's statuses of images and regions, and CANCELED."""

    STARTED = "STARTED"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCESS = "SUCCESS"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    CANCELED = "CANCELED"

    @property
    def is_over(self) -> bool:
        """True for a status that no other follows."""
        return self not in {Status.STARTED, Status.IN_PROGRESS}


def region_status(n_failed: int, n_tiles: int) -> Status:
    """Return the status of a region that has ended, by its tiles.

    Examples
    --------
    >>> [str(region_status(n, 5)) for n in (0, 2, 5)]
    ['SUCCESS', 'PARTIAL', 'FAILED']
    """
    if n_failed <= 0:
        return Status.SUCCESS
    return Status.FAILED if n_failed >= n_tiles else Status.PARTIAL


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusEvent:
    """A change of the state of an image of a job, or of one of its regions."""

    job_id: str
    """Name of the job."""
    status: Status
    """Status of the image, or of the region."""
    message: str
    """One sentence for users."""
    time_ms: int
    """When, in milliseconds since 1970 (UTC)."""
    image_url: str = ""
    """The image; empty when the request was refused before it was known."""
    region_id: str = ""
    """The region; empty for an event of the whole image."""
    model_name: str = ""
    """Endpoint or model."""
    progress: int | None = None
    """Part of the image that is done, percent; None when unknown."""
    duration_ms: int | None = None
    """Milliseconds since the start; None when it was not measured."""
    failed_tiles: tuple[Window, ...] = ()
    """Tiles that failed, of the region or of the image."""
    round: int = 0
    """Number of earlier rounds that ran failed tiles of the job again; below 0 for a request that
    has not become a job."""
    job_name: str = ""
    """Name of the job for people; empty without one."""

    @property
    def image_id(self) -> str:
        """Model Runner's name of an image of a job; empty without an image."""
        return f"{self.job_id}:{self.image_url}" if self.image_url else ""

    @property
    def id(self) -> str:
        """Name of the event: equal for equal events of a job, whatever process publishes them."""
        key = (self.job_id, self.image_url, self.region_id, self.status, self.round, self.progress)
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, which `from_dict` reads."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the event of plain JSON values; fields of later versions are ignored.

        Raises
        ------
        ValueError, TypeError
            When they are not those of an event.
        """
        known = {name: value for name, value in values.items() if name in cls.__dataclass_fields__}
        known["status"] = Status(known.get("status", ""))
        known["failed_tiles"] = tuple(Window(**tile) for tile in known.get("failed_tiles", ()))
        return cls(**known)


class History:
    """Published events of one job, to leave out repetitions.

    No event is published twice, none of an image after its end (it fails once only), and progress
    never decreases.
    """

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._status: dict[tuple[str, int], Status] = {}
        self._progress: dict[tuple[str, int], int] = {}

    def add(self, event: StatusEvent) -> None:
        """Record a published event."""
        about = (event.image_url, event.round)
        self._ids.add(event.id)
        if not event.region_id:
            self._status[about] = event.status
        if event.progress is not None:
            self._progress[about] = max(self._progress.get(about, -1), event.progress)

    def is_news(self, event: StatusEvent) -> bool:
        """Return whether an event adds to the published ones."""
        about = (event.image_url, event.round)
        last = self._status.get(about)
        if event.id in self._ids or (last is not None and last.is_over):
            return False
        if event.region_id:
            return True
        if event.status is Status.STARTED:
            return last is None
        if event.status is Status.IN_PROGRESS and event.progress is not None:
            return event.progress > self._progress.get(about, -1)
        return True


def tiles_json(tiles: Sequence[Window]) -> str:
    """Return failed tiles as JSON, as many as there is room for.

    Each is an object of one member: its number, and its first row and column, height and width.

    Examples
    --------
    >>> tiles_json([Window(row=1, col=2, height=3, width=4)])
    '[{"1": [[1, 2], [3, 4]]}]'
    """
    texts: list[str] = []
    n_bytes = 0
    for number, tile in enumerate(tiles, 1):
        text = json.dumps({str(number): [[tile.row, tile.col], [tile.height, tile.width]]})
        n_bytes += len(text) + 2
        if n_bytes > MAX_TILES_BYTES:
            break
        texts.append(text)
    return f"[{', '.join(texts)}]"


def attributes(event: StatusEvent) -> dict[str, str]:
    """Return the attributes that subscribers filter by, without empty ones.

    A duration of 0 is left out until the image or region has ended: it was not measured before.

    Examples
    --------
    >>> event = StatusEvent(job_id="5678", status=Status.FAILED, message="no", time_ms=0)
    >>> dict(list(attributes(event).items())[:2])
    {'status': 'FAILED', 'job_id': '5678'}
    """
    is_timed = event.duration_ms is not None and (event.duration_ms or event.status.is_over)
    n_failed = len(event.failed_tiles)
    texts = {
        "status": str(event.status),
        "job_id": event.job_id,
        "job_name": event.job_name,
        "image_status": "" if event.region_id else str(event.status),
        "image_id": event.image_id,
        "region_id": event.region_id,
        "processing_duration": str(event.duration_ms) if is_timed else "",
        "failed_tiles": tiles_json(event.failed_tiles) if n_failed else "",
        "failed_tile_count": str(n_failed) if n_failed else "",
        "progress": "" if event.progress is None else str(event.progress),
        "event_id": event.id,
    }
    most = {"failed_tiles": MAX_TILES_BYTES}
    plain = {name: bound_text(texts[name], most.get(name, MAX_TEXT_BYTES)) for name in texts}
    return {name: value for name, value in plain.items() if value.strip()}


def body(event: StatusEvent) -> str:
    """Return the message, which begins as Model Runner's do."""
    text = f"StatusMonitor update: {event.status} {event.job_id}: {event.message}"
    return bound_text(text, MAX_MESSAGE_BYTES)


def sns_message(event: StatusEvent) -> dict[str, Any]:
    """Return ``Message`` and ``MessageAttributes`` of SNS; every attribute is a String."""
    return {
        "Message": body(event),
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": value}
            for name, value in attributes(event).items()
        },
    }


def eventbridge_entry(event: StatusEvent, bus: str) -> dict[str, Any]:
    """Return an entry of ``PutEvents``: the attributes of SNS, with numbers as JSON numbers.

    Parameters
    ----------
    bus
        Name or ARN of the event bus.
    """
    detail: dict[str, Any] = {**attributes(event), "message": body(event)}
    for name in ("processing_duration", "failed_tile_count", "progress"):
        if name in detail:
            detail[name] = int(detail[name])
    if "failed_tiles" in detail:
        detail["failed_tiles"] = json.loads(detail["failed_tiles"])
    return {
        "Source": SOURCE,
        "DetailType": f"{'Region' if event.region_id else 'Image'} Status Change",
        "Detail": json.dumps(detail),
        "EventBusName": bus,
        "Time": datetime.fromtimestamp(event.time_ms / 1000, UTC),
    }


def bound_text(text: str, n_bytes: int) -> str:
    r"""Return text on one line, without control characters, of at most `n_bytes` bytes in UTF-8.

    Examples
    --------
    >>> bound_text("one\r\ntwo", 100), bound_text("tröt", 3)
    ('one two', 'tr')
    """
    plain = _CONTROL.sub(" ", text).encode("utf-8", "replace")
    return plain[:n_bytes].decode("utf-8", "ignore")
