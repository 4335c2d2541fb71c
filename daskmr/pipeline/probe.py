"""Probe a model with a few tiles, and estimate the time and price of the job."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from time import perf_counter
from typing import Any

import numpy as np

from daskmr.core.features import Detections
from daskmr.core.grid import Region, Tile
from daskmr.core.timings import Stopwatch
from daskmr.decode.symptoms import symptoms
from daskmr.dispatch.model_call import model_call
from daskmr.endpoints.limiter import INITIAL_WINDOW
from daskmr.errors import DaskmrError, EndpointError
from daskmr.planning.plan import Plan
from daskmr.views.text import duration
from daskmr.worker.inference import Calls, LocalCalls, RemoteCalls
from daskmr.worker.task import ModelCall

_PATIENCE_S = 5.0
"""A probe does not wait long for an endpoint that is unreachable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Outcome of one probed tile."""

    row: int
    """First pixel row of the tile, in the full image."""
    col: int
    """First pixel column of the tile, in the full image."""
    seconds: float
    """From sending it to its features."""
    payload_bytes: int
    """Bytes that were sent; 0 for a model in process."""
    attempts: int
    """Calls that were made."""
    reason: str = ""
    """Reason of the failure; empty for a success."""
    message: str = ""
    """The same as a sentence."""
    labels: Counter[str] = field(default_factory=Counter)
    """Features by class."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Features that could not be used, by reason."""
    symptoms: Mapping[str, str] = field(default_factory=dict)
    """What is odd about the answer: an example by name, see `daskmr.decode.symptoms`."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return plain | {"labels": dict(self.labels), "dropped": dict(self.dropped)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Expected time and price of a job, from a few of its tiles."""

    samples: Sequence[Sample]
    """The tiles."""
    n_tiles: int
    """Tiles of the job."""
    concurrency: int
    """Calls in flight that it was reckoned with: the endpoint's capacity, or where that is found by
    trying, those of the beginning."""
    price_per_hour: float | None = None
    """Price of an hour of the endpoint."""

    @property
    def seconds(self) -> tuple[float, float] | None:
        """Least and most seconds of the job; None when no tile succeeded.

        Tiles times the quartiles of a call's time, over the calls in flight: reading and merging
        not counted.
        """
        times = [sample.seconds for sample in self.samples if not sample.reason]
        if not times:
            return None
        low, high = np.quantile(times, [0.25, 0.75])
        rounds = max(1.0, self.n_tiles / self.concurrency)
        return float(low * rounds), float(max(high, low) * rounds)

    @property
    def price(self) -> tuple[float, float] | None:
        """Least and most money of the job, in the currency of the price."""
        if self.price_per_hour is None or self.seconds is None:
            return None
        low, high = self.seconds
        return low / 3600 * self.price_per_hour, high / 3600 * self.price_per_hour

    def rows(self) -> list[tuple[str, str]]:
        """Return the estimate as names and values."""
        samples = self.samples
        well = sorted(sample.seconds * 1000 for sample in samples if not sample.reason)
        answered = f"{len(well)} of {len(samples)} tiles answered"
        if well:
            answered += f", in {well[0]:,.0f} to {well[-1]:,.0f} ms"
        rows = [("probe", answered)]
        rows.extend(("failed", f"{s.reason}: {s.message}") for s in samples if s.reason)
        if self.seconds is not None:
            low, high = (duration(value) for value in self.seconds)
            calls = f"{self.concurrency} in flight"
            rows.append(("time", f"{low} to {high} for {self.n_tiles:,} tiles, {calls}"))
        if self.price is not None:
            low, high = (f"{value:,.2f}" for value in self.price)
            rows.append(("price", f"{low} to {high}"))
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "samples": [sample.as_dict() for sample in self.samples],
            "tiles": self.n_tiles,
            "concurrency": self.concurrency,
            "seconds": self.seconds,
            "price": self.price,
        }


def probe(plan: Plan, n: int, *, price_per_hour: float | None = None) -> Estimate:
    """Send tiles spread over a plan's image to its model, one by one, from this process.

    Parameters
    ----------
    plan
        The job.
    n
        Tiles to send, at most as many as there are.
    price_per_hour
        What an hour of the endpoint costs.

    Raises
    ------
    DaskmrError
        When the endpoint cannot be asked at all.
    """
    ask = model_call(plan)
    patience_s = min(ask.terms.patience_s, _PATIENCE_S)
    ask = replace(ask, terms=replace(ask.terms, patience_s=patience_s), max_batch=1)
    samples = [_sampled(plan, ask, tile) for tile in _spread(plan, n)]
    return Estimate(
        samples=samples,
        n_tiles=plan.n_tiles - plan.n_skipped,
        concurrency=ask.terms.capacity or (INITIAL_WINDOW if ask.is_remote else 1),
        price_per_hour=price_per_hour,
    )


def _spread(plan: Plan, n: int) -> list[Tile]:
    """Return tiles at even distances in the order of the grid."""
    places = np.argwhere(plan.selection.mask)
    n = min(n, len(places))
    picked = ((np.arange(n) + 0.5) / max(1, n) * len(places)).astype(int)
    return [_tile(plan, row, col) for row, col in places[picked].tolist()]


def _tile(plan: Plan, row: int, col: int) -> Tile:
    only = Region(row=0, col=0, rows=range(row, row + 1), cols=range(col, col + 1))
    return next(plan.regions.grid.tiles(only))


@dataclass
class _Outcome:
    """Collects the outcome of one tile."""

    has_names: bool
    sample: dict[str, Any] = field(default_factory=dict)

    def answered(
        self, tile: Tile, detections: Detections, attempts: int, *, seconds: float
    ) -> None:
        """Record a success."""
        self.sample |= {
            "attempts": attempts,
            "labels": Counter(detections.labels),
            "dropped": Counter(detections.dropped),
            "symptoms": symptoms(detections, tile.window.size, has_names=self.has_names),
        }

    def failed(self, tile: Tile, error: DaskmrError, attempts: int) -> None:
        """Record a failure."""
        reason = error.reason if isinstance(error, EndpointError) else type(error).__name__
        self.sample |= {"attempts": attempts, "reason": reason, "message": str(error)}


def _sampled(plan: Plan, ask: ModelCall, tile: Tile) -> Sample:
    window = tile.window
    whole = plan.image.measured().data
    pixels = np.asarray(
        whole.isel(
            y=slice(window.row, window.row_stop), x=slice(window.col, window.col_stop)
        ).values
    )
    outcome = _Outcome(has_names=bool(ask.answers.classes))
    n_bytes = len(ask.encoded(pixels, window)) if ask.is_remote else 0
    calls: Calls = LocalCalls(ask, outcome, Stopwatch())
    if ask.is_remote:
        calls = RemoteCalls(ask, outcome, Stopwatch(), check=_nothing, stalled=_nothing)
    started = perf_counter()
    with calls:
        calls.start(tile, pixels)
    return Sample(
        row=window.row,
        col=window.col,
        seconds=perf_counter() - started,
        payload_bytes=n_bytes,
        **outcome.sample,
    )


def _nothing() -> None:
    pass
