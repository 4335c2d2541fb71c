"""Progress of a job: workers report about once a second, the driver adds it up."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from daskmr.core.progress import OnProgress, Progress

_TOPIC = "daskmr-progress"
_EVERY_S = 1.0


def topic(job_id: str) -> str:
    """Return the Dask topic of the events ``{"tiles", "pixels"}`` of a job."""
    return f"{_TOPIC}-{job_id}"


def tick(job_id: str) -> Callable[[int, int], None]:
    """Return the callback of a region for ended tiles; it reports about once a second."""
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:
        return lambda _tiles, _pixels: None
    return Ticker(job_id, worker.log_event)


@dataclass
class Ticker:
    """Adds up the ended tiles of one region, and sends them on about once a second."""

    job_id: str
    """Name of the job."""
    send: Callable[[str, dict[str, object]], None]
    """Called with the job's topic and ``{"tiles", "pixels"}``."""
    tiles: int = 0
    """Ended since it was last called."""
    pixels: int = 0
    """Of those tiles."""
    sent_at: float = field(default_factory=monotonic)
    """When it was last called."""

    def __call__(self, tiles: int, pixels: int) -> None:
        """Add ended tiles and their pixels."""
        self.tiles += tiles
        self.pixels += pixels
        now = monotonic()
        if now - self.sent_at >= _EVERY_S:
            self.send(topic(self.job_id), {"tiles": self.tiles, "pixels": self.pixels})
            self.tiles, self.pixels, self.sent_at = 0, 0, now


@dataclass
class Tracker:
    """Adds up the progress reports of workers; thread-safe.

    Events of a region stop a little before its end, so a finished region replaces them by its
    exact count.
    """

    n_tiles: int
    tell: OnProgress
    place: str = ""
    dashboard: str = ""
    _early: tuple[int, int] = (0, 0)
    _exact: tuple[int, int] = (0, 0)
    _started: float = field(default_factory=monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def event(self, message: tuple[float, dict[str, object]]) -> None:
        """Add an event of the topic."""
        _, counts = message
        with self._lock:
            tiles, pixels = self._early
            self._early = (tiles + int(str(counts["tiles"])), pixels + int(str(counts["pixels"])))
        self._say()

    def finished(self, tiles: int, pixels: int) -> None:
        """Add the exact count of a region that has ended."""
        with self._lock:
            self._exact = (self._exact[0] + tiles, self._exact[1] + pixels)
        self._say()

    def _say(self) -> None:
        done = min(self.n_tiles, max(self._early[0], self._exact[0]))
        pixels = max(self._early[1], self._exact[1])
        self.tell(
            Progress(
                n_tiles=self.n_tiles,
                n_done=done,
                megapixels=pixels / 1e6,
                seconds=monotonic() - self._started,
                place=self.place,
                dashboard=self.dashboard,
            )
        )
