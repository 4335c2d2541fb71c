"""The account of a job: every tile of every region, once, as its parts tell it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from daskmr.core.boxes import Boxes
from daskmr.core.effort import Effort
from daskmr.core.grid import TileGrid
from daskmr.core.report import JobReport, TileOutcome, TileStatus
from daskmr.pipeline.merging import Extent, extent_of
from daskmr.store import PartHeader, PartStore

if TYPE_CHECKING:
    from daskmr.pipeline.plan import Plan

_MAX_PROBLEMS = 1000
Position = tuple[int, int]
Tiles = Mapping[Position, TileOutcome]
"""Outcomes of the tiles of one region, by first row and column."""


@dataclass
class Account:
    """What became of the tiles of a job; small, however many there were."""

    grid: TileGrid
    """The tiles."""
    outcomes: Counter[TileStatus] = field(default_factory=Counter)
    """Tiles by status."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Failed and skipped tiles by reason."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Features of answers that could not be used, by reason."""
    problems: list[TileOutcome] = field(default_factory=list)
    """Failed tiles, the first thousand in grid order."""
    extents: list[Extent] = field(default_factory=list)
    """Parts that hold features, in the order of their regions."""
    effort: Effort = field(default_factory=Effort)
    """What all of it took."""
    n_features: int = 0
    """Features before merging."""
    n_attempts: int = 0
    """Calls of the model."""
    counts: NDArray[np.int64] = field(init=False)
    """Features of each tile before merging, shape of the grid."""

    def __post_init__(self) -> None:
        self.counts = np.zeros(self.grid.shape, dtype=np.int64)

    def add(self, tiles: Tiles) -> None:
        """Take the tiles of one region."""
        for outcome in tiles.values():
            self.outcomes[outcome.status] += 1
            if outcome.status is not TileStatus.SUCCEEDED:
                self.reasons[outcome.reason] += 1
        self.problems.extend(o for o in tiles.values() if o.status is TileStatus.FAILED)
        if len(self.problems) > _MAX_PROBLEMS:
            self.problems.sort(key=_place)
            del self.problems[_MAX_PROBLEMS:]

    def add_part(self, name: str, header: PartHeader, parts: PartStore) -> None:
        """Take what it took to make one part, and what is in it."""
        self.effort += header.effort
        self.n_features += header.n_features
        self.n_attempts += sum(outcome.attempts for outcome in header.outcomes)
        for outcome in header.outcomes:
            self.dropped.update(outcome.dropped)
        if header.bounds is not None:
            bounds, home = np.array([header.bounds]), self._home(header)
            if (bounds[0, :2] < home[:2]).any() or (bounds[0, 2:] > home[2:]).any():
                bounds = parts.boxes(name)
            self.extents.append(extent_of(name, bounds, home))
        rows = np.searchsorted(self.grid.rows, [outcome.row for outcome in header.outcomes])
        cols = np.searchsorted(self.grid.cols, [outcome.col for outcome in header.outcomes])
        self.counts[rows, cols] += [outcome.n_features for outcome in header.outcomes]

    def _home(self, header: PartHeader) -> Boxes:
        """Where features of a part are expected: its tiles, and half a tile around them."""
        rows = [outcome.row for outcome in header.outcomes]
        cols = [outcome.col for outcome in header.outcomes]
        high, wide = self.grid.tile.height, self.grid.tile.width
        return np.array([
            min(cols) - wide / 2, min(rows) - high / 2,
            max(cols) + wide * 1.5, max(rows) + high * 1.5,
        ])  # fmt: skip

    def report(
        self, plan: "Plan", *, n_merged: int, n_truncated: int, deaths: Mapping[str, int]
    ) -> JobReport:
        """The job's report; outputs and wall time are not known here.

        Parameters
        ----------
        plan
            What was to be done.
        n_merged, n_truncated
            Features after merging, and how many of them a tile's edge has cut.
        deaths
            Attempts at regions that ended badly, by cause.
        """
        outcomes, reasons = Counter(self.outcomes), Counter(self.reasons)
        if plan.n_skipped:
            outcomes[TileStatus.SKIPPED] += plan.n_skipped
            reasons["NODATA"] += plan.n_skipped
        times = self.effort.times
        return JobReport(
            job_id=plan.settings.job_id,
            image=plan.info.url,
            n_tiles=plan.n_tiles,
            outcomes=dict(outcomes),
            reasons=dict(reasons),
            problems=sorted(self.problems, key=_place),
            n_features=self.n_features,
            n_merged=n_merged,
            n_truncated=n_truncated,
            dropped=dict(self.dropped),
            n_attempts=self.n_attempts,
            region_attempts=dict(deaths),
            seconds={stage: spent.total_s for stage, spent in times.items()},
            percentiles={
                stage: {"p50": spent.percentile(0.5), "p95": spent.percentile(0.95)}
                for stage, spent in times.items()
            },
            megapixels=self.effort.n_pixels / 1e6,
            warnings=tuple(plan.warnings),
        )


def accounted(
    account: Account, parts: PartStore, names: Iterable[str]
) -> Iterator[tuple[str, Tiles]]:
    """Take account of all regions; each region's name and its tiles, for whoever wants them too.

    Of a tile that was asked about again in a later round, the later outcome counts.

    Parameters
    ----------
    account
        Adds it all up.
    parts
        Where they are.
    names
        Parts of the job, sorted.
    """
    known = list(names)
    headers = zip(known, parts.headers(known), strict=True)
    for region, those in groupby(headers, key=lambda pair: pair[0].partition("~")[0]):
        tiles: dict[Position, TileOutcome] = {}
        for name, header in those:
            account.add_part(name, header, parts)
            tiles.update({(o.row, o.col): o for o in header.outcomes})
        account.add(tiles)
        yield region, tiles


def _place(outcome: TileOutcome) -> Position:
    return outcome.row, outcome.col
