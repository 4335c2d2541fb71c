"""How far a job has come: workers say it about once a second, the driver adds it up."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

_TOPIC = "daskmr-progress"
_EVERY_S = 1.0


def topic(job_id: str) -> str:
    """Dask topic of the events ``{"tiles", "pixels"}`` of a job; a client hears each for one."""
    return f"{_TOPIC}-{job_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """State of a running job."""

    n_tiles: int
    """Tiles to run."""
    n_done: int
    """Tiles that ended."""
    megapixels: float
    """Pixels of those tiles, in millions."""
    seconds: float
    """Since the job started."""
    dashboard: str = ""
    """URL of the dashboard of the cluster; empty when there is none."""


OnProgress = Callable[[Progress], None]
"""Called with the state of the job, about once a second and at the end."""


def tick(job_id: str) -> Callable[[int, int], None]:
    """What a region calls for tiles that ended; tells the driver about once a second."""
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:
        return lambda _tiles, _pixels: None
    return _Ticker(job_id, worker.log_event)


@dataclass
class _Ticker:
    job_id: str
    send: Callable[[str, dict[str, object]], None]
    tiles: int = 0
    pixels: int = 0
    told: float = field(default_factory=monotonic)

    def __call__(self, tiles: int, pixels: int) -> None:
        self.tiles += tiles
        self.pixels += pixels
        now = monotonic()
        if now - self.told >= _EVERY_S:
            self.send(topic(self.job_id), {"tiles": self.tiles, "pixels": self.pixels})
            self.tiles, self.pixels, self.told = 0, 0, now


@dataclass
class Tracker:
    """Adds up what workers say; thread-safe.

    Events of a region stop a little before its end, so a finished region replaces them by its
    exact count.
    """

    n_tiles: int
    tell: OnProgress
    dashboard: str = ""
    _early: tuple[int, int] = (0, 0)
    _exact: tuple[int, int] = (0, 0)
    _started: float = field(default_factory=monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def event(self, message: tuple[float, dict[str, object]]) -> None:
        """Take an event of the topic."""
        _, said = message
        with self._lock:
            tiles, pixels = self._early
            self._early = (tiles + int(str(said["tiles"])), pixels + int(str(said["pixels"])))
        self._say()

    def finished(self, tiles: int, pixels: int) -> None:
        """Take the exact count of a region that ended."""
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
                dashboard=self.dashboard,
            )
        )
