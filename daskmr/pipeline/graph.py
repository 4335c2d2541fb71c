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
from daskmr.errors import ImageReadError
from daskmr.image.base import Source
from daskmr.pipeline.coordinator import attend, make_way
from daskmr.pipeline.job import KEYS, Job
from daskmr.pipeline.measures import measure_region, of_worker
from daskmr.pipeline.progress import tick
from daskmr.pipeline.quarantine import run_alone
from daskmr.pipeline.region import process_region

_NO_BLOCKS = np.empty((0, 0), dtype=object)


def over_source(job: Job, source: Source, *, alone: bool = False) -> Any:
    """One lazy block for each region of an image that workers re-open.

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
    dask.array.Array of `RegionSummary`, shape (region rows, region columns), dtype object.
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


def over_array(job: Job, data: Any, *, alone: bool = False) -> Any:
    """One lazy block for each region of an array.

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
    """Rows and columns that a region reads beyond its core, at most."""
    heights, widths = regions.cores()
    down, right = 0, 0
    for region in regions:
        window = regions.grid.region_window(region)
        down = max(down, window.height - heights[region.row])
        right = max(right, window.width - widths[region.col])
    return down, right


def region_of(blocks: Any, graph: dict[Any, Any], region: Region) -> Any:
    """One region as a Dask value of its own small graph.

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


def _name(job: Job) -> str:
    return f"{KEYS}-{job.job_id}-{uuid.uuid4().hex}"


def _from_source(
    job: Job, source: Source, block_id: tuple[int, int], *, alone: bool
) -> NDArray[Any]:
    region = job.regions.region(*block_id)
    return _run(job, region, source, alone=alone)


def _from_block(block: Pixels, job: Job, block_id: tuple[int, ...], *, alone: bool) -> NDArray[Any]:
    region = job.regions.region(*block_id[-2:])
    source = ArrayBlock(job.info, job.regions.grid.region_window(region), np.asarray(block))
    return _run(job, region, source, alone=alone)


def _run(job: Job, region: Region, source: Source, *, alone: bool) -> NDArray[Any]:
    if alone:
        summary = run_alone(job, region, source)
    else:
        if job.asking.is_remote:
            attend()
        summary = process_region(job, region, source, tick=tick(job.job_id), stalled=make_way)
    measure_region(of_worker(), job.asking, summary)
    block = np.empty((1, 1), dtype=object)
    block[0, 0] = summary
    return block


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
        """Nothing: it cannot change."""

    def header(self) -> ImageInfo:
        """The array's header."""
        return self.info

    def read(self, window: Window) -> Pixels:
        """Pixels of a window of the full array."""
        row, col = window.row - self.window.row, window.col - self.window.col
        found = self.pixels[:, row : row + window.height, col : col + window.width]
        if min(row, col) < 0 or found.shape[1:] != (window.height, window.width):
            msg = f"{self.info.url}: {window} lies outside the block at {self.window}"
            raise ImageReadError(msg)
        return found

    def read_valid(self, window: Window) -> None:
        """None: arrays have no mask band."""
        return
