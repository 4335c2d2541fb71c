"""Report of a job: tiles by status and reason, features, time; and the job's status."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Self


class TileStatus(StrEnum):
    """Final status of a tile; every planned tile gets exactly one."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


class JobStatus(StrEnum):
    """Model Runner's statuses of a job, and CANCELED."""

    SUCCESS = "SUCCESS"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


@dataclass(frozen=True, slots=True, kw_only=True)
class TileOutcome:
    """Outcome of one tile."""

    row: int
    """First pixel row of the tile, in the full image."""
    col: int
    """First pixel column of the tile, in the full image."""
    status: TileStatus
    """Final status."""
    reason: str = ""
    """Short upper-case cause (``HTTP_500``, ``NODATA``); empty for a success."""
    message: str = ""
    """One sentence for users; of a success the first detection that was left out, if any."""
    n_features: int = 0
    """Features kept from the answer."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Features of the answer that could not be used, by reason."""
    attempts: int = 0
    """Calls of the endpoint that were made."""
    seconds: float = 0.0
    """Duration of the call that answered it, which it may share with tiles of its batch; 0 for a
    tile without an answer."""
    symptoms: Mapping[str, str] = field(default_factory=dict)
    """What is odd about the answer: an example by name, see `daskmr.decode.symptoms`."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the outcome of plain JSON values."""
        return cls(**{**values, "status": TileStatus(values["status"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Outcome of writing the results to one output."""

    to: str
    """Folder, URL or stream."""
    is_done: bool
    """True when all results were written."""
    message: str = ""
    """Reason of a failure; empty for a success."""
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
    """Recommended tile size and overlap for the image, from the sizes of its features."""

    size_px: Mapping[str, float]
    """``p50``, ``p95``, ``p99`` and ``max`` of the features' longest sides, pixels; percentiles are
    at most 5 % too large."""
    overlap: int
    """Pixels that neighbouring tiles should share, so that 99 % of features are whole in a tile."""
    tile_size: int
    """Pixels of a tile, at least; so that no more than a quarter of its side is overlap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """Report of one job on one image."""

    job_id: str
    """Name of the job."""
    image: str
    """URL of the image."""
    n_tiles: int
    """Tiles planned."""
    outcomes: Mapping[TileStatus, int]
    """Tiles by status; the values sum to `n_tiles`, unless the job ended early (`failure`)."""
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
    """Features after merging that were joined from several."""
    advice: Advice | None = None
    """Recommended tile size and overlap; None without features."""
    n_attempts: int = 0
    """Calls of the endpoint that were made."""
    region_attempts: Mapping[str, int] = field(default_factory=dict)
    """Failed runs of whole regions, by cause: ``worker_lost``, ``crashed``, ``task_failed``."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Time by stage, summed over all workers and drivers; ``wall`` is the elapsed time of the last
    driver."""
    percentiles: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """``p50`` and ``p95`` of a tile's time in each stage (of a region's, for ``region``), seconds,
    within 5 %."""
    megapixels: float = 0.0
    """Pixels of all tiles run, in millions."""
    tiles_per_s: float = 0.0
    """Tiles that ended while the last driver ran, over its wall time."""
    outputs: Sequence[str] = ()
    """Files that were written."""
    deliveries: Sequence[Delivery] = ()
    """Outcome of each output."""
    warnings: Sequence[str] = ()
    """Warnings for the user."""
    notes: Sequence[str] = ()
    """What the user may like to know of this run: where it ran, and what it went on with."""
    failure: str = ""
    """Reason why the job ended before its results were published; empty when they were."""
    is_canceled: bool = False
    """True when it ended early because it was canceled."""

    @property
    def status(self) -> JobStatus:
        """SUCCESS when no tile failed, FAILED when none succeeded, PARTIAL between them.

        A job whose tiles were all skipped, or that had none, is a success: nothing was lost. One
        whose results could not be written to every output is PARTIAL at best. One that ended before
        its results were published is CANCELED or FAILED, whatever the status of its tiles.
        """
        if self.failure:
            return JobStatus.CANCELED if self.is_canceled else JobStatus.FAILED
        if not self.outcomes.get(TileStatus.FAILED):
            is_done = all(delivery.is_done for delivery in self.deliveries)
            return JobStatus.SUCCESS if is_done else JobStatus.PARTIAL
        return JobStatus.PARTIAL if self.outcomes.get(TileStatus.SUCCEEDED) else JobStatus.FAILED

    @property
    def n_retries(self) -> int:
        """Calls of the endpoint beyond the first of each tile."""
        n_called = self.n_tiles - self.outcomes.get(TileStatus.SKIPPED, 0)
        return max(0, self.n_attempts - n_called)

    @property
    def truncated_share(self) -> float:
        """Share of the features that is truncated; 0 without features."""
        return self.n_truncated / self.n_merged if self.n_merged else 0.0

    @property
    def joined_share(self) -> float:
        """Share of the features that was joined from several; 0 without features."""
        return self.n_joined / self.n_merged if self.n_merged else 0.0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the report of the values of `as_dict`; those that no field has are left out."""
        fields = {name: value for name, value in values.items() if name in cls.__dataclass_fields__}
        advice = fields.get("advice")
        return cls(**{
            **fields,
            "outcomes": {TileStatus(name): n for name, n in fields["outcomes"].items()},
            "problems": [TileOutcome.from_dict(tile) for tile in fields.get("problems", ())],
            "deliveries": [Delivery(**delivery) for delivery in fields.get("deliveries", ())],
            "advice": None if advice is None else Advice(**advice),
        })  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values, with the computed ones."""
        return {
            "status": str(self.status),
            "n_retries": self.n_retries,
            "truncated_share": self.truncated_share,
            "joined_share": self.joined_share,
            **asdict(self),
        }
