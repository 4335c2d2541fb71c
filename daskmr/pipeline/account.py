"""The driver's account of a job: every tile of every region, once."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from daskmr.core.grid import Region, RegionGrid
from daskmr.core.report import JobReport, TileOutcome, TileStatus
from daskmr.core.selection import Selection
from daskmr.pipeline.job import RegionSummary
from daskmr.store import Part

if TYPE_CHECKING:
    from daskmr.pipeline.plan import Plan

_MAX_PROBLEMS = 1000


class Account:
    """Adds up what became of the regions.

    Parameters
    ----------
    regions, selection
        The work, and which tiles of it are run.
    """

    def __init__(self, regions: RegionGrid, selection: Selection) -> None:
        self._regions = regions
        self._selection = selection
        self.written: list[str] = []
        """Names of the parts that hold features or failures, as their regions ended."""
        self.outcomes: Counter[TileStatus] = Counter()
        self.reasons: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.seconds: dict[str, float] = {}
        self.n_features = self.n_attempts = self.n_pixels = 0
        self._lost: list[Region] = []
        self._ended: set[str] = set()

    @property
    def n_lost(self) -> int:
        """Regions whose workers died."""
        return len(self._lost)

    def missing(self, regions: Iterable[Region]) -> list[Region]:
        """Regions with tiles to run that have not ended."""
        return [r for r in regions if r.id not in self._ended and self.n_tiles(r)]

    def n_tiles(self, region: Region) -> int:
        """Tiles of a region that are run."""
        return int(self._selection.of_region(region).sum())

    def add(self, region: Region, summary: RegionSummary | None) -> None:
        """Take the end of one region; None when the workers that ran it died."""
        self._ended.add(region.id)
        if summary is None:
            self._lost.append(region)
            self.outcomes[TileStatus.FAILED] += self.n_tiles(region)
            self.reasons["WORKER_LOST"] += self.n_tiles(region)
            return
        if summary.n_features or summary.outcomes.get(TileStatus.FAILED):
            self.written.append(summary.region)
        self.outcomes.update({TileStatus(status): n for status, n in summary.outcomes.items()})
        self.reasons.update(summary.reasons)
        self.dropped.update(summary.dropped)
        self.n_features += summary.n_features
        self.n_attempts += summary.n_attempts
        self.n_pixels += summary.n_pixels
        for stage, spent in summary.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def report(self, plan: "Plan", parts: Sequence[Part], *, n_merged: int) -> JobReport:
        """The job's report; outputs and wall time are not known here."""
        outcomes, reasons = Counter(self.outcomes), Counter(self.reasons)
        if plan.n_skipped:
            outcomes[TileStatus.SKIPPED] += plan.n_skipped
            reasons["NODATA"] += plan.n_skipped
        return JobReport(
            job_id=plan.settings.job_id,
            image=plan.info.url,
            n_tiles=plan.n_tiles,
            outcomes=dict(outcomes),
            reasons=dict(reasons),
            problems=self._problems(parts),
            n_features=self.n_features,
            n_merged=n_merged,
            dropped=dict(self.dropped),
            n_attempts=self.n_attempts,
            seconds=dict(self.seconds),
            megapixels=self.n_pixels / 1e6,
            warnings=tuple(plan.warnings),
        )

    def _problems(self, parts: Sequence[Part]) -> list[TileOutcome]:
        """Failed tiles in grid order: those that parts tell of, and all of a lost region."""
        failed = [o for part in parts for o in part.outcomes if o.status is TileStatus.FAILED]
        for region in self._lost:
            mask = self._selection.of_region(region).ravel()
            tiles = self._regions.grid.tiles(region)
            failed.extend(
                TileOutcome(
                    row=tile.window.row,
                    col=tile.window.col,
                    status=TileStatus.FAILED,
                    reason="WORKER_LOST",
                    message=f"the workers that ran region {region.id} died",
                )
                for tile, run in zip(tiles, mask, strict=True)
                if run
            )
        return sorted(failed, key=lambda o: (o.row, o.col))[:_MAX_PROBLEMS]
