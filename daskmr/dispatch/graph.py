"""The Dask graphs: `process_region` lifted over the grid of regions.

Images that workers can re-open become one array of shape (region rows, region columns) made with
``map_blocks``: one key for each region, and no pixels in the graph. Any other array goes through
``map_overlap`` with a halo to the right and below, into the same `process_region`.
"""

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskmr.core.grid import Region, RegionGrid, Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.dispatch.capacity_client import secede_slot, start_reporting
from daskmr.dispatch.progress import tick
from daskmr.errors import DaskmrError, ImageReadError, RequestError
from daskmr.image.base import Source
from daskmr.status import Meter, contained, process_metrics
from daskmr.worker.isolation import run_alone
from daskmr.worker.metrics import measure_region
from daskmr.worker.region import process_region
from daskmr.worker.task import KEYS, JobContext, RegionSummary

_NO_BLOCKS = np.empty((0, 0), dtype=object)


def over_source(job: JobContext, source: Source, *, alone: bool = False) -> Any:
    """Return one lazy block for each region of an image that workers re-open.

    Parameters
    ----------
    job
        The job.
    source
        The image.
    alone
        Whether each region is run in a process of its own.

    Returns
    -------
    dask.array.Array, shape (region rows, region columns), dtype object: of each region its
    `RegionSummary`, or the `DaskmrError` that ended it, of which Dask then logs no traceback.
    """
    import dask.array as da

    n_rows, n_cols = job.regions.shape
    return da.map_blocks(
        _from_source,
        job=job,
        source=source,
        alone=alone,
        chunks=((1,) * n_rows, (1,) * n_cols),
        dtype=object,
        meta=_NO_BLOCKS,
        name=_name(job),
    )


def over_array(job: JobContext, data: Any, *, alone: bool = False) -> Any:
    """Return one lazy block for each region of an array.

    Parameters
    ----------
    job
        The job; its regions span at least the overlap of the tiles.
    data
        dask.array.Array, shape (band, y, x): the grid's window of the image, one chunk for each
        region core (see `RegionGrid.cores`).
    alone
        Whether each region is run in a process of its own.

    Returns
    -------
    As `over_source`.
    """
    import dask.array as da

    n_rows, n_cols = job.regions.shape
    down, right = halo(job.regions)
    return da.map_overlap(
        _from_block,
        data,
        depth={0: 0, 1: (0, down), 2: (0, right)},
        boundary="none",
        trim=False,
        allow_rechunk=False,
        job=job,
        alone=alone,
        drop_axis=0,
        chunks=((1,) * n_rows, (1,) * n_cols),
        dtype=object,
        meta=_NO_BLOCKS,
        name=_name(job),
    )


def halo(regions: RegionGrid) -> tuple[int, int]:
    """Return the most rows and columns that a region reads beyond its core."""
    heights, widths = regions.cores()
    down, right = 0, 0
    for region in regions:
        window = regions.grid.region_window(region)
        down = max(down, window.height - heights[region.row])
        right = max(right, window.width - widths[region.col])
    return down, right


def region_of(blocks: Any, graph: dict[Any, Any], region: Region) -> Any:
    """Return one region as a Dask value with a small graph of its own.

    A window of regions can then be given to the cluster, without the rest of the job.

    Parameters
    ----------
    blocks
        What `over_source` or `over_array` made.
    graph
        Its graph as a plain dict.
    region
        Which one.
    """
    from dask.delayed import Delayed
    from dask.optimization import cull

    key = (blocks.name, region.row, region.col)
    own, _ = cull(graph, [key])
    return Delayed(key, own)


def _name(job: JobContext) -> str:
    return f"{KEYS}-{job.job_id}-{uuid.uuid4().hex}"


def _from_source(
    job: JobContext, source: Source, block_id: tuple[int, int], *, alone: bool
) -> NDArray[Any]:
    region = job.regions.region(*block_id)
    return _run(job, region, source, alone=alone)


def _from_block(
    block: Pixels, job: JobContext, block_id: tuple[int, ...], *, alone: bool
) -> NDArray[Any]:
    region = job.regions.region(*block_id[-2:])
    source = ArrayBlock(job.info, job.regions.grid.region_window(region), np.asarray(block))
    return _run(job, region, source, alone=alone)


def _run(job: JobContext, region: Region, source: Source, *, alone: bool) -> NDArray[Any]:
    block = np.empty((1, 1), dtype=object)
    try:
        block[0, 0] = summary = _summary(job, region, source, alone=alone)
    except DaskmrError as error:
        block[0, 0] = error
        return block
    with contained("metrics of a region"):  # its part is committed
        measure_region(_meter(), job.call, summary)
    return block


def _summary(job: JobContext, region: Region, source: Source, *, alone: bool) -> RegionSummary:
    if alone:
        return run_alone(job, region, source)
    if job.call.is_remote:
        start_reporting()
    return process_region(job, region, source, tick=tick(job.job_id), stalled=secede_slot)


@dataclass(frozen=True)
class ArrayBlock:
    """The pixels of one region, already in memory, read like an image."""

    info: ImageInfo
    """Header of the array."""
    window: Window
    """Where the block's first pixel lies in the full array, and what the region reads of it."""
    pixels: Pixels
    """Shape (band, y, x); may reach beyond the window."""

    def check(self) -> None:
        """Do nothing: an array cannot change."""

    def header(self) -> ImageInfo:
        """Return the array's header."""
        return self.info

    def read(self, window: Window) -> Pixels:
        """Return the pixels of a window of the full array."""
        row, col = window.row - self.window.row, window.col - self.window.col
        pixels = self.pixels[:, row : row + window.height, col : col + window.width]
        if min(row, col) < 0 or pixels.shape[1:] != (window.height, window.width):
            msg = f"{self.info.url}: {window} lies outside the block at {self.window}"
            raise ImageReadError(msg)
        return pixels

    def read_valid(self, window: Window) -> None:
        """Return None: arrays have no mask band."""
        return


def _meter() -> Meter:
    """Return the meter of a Dask worker, which Prometheus reads beside Dask's own metrics."""
    from distributed import get_worker

    try:
        get_worker()
        return Meter((process_metrics(),))
    except (ValueError, RequestError):  # no worker, or no prometheus_client
        return Meter()
