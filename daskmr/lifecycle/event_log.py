"""Event log of a job, JSON lines in its folder; writing it never fails the job."""

import json
import logging
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from daskmr.status import TIMELINE, contained
from daskmr.store import JobFolder

log = logging.getLogger(__name__)
_EVERY_S = 1.0


@dataclass
class EventLog:
    """Event log of one driver, written about once a second; use it in a ``with`` block."""

    folder: JobFolder
    """The job's folder."""
    job_id: str
    """Name of the job."""
    epoch: int
    """Number of the driver."""
    is_kept: bool = True
    """Whether the folder outlives the run."""
    _lines: list[str] = field(default_factory=list)
    _n_written: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self.is_kept:
            self._thread = threading.Thread(
                target=self._writing, name="daskmr-journal", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._write()

    def record(self, event: str, **fields: Any) -> None:
        """Record one event; the fields are plain JSON values."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        ids = {"job_id": self.job_id}
        if "region" in fields:
            ids |= {"region_id": fields["region"], "tag": TIMELINE}
        log.info(event, extra={"daskmr": ids | fields})
        if self.is_kept:
            with contained("journal"), self._lock:
                entry = {"time": now, "epoch": self.epoch, "event": event, **fields}
                self._lines.append(json.dumps(entry))

    def _writing(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self._write()

    def _write(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, []
        if not lines:
            return
        name = f"events/{self.epoch:06d}-{self._n_written:06d}.jsonl"
        with contained("journal"):  # these lines are lost
            self.folder.objects.create(name, "".join(f"{line}\n" for line in lines).encode())
        self._n_written += 1


def events(folder: JobFolder) -> list[dict[str, Any]]:
    """Return all events of a job, in order of their drivers and of time."""
    entries: list[dict[str, Any]] = []
    for name in folder.objects.names("events/"):
        text = (folder.objects.read(name) or b"").decode()
        entries.extend(json.loads(line) for line in text.splitlines())
    return entries
