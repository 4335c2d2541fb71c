"""Feeding regions to a cluster: a bounded window of them in flight, whatever the job's size."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from daskmr.core.grid import Region
from daskmr.errors import DaskmrError, JobError
from daskmr.pipeline.cluster import Connection
from daskmr.pipeline.job import RegionSummary

Ended = Callable[[Region, RegionSummary | None], None]
"""Told of each region: its summary, or None when the workers that ran it died."""

_REGIONS_PER_SLOT = 2


def run_regions(connection: Connection, blocks: Iterator[tuple[Region, Any]], ended: Ended) -> None:
    """Run all regions and return when each has ended.

    Parameters
    ----------
    connection
        The cluster.
    blocks
        Regions with their lazy Dask values, see `daskmr.pipeline.graph.each_block`.
    ended
        Called on the client's loop for each region that ended.

    Raises
    ------
    DaskmrError
        When a region could not be accounted for.
    """
    loop = connection.client.loop.asyncio_loop
    driver = asyncio.run_coroutine_threadsafe(_feed(connection, blocks, ended), loop)
    try:
        driver.result()
    except BaseException:
        driver.cancel()
        raise


async def _feed(connection: Connection, blocks: Iterator[tuple[Region, Any]], ended: Ended) -> None:
    from distributed import as_completed

    client = connection.client
    running: dict[Any, Region] = {}
    finished = as_completed(loop=client.loop)

    async def refill() -> None:
        room = _REGIONS_PER_SLOT * await connection.n_slots() - len(running)
        for region, block in _take(blocks, room):
            future = client.compute(block, optimize_graph=False)
            running[future] = region
            finished.add(future)

    try:
        await refill()
        while running:
            future = await anext(finished)
            region = running.pop(future)
            ended(region, await _summary(future, region))
            future.release()
            await refill()
    finally:
        for future in running:
            future.release()


def _take(blocks: Iterator[tuple[Region, Any]], n: int) -> Iterator[tuple[Region, Any]]:
    for _ in range(n):
        found = next(blocks, None)
        if found is None:
            return
        yield found


async def _summary(future: Any, region: Region) -> RegionSummary | None:
    from distributed import KilledWorker

    try:
        block = await future
    except KilledWorker:
        return None
    except DaskmrError:
        raise
    except Exception as error:
        msg = f"region {region.id}: {type(error).__name__}: {error}"
        raise JobError(msg) from error
    summary: RegionSummary = block[0, 0]
    return summary
