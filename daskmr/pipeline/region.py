"""One region: read once, cut into tiles, ask the model, decode, write one part.

A plain function over plain values; a test calls it without a cluster. What goes wrong with a tile
becomes that tile's outcome and never leaves this module as an exception.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import perf_counter

import numpy as np

from daskmr.core.features import Detections, Sighting, gather
from daskmr.core.grid import Region, Tile, Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.core.report import TileOutcome, TileStatus, tally
from daskmr.errors import DaskmrError, EncodeError, EndpointError, ImageReadError
from daskmr.image.base import Source
from daskmr.pipeline.calls import Calls, LocalCalls, RemoteCalls, Seconds
from daskmr.pipeline.job import Job, RegionSummary
from daskmr.pipeline.strips import tile_pixels
from daskmr.store import Part

Tick = Callable[[int, int], None]
"""Told of tiles that ended, and of their pixels."""


def process_region(
    job: Job,
    region: Region,
    source: Source,
    *,
    tick: Tick,
    stalled: Callable[[], None] = lambda: None,
) -> RegionSummary:
    """Run the model on the selected tiles of a region and write its part.

    Parameters
    ----------
    job
        The job.
    region
        Which of its regions.
    source
        Where the pixels come from: the re-opened image, or the region's own block of an array.
    tick
        Called whenever a tile has ended.
    stalled
        Called once when the endpoint lets the region wait for long.

    Raises
    ------
    StoreError
        When the part cannot be written.
    """
    seconds: Seconds = defaultdict(float)
    ledger = _Ledger(tick)
    mask = job.selection.of_region(region)
    with _calls(job, ledger, seconds, stalled=stalled) as calls:
        started = perf_counter()
        for tile, pixels in tile_pixels(job.regions.grid, region, mask, source=source):
            seconds["read"] += perf_counter() - started
            if isinstance(pixels, ImageReadError):
                ledger.failed(tile, pixels, 0)
            elif job.skip_nodata and _is_empty(pixels, tile.window, job.info, source=source):
                ledger.skipped(tile)
            else:
                ledger.n_pixels += pixels.shape[1] * pixels.shape[2]
                calls.start(tile, pixels)
            started = perf_counter()
    started = perf_counter()
    part = Part(features=gather(ledger.sightings), outcomes=ledger.sorted())
    part = job.parts.write(region.id, part)
    seconds["write"] += perf_counter() - started
    return summary_of(region.id, part, ledger.n_pixels, seconds=seconds)


def _calls(job: Job, ledger: "_Ledger", seconds: Seconds, *, stalled: Callable[[], None]) -> Calls:
    if job.asking.is_remote:
        return RemoteCalls(job.asking, ledger, seconds, stalled)
    return LocalCalls(job.asking, ledger, seconds)


class _Ledger:
    """How the tiles of a region ended, and what was seen in them: a `TileLedger`."""

    def __init__(self, tick: Tick) -> None:
        self.tick = tick
        self.outcomes: list[TileOutcome] = []
        self.sightings: list[Sighting] = []
        self.n_pixels = 0

    def answered(self, tile: Tile, detections: Detections, attempts: int) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self.sightings.append(Sighting(tile=tile.window, inferred_at=now, detections=detections))
        self._end(
            TileOutcome(
                row=tile.window.row,
                col=tile.window.col,
                status=TileStatus.SUCCEEDED,
                n_features=len(detections),
                dropped=detections.dropped,
                attempts=attempts,
            ),
            tile,
        )

    def failed(self, tile: Tile, error: DaskmrError, attempts: int) -> None:
        self._end(
            TileOutcome(
                row=tile.window.row,
                col=tile.window.col,
                status=TileStatus.FAILED,
                reason=_reason(error),
                message=" ".join(str(error).split())[:500],
                attempts=attempts,
            ),
            tile,
        )

    def skipped(self, tile: Tile) -> None:
        row, col = tile.window.row, tile.window.col
        status = TileStatus.SKIPPED
        self._end(TileOutcome(row=row, col=col, status=status, reason="NODATA"), tile)

    def sorted(self) -> list[TileOutcome]:
        return sorted(self.outcomes, key=lambda outcome: (outcome.row, outcome.col))

    def _end(self, outcome: TileOutcome, tile: Tile) -> None:
        self.outcomes.append(outcome)
        self.tick(1, tile.window.height * tile.window.width)


def _reason(error: DaskmrError) -> str:
    if isinstance(error, EndpointError):
        return error.reason
    if isinstance(error, ImageReadError):
        return "READ_FAILED"
    return "ENCODE_FAILED" if isinstance(error, EncodeError) else "FAILED"


def _is_empty(pixels: Pixels, window: Window, info: ImageInfo, *, source: Source) -> bool:
    """Whether every pixel of a tile is nodata, or masked out by the image's own mask band."""
    if info.nodata is not None and _holds_only(pixels, info.nodata):
        return True
    if not info.has_mask:
        return False
    try:
        valid = source.read_valid(window)
    except ImageReadError:
        return False
    return valid is not None and not valid.any()


def _holds_only(pixels: Pixels, value: float) -> bool:
    def matches(part: Pixels) -> bool:
        return bool(np.all(np.isnan(part) if np.isnan(value) else part == value))

    return matches(pixels[:, 0, 0]) and matches(pixels)


def summary_of(
    name: str, part: Part, n_pixels: int, *, seconds: Mapping[str, float]
) -> RegionSummary:
    """What the driver is told of a part.

    Parameters
    ----------
    name
        Name of the region.
    part
        What was committed.
    n_pixels
        Pixels of the tiles that were sent to the model.
    seconds
        Time by stage.
    """
    statuses, reasons = tally(part.outcomes)
    dropped: Counter[str] = Counter()
    for outcome in part.outcomes:
        dropped.update(outcome.dropped)
    return RegionSummary(
        region=name,
        outcomes={str(status): n for status, n in statuses.items()},
        reasons=dict(reasons),
        n_features=len(part.features),
        dropped=dict(dropped),
        n_attempts=sum(outcome.attempts for outcome in part.outcomes),
        n_pixels=n_pixels,
        seconds=dict(seconds),
    )
