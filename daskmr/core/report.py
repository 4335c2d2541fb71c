"""What became of a job: tiles by status and reason, features, time; and the job's own status."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class TileStatus(StrEnum):
    """How a tile ended; every planned tile ends in exactly one of these."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


class JobStatus(StrEnum):
    """Model Runner's words for the state of a job."""

    SUCCESS = "SUCCESS"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class TileOutcome:
    """How one tile ended."""

    row: int
    """First pixel row of the tile, in the full image."""
    col: int
    """First pixel column of the tile, in the full image."""
    status: TileStatus
    """How it ended."""
    reason: str = ""
    """Short upper-case cause (``HTTP_500``, ``NODATA``); empty for a success."""
    message: str = ""
    """One sentence for people; empty for a success."""
    n_features: int = 0
    """Features kept from the answer."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Features of the answer that could not be used, by reason."""
    attempts: int = 0
    """Calls of the endpoint that were made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of the results at one of the places where they were asked for."""

    to: str
    """Folder, URL or stream."""
    is_done: bool
    """Whether all of them are there."""
    message: str = ""
    """Why not; empty when they are."""
    outputs: Sequence[str] = ()
    """Files that were written."""
    n_sent: int = 0
    """Records that a stream took."""
    n_retried: int = 0
    """Records that were sent again."""
    n_spilled: int = 0
    """Records that point to a feature which is too large for one."""
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``sha256`` and ``bytes`` of the files that were written, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """How to cut the image into tiles next time, from the sizes of what was found."""

    size_px: Mapping[str, float]
    """``p50``, ``p95``, ``p99`` and ``max`` of the features' longest sides, pixels; percentiles are
    at most 5 % too large."""
    overlap: int
    """Pixels that neighbouring tiles should share, so that 99 % are whole in some tile."""
    tile_size: int
    """Pixels of a tile, at least; so that no more than a quarter of its side is overlap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """The account of one job on one image."""

    job_id: str
    """Name of the job."""
    image: str
    """URL of the image."""
    n_tiles: int
    """Tiles planned."""
    outcomes: Mapping[TileStatus, int]
    """Tiles by status; the values sum to `n_tiles`."""
    reasons: Mapping[str, int]
    """Failed and skipped tiles by reason."""
    problems: Sequence[TileOutcome]
    """Failed tiles, the first thousand in grid order."""
    n_features: int
    """Features before merging."""
    n_merged: int
    """Features after merging."""
    dropped: Mapping[str, int]
    """Features of answers that could not be used, by reason."""
    n_truncated: int = 0
    """Features after merging that the edge of their tile has cut off."""
    n_joined: int = 0
    """Features after merging that were made of several."""
    advice: Advice | None = None
    """How to cut the image into tiles next time; None when nothing was found."""
    n_attempts: int = 0
    """Calls of the endpoint that were made."""
    region_attempts: Mapping[str, int] = field(default_factory=dict)
    """Runs of whole regions that ended badly, by cause: ``worker_lost``, ``crashed``,
    ``task_failed``."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Time by stage, summed over all workers and drivers; ``wall`` is what the clock of the last
    driver showed."""
    percentiles: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """``p50`` and ``p95`` of a tile's time in each stage (of a region's, for ``region``), seconds,
    within 5 %."""
    megapixels: float = 0.0
    """Pixels of all tiles run, in millions."""
    tiles_per_s: float = 0.0
    """Tiles that the last driver saw ending, by its wall time."""
    outputs: Sequence[str] = ()
    """Files that were written."""
    deliveries: Sequence[Delivery] = ()
    """What became of the results at each place where they were asked for."""
    warnings: Sequence[str] = ()
    """What the user should know."""

    @property
    def status(self) -> JobStatus:
        """SUCCESS when no tile failed, FAILED when none succeeded, PARTIAL between them.

        A job whose tiles were all skipped, or that had none, is a success: nothing was lost. One
        whose results are not everywhere where they were asked for is PARTIAL at best.
        """
        if not self.outcomes.get(TileStatus.FAILED):
            is_done = all(delivery.is_done for delivery in self.deliveries)
            return JobStatus.SUCCESS if is_done else JobStatus.PARTIAL
        return JobStatus.PARTIAL if self.outcomes.get(TileStatus.SUCCEEDED) else JobStatus.FAILED

    @property
    def n_retries(self) -> int:
        """Calls of the endpoint beyond the first of each tile."""
        n_asked = self.n_tiles - self.outcomes.get(TileStatus.SKIPPED, 0)
        return max(0, self.n_attempts - n_asked)

    @property
    def truncated_share(self) -> float:
        """Part of the features that is cut off; 0 without features."""
        return self.n_truncated / self.n_merged if self.n_merged else 0.0

    @property
    def joined_share(self) -> float:
        """Part of the features that was made of several; 0 without features."""
        return self.n_joined / self.n_merged if self.n_merged else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, those that follow from others included."""
        return {
            "status": str(self.status),
            "n_retries": self.n_retries,
            "truncated_share": self.truncated_share,
            "joined_share": self.joined_share,
            **asdict(self),
        }
