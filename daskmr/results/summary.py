"""Summary of a job from its parts: every tile of every region, once."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from daskmr.core.arrays import Mask
from daskmr.core.boxes import Boxes
from daskmr.core.features import boxes
from daskmr.core.grid import Position, TileGrid
from daskmr.core.histogram import LogHistogram
from daskmr.core.report import Advice, JobReport, TileOutcome, TileStatus
from daskmr.core.timings import Effort
from daskmr.core.truncation import cuts, is_joined, margin_px
from daskmr.decode.symptoms import CLASS_NUMBERS, sentences
from daskmr.planning.plan import Plan
from daskmr.results.merge_parts import Extent, extent_of
from daskmr.store import PartHeader, PartStore

_MAX_PROBLEMS = 1000
_DROPPED = "DROPPED"
_MANY = 0.01
"""Part of features that is worth a remark."""
Tiles = Mapping[Position, TileOutcome]
"""Outcomes of the tiles of one region, by first row and column."""


@dataclass
class JobSummary:
    """Tiles of a job by outcome; small, however many there are."""

    grid: TileGrid
    """The tiles."""
    coverage: Path = field(default_factory=Path)
    """The map of the tiles, GeoJSON, where it was drawn."""
    tiles: Path = field(default_factory=Path)
    """The table of the tiles, GeoParquet; see `daskmr.results.tile_table`."""
    outcomes: Counter[TileStatus] = field(default_factory=Counter)
    """Tiles by status."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Failed and skipped tiles by reason."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Features of answers that could not be used, by reason."""
    symptoms: Counter[str] = field(default_factory=Counter)
    """Tiles by what is odd about their answers; see `daskmr.decode.symptoms`."""
    examples: dict[str, tuple[Position, str]] = field(default_factory=dict)
    """The first example, in grid order, of each symptom and of detections that were left out."""
    n_with_features: int = 0
    """Tiles with features."""
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
        """Add the tiles of one region."""
        for outcome in tiles.values():
            self.outcomes[outcome.status] += 1
            if outcome.status is TileStatus.SUCCEEDED:
                self._add_oddities(outcome)
            else:
                self.reasons[outcome.reason] += 1
        run = [place for place, o in tiles.items() if o.status is not TileStatus.SKIPPED]
        rows, cols = np.array(run, dtype=np.int64).reshape(-1, 2).T
        self.run[np.searchsorted(self.grid.rows, rows), np.searchsorted(self.grid.cols, cols)] = 1
        self.problems.extend(o for o in tiles.values() if o.status is TileStatus.FAILED)
        if len(self.problems) > _MAX_PROBLEMS:
            self.problems.sort(key=_place)
            del self.problems[_MAX_PROBLEMS:]

    def _add_oddities(self, outcome: TileOutcome) -> None:
        self.n_with_features += outcome.n_features > 0
        self.symptoms.update(outcome.symptoms.keys())
        self.dropped.update(outcome.dropped)
        left_out = {_DROPPED: outcome.message} if outcome.dropped else {}
        for name, example in {**outcome.symptoms, **left_out}.items():
            first = _place(outcome), example
            self.examples[name] = min(first, self.examples.get(name, first))

    def add_part(self, name: str, header: PartHeader, parts: PartStore) -> None:
        """Add the effort, features and extent of one part."""
        self.effort += header.effort
        self.n_features += header.n_features
        self.n_attempts += sum(outcome.attempts for outcome in header.outcomes)
        if header.bounds is not None:
            bounds, home = np.array([header.bounds]), self._home(header)
            if (bounds[0, :2] < home[:2]).any() or (bounds[0, 2:] > home[2:]).any():
                bounds = parts.boxes(name)
            self.extents.append(extent_of(name, bounds, home))
        rows = np.searchsorted(self.grid.rows, [outcome.row for outcome in header.outcomes])
        cols = np.searchsorted(self.grid.cols, [outcome.col for outcome in header.outcomes])
        self.counts[rows, cols] += [outcome.n_features for outcome in header.outcomes]

    def _home(self, header: PartHeader) -> Boxes:
        """Return the area where features of a part are expected: its tiles, half a tile around."""
        rows = [outcome.row for outcome in header.outcomes]
        cols = [outcome.col for outcome in header.outcomes]
        high, wide = self.grid.tile.height, self.grid.tile.width
        return np.array([
            min(cols) - wide / 2, min(rows) - high / 2,
            max(cols) + wide * 1.5, max(rows) + high * 1.5,
        ])  # fmt: skip

    def report(
        self, plan: Plan, statistics: "FeatureStatistics", *, n_bad_attempts: Mapping[str, int]
    ) -> JobReport:
        """Return the job's report; outputs and wall time are not known here.

        Parameters
        ----------
        plan
            What was to be done.
        statistics
            Of the features after merging.
        n_bad_attempts
            Attempts at regions that ended badly, by cause.
        """
        outcomes, reasons = Counter(self.outcomes), Counter(self.reasons)
        if plan.n_skipped:
            outcomes[TileStatus.SKIPPED] += plan.n_skipped
            reasons["NODATA"] += plan.n_skipped
        times = self.effort.times
        advice = statistics.advice(self.grid)
        outside = {"OUTSIDE_ROI": statistics.n_outside} if statistics.n_outside else {}
        return JobReport(
            job_id=plan.settings.job_id,
            image=plan.info.url,
            n_tiles=plan.n_tiles,
            outcomes=dict(outcomes),
            reasons=dict(reasons),
            problems=sorted(self.problems, key=_place),
            n_features=self.n_features,
            n_merged=statistics.n,
            n_truncated=statistics.n_truncated,
            n_joined=statistics.n_joined,
            advice=advice,
            dropped=dict(self.dropped) | outside,
            n_attempts=self.n_attempts,
            region_attempts=dict(n_bad_attempts),
            seconds={stage: spent.total_s for stage, spent in times.items()},
            percentiles={
                stage: {"p50": spent.percentile(0.5), "p95": spent.percentile(0.95)}
                for stage, spent in times.items()
            },
            megapixels=self.effort.n_pixels / 1e6,
            warnings=(
                *plan.warnings,
                *self.alerts(),
                *self._sentences(frozenset({CLASS_NUMBERS})),
                *statistics.remarks(self.grid, advice),
            ),
        )

    def alerts(self) -> Iterator[str]:
        """Yield what may be wrong with the answers: detections left out, and odd ones."""
        if n_dropped := self.dropped.total():
            counts = ", ".join(f"{n:,} x {reason}" for reason, n in sorted(self.dropped.items()))
            n_all = n_dropped + self.n_features
            yield (
                f"{n_dropped:,} of {n_all:,} detections were left out ({counts}), such as "
                f"{self.examples[_DROPPED][1]}"
            )
        yield from self._sentences(self.symptoms.keys() - {CLASS_NUMBERS})

    def _sentences(self, names: Set[str]) -> list[str]:
        counts = {name: n for name, n in self.symptoms.items() if name in names}
        examples = {name: example for name, (_, example) in self.examples.items()}
        return sentences(counts, examples, self.n_with_features)


@dataclass
class FeatureStatistics:
    """Numbers of a job's merged features; small, however many there are."""

    n: int = 0
    """How many."""
    n_truncated: int = 0
    """How many of them the edge of a tile has cut."""
    n_joined: int = 0
    """How many of them were made of several."""
    n_outside: int = 0
    """How many more there were, outside the area of interest."""
    _largest_px: float = 0.0
    _sizes: LogHistogram = field(default_factory=LogHistogram)

    def add(self, features: gpd.GeoDataFrame, area: BaseGeometry | None) -> gpd.GeoDataFrame:
        """Add a merged table in pixels; return the rows that touch an area, or all without one."""
        if area is not None:
            shapely.prepare(area)
            touches = shapely.intersects(area, features.geometry.to_numpy())
            self.n_outside += int((~touches).sum())
            features = features[touches]
        self.n += len(features)
        self.n_truncated += int((cuts(features) != 0).sum())
        self.n_joined += int(is_joined(features).sum())
        extent = boxes(features)
        size = np.maximum((extent[:, 2:] - extent[:, :2]).max(axis=1, initial=0.0), 1.0)
        self._largest_px = max(self._largest_px, float(size.max(initial=0.0)))
        self._sizes += LogHistogram.of(size)
        return features

    def advice(self, grid: TileGrid) -> Advice | None:
        """Return a tile size and an overlap for next time; None without features."""
        if not self.n:
            return None
        p50, p95, p99 = (
            min(round(self._sizes.percentile(part), 3), self._largest_px)
            for part in (0.5, 0.95, 0.99)
        )
        overlap = _multiple(p99 + 2 * margin_px(grid), 8)
        tile = max(min(grid.tile.height, grid.tile.width), 4 * overlap)
        return Advice(
            size_px={"p50": p50, "p95": p95, "p99": p99, "max": self._largest_px},
            overlap=overlap,
            tile_size=_multiple(tile, 32),
        )

    def remarks(self, grid: TileGrid, advice: Advice | None) -> Iterator[str]:
        """Yield a warning when many features are cut off by tile edges."""
        now = min(grid.overlap.height, grid.overlap.width)
        if advice and self.n_truncated > _MANY * self.n and advice.overlap > now:
            yield (
                f"overlap: {self.n_truncated:,} of {self.n:,} features are cut off by the edge of "
                f"their tile; 99 % are up to {advice.size_px['p99']:.0f} pixels long: overlap "
                f"{advice.overlap} with tile_size {advice.tile_size} would see them whole"
            )


def _multiple(value: float, of: int) -> int:
    return int(-(-value // of) * of)


def add_parts(
    account: JobSummary, parts: PartStore, names: Iterable[str]
) -> Iterator[tuple[str, Tiles]]:
    """Add all regions to a summary; yield each region's name and tiles.

    Of a tile that was run again in a later round, the later outcome counts.

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
