"""What is said of a job to the outside: Model Runner's status messages, as values.

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
"""Most bytes of the sentence for people."""
MAX_TILES_BYTES = 32 * 2**10
"""Most bytes of the list of failed tiles."""
SOURCE = "daskmr"
"""Who speaks, in an entry of EventBridge."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]+")


class Status(StrEnum):
    """Model Runner's words, and CANCELED."""

    STARTED = "STARTED"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCESS = "SUCCESS"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    CANCELED = "CANCELED"

    @property
    def is_over(self) -> bool:
        """Whether nothing comes after it."""
        return self not in {Status.STARTED, Status.IN_PROGRESS}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionCounts:
    """Regions of an image by how they ended."""

    total: int
    """All that are to be run."""
    success: int = 0
    """Those without a failed tile."""
    partial: int = 0
    """Those with some failed tiles."""
    failed: int = 0
    """Those in which every tile failed."""

    @property
    def status(self) -> Status:
        """What the image is, by its regions; one that has none is a success.

        Examples
        --------
        >>> str(RegionCounts(total=3, success=2, failed=1).status)
        'PARTIAL'
        >>> str(RegionCounts(total=3, success=2).status), str(RegionCounts(total=0).status)
        ('IN_PROGRESS', 'SUCCESS')
        """
        if self.success + self.partial + self.failed < self.total:
            return Status.IN_PROGRESS
        if self.success >= self.total:
            return Status.SUCCESS
        return Status.FAILED if self.failed >= self.total else Status.PARTIAL


def region_status(n_failed: int, n_tiles: int) -> Status:
    """What a region that has ended is, by its tiles.

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
    """One thing that became known of an image of a job, or of one of its regions."""

    job_id: str
    """Name of the job."""
    status: Status
    """What the image, or the region, is now."""
    message: str
    """One sentence for people."""
    time_ms: int
    """When, in milliseconds since 1970 (UTC)."""
    image_url: str = ""
    """The image; empty when the request was refused before it was known."""
    region_id: str = ""
    """The region; empty when it is the whole image that is spoken of."""
    model_name: str = ""
    """Endpoint or model."""
    progress: int | None = None
    """How much of the image is done, in percent; None when nobody has counted."""
    duration_ms: int | None = None
    """Milliseconds since the start; None when it was not measured."""
    regions: RegionCounts | None = None
    """Regions of the image; None before they are planned."""
    failed_tiles: tuple[Window, ...] = ()
    """Tiles that failed, of the region or of the image."""
    round: int = 0
    """How often failed tiles of the job were asked about again before."""

    @property
    def image_id(self) -> str:
        """Model Runner's name of an image of a job; empty without an image."""
        return f"{self.job_id}:{self.image_url}" if self.image_url else ""

    @property
    def id(self) -> str:
        """Name of the event: the same whoever says the same of the same job."""
        said = (self.job_id, self.image_url, self.region_id, self.status, self.round, self.progress)
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]

    @property
    def is_final(self) -> bool:
        """Whether it is the last event of its image."""
        return self.status.is_over and not self.region_id

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, of which `from_dict` makes the event again."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, said: dict[str, Any]) -> Self:
        """The event behind plain JSON values; those of a later version are left out.

        Raises
        ------
        ValueError, TypeError
            When they are not those of an event.
        """
        known = {name: value for name, value in said.items() if name in cls.__dataclass_fields__}
        known["status"] = Status(known.get("status", ""))
        known["failed_tiles"] = tuple(Window(**tile) for tile in known.get("failed_tiles", ()))
        if known.get("regions") is not None:
            known["regions"] = RegionCounts(**known["regions"])
        return cls(**known)


class History:
    """What was said of one job.

    Nothing is said twice, nothing of an image after its end (it fails once only), and progress
    never goes back.
    """

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._status: dict[tuple[str, int], Status] = {}
        self._progress: dict[tuple[str, int], int] = {}

    def add(self, event: StatusEvent) -> None:
        """Note that an event was said."""
        about = (event.image_url, event.round)
        self._ids.add(event.id)
        if not event.region_id:
            self._status[about] = event.status
        if event.progress is not None:
            self._progress[about] = max(self._progress.get(about, -1), event.progress)

    def is_news(self, event: StatusEvent) -> bool:
        """Whether an event says anything after those that were said."""
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
    """Failed tiles as JSON, as many as there is room for.

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
    """The attributes that subscribers filter by; what is empty is left out.

    A duration of nothing is told of what has ended only: nothing has been measured before.

    Examples
    --------
    >>> event = StatusEvent(job_id="5678", status=Status.FAILED, message="no", time_ms=0)
    >>> dict(list(attributes(event).items())[:2])
    {'status': 'FAILED', 'job_id': '5678'}
    """
    is_timed = event.duration_ms is not None and (event.duration_ms or event.status.is_over)
    n_failed = len(event.failed_tiles)
    said = {
        "status": str(event.status),
        "job_id": event.job_id,
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
    plain = {name: bounded(said[name], most.get(name, MAX_TEXT_BYTES)) for name in said}
    return {name: value for name, value in plain.items() if value.strip()}


def body(event: StatusEvent) -> str:
    """The sentence for people, as Model Runner's messages begin."""
    text = f"StatusMonitor update: {event.status} {event.job_id}: {event.message}"
    return bounded(text, MAX_MESSAGE_BYTES)


def sns_message(event: StatusEvent) -> dict[str, Any]:
    """``Message`` and ``MessageAttributes`` of SNS; every attribute is a String."""
    return {
        "Message": body(event),
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": value}
            for name, value in attributes(event).items()
        },
    }


def eventbridge_entry(event: StatusEvent, bus: str) -> dict[str, Any]:
    """One entry of ``PutEvents``: the attributes as they are in SNS, but for numbers as numbers.

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


def bounded(text: str, n_bytes: int) -> str:
    r"""Text that any service takes: on one line, without control characters, and not too long.

    Examples
    --------
    >>> bounded("one\r\ntwo", 100), bounded("tröt", 3)
    ('one two', 'tr')
    """
    plain = _CONTROL.sub(" ", text).encode("utf-8", "replace")
    return plain[:n_bytes].decode("utf-8", "ignore")
