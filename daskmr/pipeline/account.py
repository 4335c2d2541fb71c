"""The account of a job: every tile of every region, once, as its parts tell it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from daskmr.core.boxes import Boxes
from daskmr.core.cuts import cuts, joined, margin_px
from daskmr.core.effort import Effort
from daskmr.core.features import boxes
from daskmr.core.grid import TileGrid
from daskmr.core.report import Advice, JobReport, TileOutcome, TileStatus
from daskmr.core.selection import Mask
from daskmr.pipeline.merging import Extent, extent_of
from daskmr.store import PartHeader, PartStore

if TYPE_CHECKING:
    from daskmr.pipeline.plan import Plan

_MAX_PROBLEMS = 1000
_STEPS = 16
"""Buckets for each doubling of a size: what is read off them is too large by 4 % at most."""
_MANY = 0.01
"""Part of features that is worth a remark."""
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
    run: Mask = field(init=False)
    """Tiles that were sent to the model, shape of the grid; of those that failed, too."""

    def __post_init__(self) -> None:
        self.counts = np.zeros(self.grid.shape, dtype=np.int64)
        self.run = np.zeros(self.grid.shape, dtype=np.bool_)

    def add(self, tiles: Tiles) -> None:
        """Take the tiles of one region."""
        for outcome in tiles.values():
            self.outcomes[outcome.status] += 1
            if outcome.status is not TileStatus.SUCCEEDED:
                self.reasons[outcome.reason] += 1
        run = [place for place, o in tiles.items() if o.status is not TileStatus.SKIPPED]
        rows, cols = np.array(run, dtype=np.int64).reshape(-1, 2).T
        self.run[np.searchsorted(self.grid.rows, rows), np.searchsorted(self.grid.cols, cols)] = 1
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

    def report(self, plan: "Plan", *, findings: "Findings", deaths: Mapping[str, int]) -> JobReport:
        """The job's report; outputs and wall time are not known here.

        Parameters
        ----------
        plan
            What was to be done.
        findings
            What is left of the features after merging.
        deaths
            Attempts at regions that ended badly, by cause.
        """
        outcomes, reasons = Counter(self.outcomes), Counter(self.reasons)
        if plan.n_skipped:
            outcomes[TileStatus.SKIPPED] += plan.n_skipped
            reasons["NODATA"] += plan.n_skipped
        times = self.effort.times
        advice = findings.advice(self.grid)
        outside = {"OUTSIDE_ROI": findings.n_outside} if findings.n_outside else {}
        return JobReport(
            job_id=plan.settings.job_id,
            image=plan.info.url,
            n_tiles=plan.n_tiles,
            outcomes=dict(outcomes),
            reasons=dict(reasons),
            problems=sorted(self.problems, key=_place),
            n_features=self.n_features,
            n_merged=findings.n,
            n_truncated=findings.n_truncated,
            n_joined=findings.n_joined,
            advice=advice,
            dropped=dict(self.dropped) | outside,
            n_attempts=self.n_attempts,
            region_attempts=dict(deaths),
            seconds={stage: spent.total_s for stage, spent in times.items()},
            percentiles={
                stage: {"p50": spent.percentile(0.5), "p95": spent.percentile(0.95)}
                for stage, spent in times.items()
            },
            megapixels=self.effort.n_pixels / 1e6,
            warnings=(*plan.warnings, *findings.remarks(self.grid, advice)),
        )


@dataclass
class Findings:
    """The features of a job after merging, in numbers; small, however many there were."""

    n: int = 0
    """How many."""
    n_truncated: int = 0
    """How many of them the edge of a tile has cut."""
    n_joined: int = 0
    """How many of them were made of several."""
    n_outside: int = 0
    """How many more there were, outside the area of interest."""
    _largest_px: float = 0.0
    _sizes: Counter[int] = field(default_factory=Counter)

    def add(self, features: gpd.GeoDataFrame, area: BaseGeometry | None) -> gpd.GeoDataFrame:
        """Take a merged table in pixels; what of it touches an area, or all of it without one."""
        if area is not None:
            shapely.prepare(area)
            touches = shapely.intersects(area, features.geometry.to_numpy())
            self.n_outside += int((~touches).sum())
            features = features[touches]
        self.n += len(features)
        self.n_truncated += int((cuts(features) != 0).sum())
        self.n_joined += int(joined(features).sum())
        found = boxes(features)
        size = np.maximum((found[:, 2:] - found[:, :2]).max(axis=1, initial=0.0), 1.0)
        self._largest_px = max(self._largest_px, float(size.max(initial=0.0)))
        steps, counts = np.unique(np.ceil(_STEPS * np.log2(size)).astype(int), return_counts=True)
        self._sizes.update(dict(zip(steps.tolist(), counts.tolist(), strict=True)))
        return features

    def advice(self, grid: TileGrid) -> Advice | None:
        """How to cut the image into tiles next time; None without features."""
        if not self.n:
            return None
        p50, p95, p99 = (self._percentile(part) for part in (0.5, 0.95, 0.99))
        overlap = _multiple(p99 + 2 * margin_px(grid), 8)
        tile = max(min(grid.tile.height, grid.tile.width), 4 * overlap)
        return Advice(
            size_px={"p50": p50, "p95": p95, "p99": p99, "max": self._largest_px},
            overlap=overlap,
            tile_size=_multiple(tile, 32),
        )

    def remarks(self, grid: TileGrid, advice: Advice | None) -> Iterator[str]:
        """What should be done about features that are cut off, if they are many."""
        now = min(grid.overlap.height, grid.overlap.width)
        if advice and self.n_truncated > _MANY * self.n and advice.overlap > now:
            yield (
                f"overlap: {self.n_truncated:,} of {self.n:,} features are cut off by the edge of "
                f"their tile; 99 % are up to {advice.size_px['p99']:.0f} pixels long: overlap "
                f"{advice.overlap} with tile_size {advice.tile_size} would see them whole"
            )

    def _percentile(self, part: float) -> float:
        """Longest side that a part of all do not exceed, in pixels."""
        left = np.ceil(part * self.n)
        for step, n in sorted(self._sizes.items()):
            left -= n
            if left <= 0:
                return min(round(float(2 ** (step / _STEPS)), 3), self._largest_px)
        return self._largest_px


def _multiple(value: float, of: int) -> int:
    return int(-(-value // of) * of)


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
