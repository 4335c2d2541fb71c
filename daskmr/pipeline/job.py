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
class Job:
    """One job as its workers see it."""

    job_id: str
    """Name of the job."""
    info: ImageInfo
    """The image."""
    regions: RegionGrid
    """The work, in units."""
    selection: Selection
    """Which tiles are run."""
    model: Endpoint | LocalModel
    """What answers a tile."""
    encoder: TileEncoder
    """How a remote endpoint gets its tiles."""
    terms: Terms
    """How each worker process may use a remote endpoint."""
    answers: AnswerForm
    """How the model spells what it found."""
    max_batch: int | None
    """Most tiles in one call; None: as many as the model takes."""
    linger_s: float
    """Seconds that a tile waits for others to share a call with."""
    parts: PartStore
    """Where results of regions go."""
    skip_nodata: bool
    """Whether tiles without data are skipped."""


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
