"""What happened to a job, line by line, kept beside it; never a reason for it to fail."""

import json
import logging
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from daskmr.errors import StoreError
from daskmr.store import JobFolder

log = logging.getLogger(__name__)
_EVERY_S = 1.0


@dataclass
class Journal:
    """Events of one driver, written about once a second; use it in a ``with`` block."""

    folder: JobFolder
    """The job."""
    epoch: int
    """Number of the driver."""
    is_kept: bool = True
    """Whether anybody will read it."""
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

    def say(self, event: str, **fields: Any) -> None:
        """One event; the fields are plain JSON values."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        log.info(event, extra={"daskmr": fields})
        if self.is_kept:
            line = json.dumps({"time": now, "epoch": self.epoch, "event": event, **fields})
            with self._lock:
                self._lines.append(line)

    def _writing(self) -> None:
        while not self._stop.wait(_EVERY_S):
            self._write()

    def _write(self) -> None:
        with self._lock:
            lines, self._lines = self._lines, []
        if not lines:
            return
        name = f"events/{self.epoch:06d}-{self._n_written:06d}.jsonl"
        try:
            self.folder.place.create(name, "".join(f"{line}\n" for line in lines).encode())
        except StoreError as error:  # the job goes on; these lines are lost
            log.warning("journal not written", extra={"daskmr": {"error": str(error)}})
        self._n_written += 1


def events(folder: JobFolder) -> list[dict[str, Any]]:
    """All events of a job, in order of their drivers and of time."""
    found: list[dict[str, Any]] = []
    for name in folder.place.names("events/"):
        text = (folder.place.read(name) or b"").decode()
        found.extend(json.loads(line) for line in text.splitlines())
    return found
