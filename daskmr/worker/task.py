"""Job data of a worker: plain values that travel with every task."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from daskmr.core.grid import Region, RegionGrid, Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.core.selection import Selection
from daskmr.core.timings import Effort
from daskmr.decode import AnswerForm
from daskmr.encode.base import PlacedTileEncoder, TileEncoder
from daskmr.endpoints.base import Endpoint, LocalModel
from daskmr.endpoints.caller import Terms
from daskmr.geolocate.base import Points, SensorModel
from daskmr.store import JobFolder, PartStore

KEYS = "daskmr-region"
"""How the Dask keys of regions begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """How the model is called for the tiles of an image."""

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
    sensor: SensorModel | None = None
    """Where the corners of tiles lie, for encoders that write it."""

    @property
    def is_remote(self) -> bool:
        """Whether tiles are encoded and sent to an endpoint."""
        return isinstance(self.model, Endpoint)

    def encoded(self, pixels: Pixels, window: Window) -> bytes:
        """Return a tile as it is sent.

        Raises
        ------
        EncodeError
            When the format cannot hold it.
        """
        encoder = self.encoder
        if self.sensor is not None and isinstance(encoder, PlacedTileEncoder):
            corners = self.sensor.to_world(_corners(window))[:, :2]
            if np.isfinite(corners).all():
                return encoder.encode_placed(pixels, self.info, window, corners=corners)
        return encoder.encode(pixels, self.info, window)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """A job as its workers need it."""

    job_id: str
    """Name of the job."""
    call: ModelCall
    """The model, and how it is called."""
    regions: RegionGrid
    """The work, in units."""
    selection: Selection
    """Which tiles are run."""
    folder: JobFolder
    """Where results of regions go."""
    skip_nodata: bool
    """Whether tiles without data are skipped."""
    epoch: int = 0
    """Number of the driver: how often the job has changed hands before it."""
    round: int = 0
    """Number of the retry round; 0 for the first run."""
    job_name: str = ""
    """Name of the job for people."""

    @property
    def info(self) -> ImageInfo:
        """The image."""
        return self.call.info

    @property
    def parts(self) -> PartStore:
        """Where results of regions go."""
        return self.folder.parts

    def part_name(self, region: Region) -> str:
        """Return the name of a region's part in this round."""
        return f"{region.id}~{self.round}" if self.round else region.id


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionSummary:
    """Result of a region for the driver; about a kilobyte, however many features it has."""

    region: str
    """Name of the region and of its part."""
    outcomes: Mapping[str, int]
    """Tiles by status."""
    n_features: int
    """Features in the part."""
    effort: Effort
    """What it took."""
    n_retries: int = 0
    """Calls beyond the first of each tile."""

    @property
    def n_tiles(self) -> int:
        """Tiles that ended."""
        return sum(self.outcomes.values())


def _corners(window: Window) -> Points:
    """Return the centres of a window's corner pixels, clockwise from upper left, shape (4, 2)."""
    left, top = window.col + 0.5, window.row + 0.5
    right, bottom = window.col_stop - 0.5, window.row_stop - 0.5
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
