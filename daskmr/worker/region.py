"""One region: read it, cut it into tiles, infer, decode, and commit one part.

A plain function over plain values; a test calls it without a cluster. What goes wrong with a tile
becomes that tile's outcome and never leaves this module as an exception.
"""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter

import numpy as np

from daskmr.core.features import Detections, Sighting, gather
from daskmr.core.grid import Region, Tile, Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.core.report import TileOutcome, TileStatus
from daskmr.core.timings import Effort, Stopwatch
from daskmr.decode.symptoms import symptoms
from daskmr.errors import (
    CanceledError,
    DaskmrError,
    EncodeError,
    EndpointError,
    ImageReadError,
    ImageUnreachableError,
)
from daskmr.image.base import Source
from daskmr.status import contained, logs_about
from daskmr.store import Part
from daskmr.worker.cancellation import COMMITTED, DEADLINE, CancellationCheck, RegionStoppedError
from daskmr.worker.inference import Calls, LocalCalls, RemoteCalls
from daskmr.worker.reader import tile_pixels
from daskmr.worker.task import JobContext, RegionSummary

IMAGE_UNREACHABLE = "IMAGE_UNREACHABLE"
"""Reason of a tile whose image was away."""
Tick = Callable[[int, int], None]
"""Called with the numbers of ended tiles and of their pixels."""


def process_region(
    job: JobContext,
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
    CanceledError
        When the job was stopped.
    SourceChangedError
        When the image is not the one that was planned.
    StoreError
        When the part cannot be written.
    """
    name = job.part_name(region)
    started = perf_counter()
    ledger, watch = _Ledger(tick, has_names=bool(job.call.answers.classes)), Stopwatch()
    stop = CancellationCheck(job, region)
    try:
        stop.check()  # it may be committed by a worker that died before it could report
        with (
            logs_about(job.job_id, region.id, job_name=job.job_name),
            _calls(job, ledger, watch, stop=stop, stalled=stalled) as calls,
        ):
            _ask(job, region, source, ledger=ledger, watch=watch, calls=calls, stop=stop)
            source.check()
    except RegionStoppedError as error:
        if error.why == COMMITTED:
            return summary_of(name, job.parts.read(name))
        if error.why != DEADLINE:
            msg = f"job {job.job_id}: {error.why.lower().replace('_', ' ')}"
            raise CanceledError(msg) from error
        ledger.close(job, region)
    watch.add("region", perf_counter() - started)
    part = Part(
        features=gather(ledger.sightings),
        outcomes=ledger.sorted(),
        effort=Effort(n_pixels=ledger.n_pixels, times=watch.times),
    )
    return summary_of(name, job.parts.write(name, part))


def _ask(  # noqa: PLR0913 - all that a region consists of
    job: JobContext,
    region: Region,
    source: Source,
    *,
    ledger: "_Ledger",
    watch: Stopwatch,
    calls: Calls,
    stop: CancellationCheck,
) -> None:
    """Read the tiles of a region and start their calls."""
    mask = job.selection.of_region(region)
    started = perf_counter()
    for tile, pixels in tile_pixels(job.regions.grid, region, mask, source=source):
        watch.add("read", perf_counter() - started)
        stop.check()
        if isinstance(pixels, ImageReadError):
            ledger.failed(tile, pixels, 0)
        elif job.skip_nodata and _is_empty(pixels, tile.window, job.info, source=source):
            ledger.skipped(tile)
        else:
            ledger.n_pixels += pixels.shape[1] * pixels.shape[2]
            calls.start(tile, pixels)
        started = perf_counter()


def _calls(
    job: JobContext,
    ledger: "_Ledger",
    watch: Stopwatch,
    *,
    stop: CancellationCheck,
    stalled: Callable[[], None],
) -> Calls:
    if job.call.is_remote:
        return RemoteCalls(job.call, ledger, watch, check=stop.check, stalled=stalled)
    return LocalCalls(job.call, ledger, watch)


def failed_part(job: JobContext, region: Region, reason: str, *, message: str) -> Part:
    """Return the part of a region all of whose tiles failed."""
    ledger = _Ledger(lambda _tiles, _pixels: None)
    ledger.close(job, region, reason=reason, message=message)
    return Part(features=gather([]), outcomes=ledger.sorted())


class _Ledger:
    """Collects the outcomes and detections of a region's tiles."""

    def __init__(self, tick: Tick, *, has_names: bool = False) -> None:
        self.tick = tick
        self.has_names = has_names
        self.outcomes: list[TileOutcome] = []
        self.sightings: list[Sighting] = []
        self.n_pixels = 0

    def answered(
        self, tile: Tile, detections: Detections, attempts: int, *, seconds: float
    ) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self.sightings.append(Sighting(tile=tile.window, inferred_at=now, detections=detections))
        self._end(
            TileOutcome(
                row=tile.window.row,
                col=tile.window.col,
                status=TileStatus.SUCCEEDED,
                n_features=len(detections),
                dropped=detections.dropped,
                message=detections.example,
                attempts=attempts,
                seconds=round(seconds, 6),
                symptoms=symptoms(detections, tile.window.size, has_names=self.has_names),
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

    def close(
        self,
        job: JobContext,
        region: Region,
        *,
        reason: str = DEADLINE,
        message: str = "not in time",
    ) -> None:
        """Let all tiles fail that have not ended."""
        ended = {(outcome.row, outcome.col) for outcome in self.outcomes}
        run = job.selection.of_region(region).ravel()
        for tile, is_run in zip(job.regions.grid.tiles(region), run, strict=True):
            row, col = tile.window.row, tile.window.col
            if is_run and (row, col) not in ended:
                failed = TileStatus.FAILED
                self._end(
                    TileOutcome(row=row, col=col, status=failed, reason=reason, message=message),
                    tile,
                )

    def sorted(self) -> list[TileOutcome]:
        return sorted(self.outcomes, key=lambda outcome: (outcome.row, outcome.col))

    def _end(self, outcome: TileOutcome, tile: Tile) -> None:
        self.outcomes.append(outcome)
        with contained("progress"):
            self.tick(1, tile.window.height * tile.window.width)


def _reason(error: DaskmrError) -> str:
    if isinstance(error, EndpointError):
        return error.reason
    if isinstance(error, ImageUnreachableError):
        return IMAGE_UNREACHABLE
    if isinstance(error, ImageReadError):
        return "READ_FAILED"
    return "ENCODE_FAILED" if isinstance(error, EncodeError) else "FAILED"


def _is_empty(pixels: Pixels, window: Window, info: ImageInfo, *, source: Source) -> bool:
    """Return whether all pixels of a tile are nodata or masked by the image's mask band."""
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


def summary_of(name: str, part: Part) -> RegionSummary:
    """Return the summary of a part for the driver.

    Parameters
    ----------
    name
        Name of the part.
    part
        What was committed.
    """
    statuses = Counter(str(outcome.status) for outcome in part.outcomes)
    return RegionSummary(
        region=name,
        outcomes=dict(statuses),
        n_features=len(part.features),
        effort=part.effort,
        n_retries=sum(max(0, outcome.attempts - 1) for outcome in part.outcomes),
    )
