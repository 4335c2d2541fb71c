"""What a worker needs to know of a job: plain data that travels with every task."""

from collections.abc import Mapping
from dataclasses import dataclass

from daskmr.core.grid import RegionGrid
from daskmr.core.imagery import ImageInfo
from daskmr.core.selection import Selection
from daskmr.decode import AnswerForm
from daskmr.encode.base import TileEncoder
from daskmr.endpoints.base import Endpoint, LocalModel
from daskmr.endpoints.caller import Terms
from daskmr.store import PartStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How a model is asked about the tiles of an image."""

    info: ImageInfo
    """The image."""
    model: Endpoint | LocalModel
    """What answers a tile."""
    encoder: TileEncoder
    """How a remote endpoint gets its tiles."""
    answers: AnswerForm
    """How the model spells what it found."""
    terms: Terms
    """How each worker process may use a remote endpoint."""
    max_batch: int | None = None
    """Most tiles in one call; None: as many as the model takes."""
    linger_s: float = 0.0
    """Seconds that a tile waits for others to share a call with."""

    @property
    def is_remote(self) -> bool:
        """Whether tiles are encoded and sent to an endpoint."""
        return isinstance(self.model, Endpoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as its workers see it."""

    job_id: str
    """Name of the job."""
    asking: Asking
    """The model, and how it is asked."""
    regions: RegionGrid
    """The work, in units."""
    selection: Selection
    """Which tiles are run."""
    parts: PartStore
    """Where results of regions go."""
    skip_nodata: bool
    """Whether tiles without data are skipped."""

    @property
    def info(self) -> ImageInfo:
        """The image."""
        return self.asking.info


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionSummary:
    """What comes back from a region: about a kilobyte, whatever was found."""

    region: str
    """Name of the region and of its part."""
    outcomes: Mapping[str, int]
    """Tiles by status."""
    reasons: Mapping[str, int]
    """Failed and skipped tiles by reason."""
    n_features: int
    """Features in the part."""
    dropped: Mapping[str, int]
    """Features of answers that could not be used, by reason."""
    n_attempts: int
    """Calls of the endpoint."""
    n_pixels: int
    """Pixels of the tiles that were sent to the model."""
    seconds: Mapping[str, float]
    """Time by stage."""
