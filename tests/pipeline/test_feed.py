"""Feeding regions: a bounded window, every region once, lost workers told apart."""

import os
import signal
import threading
from typing import Any

import numpy as np
import pytest

from daskmr.core.grid import Region, RegionGrid, Size, TileGrid, Window
from daskmr.errors import JobError, StoreError
from daskmr.pipeline.cluster import Connection, connect
from daskmr.pipeline.feed import run_regions
from daskmr.pipeline.graph import each_block


def regions(n: int) -> list[Region]:
    grid = TileGrid(
        window=Window(row=0, col=0, height=10 * n, width=10),
        tile=Size.parse(10),
        overlap=Size.parse(0),
    )
    return list(RegionGrid(grid=grid, tiles_per_side=Size.parse(1)))


def lazy(function: Any, n: int) -> Any:
    import dask.array as da

    def block(block_id: tuple[int, int]) -> Any:
        found = np.empty((1, 1), dtype=object)
        found[0, 0] = function(block_id[0])
        return found

    meta = np.empty((0, 0), dtype=object)
    return da.map_blocks(block, chunks=((1,) * n, (1,)), dtype=object, meta=meta)


def run(connection: Connection, function: Any, n: int) -> dict[int, Any]:
    """What was told of each region."""
    told: dict[int, Any] = {}

    def ended(region: Region, summary: Any) -> None:
        assert region.row not in told
        told[region.row] = summary

    run_regions(connection, each_block(lazy(function, n), regions(n)), ended)
    return told


def test_every_region_ends_once(client: Any) -> None:
    connection = Connection(client=client, owned=False)
    assert run(connection, lambda i: i * 10, 60) == {i: i * 10 for i in range(60)}


def test_only_the_wanted_regions_are_run(client: Any) -> None:
    told: list[int] = []
    connection = Connection(client=client, owned=False)
    wanted = regions(20)[3:20:5]
    blocks = each_block(lazy(lambda i: i, 20), wanted)
    run_regions(connection, blocks, lambda _region, summary: told.append(int(str(summary))))
    assert sorted(told) == [3, 8, 13, 18]


def test_regions_are_taken_in_a_bounded_window(client: Any) -> None:
    connection = Connection(client=client, owned=False)
    lock, taken, ended, widest = threading.Lock(), 0, 0, 0

    def counted() -> Any:
        nonlocal taken, widest
        for pair in each_block(lazy(lambda i: i, 100), regions(100)):
            with lock:
                taken += 1
                widest = max(widest, taken - ended)
            yield pair

    def count(_region: Region, _summary: Any) -> None:
        nonlocal ended
        with lock:
            ended += 1

    run_regions(connection, counted(), count)
    assert ended == 100
    assert widest == 2 * sum(client.nthreads().values())


def test_an_error_that_cannot_be_a_tiles_fails_the_job_by_name(client: Any) -> None:
    connection = Connection(client=client, owned=False)

    def full(i: int) -> int:
        if i == 5:
            msg = "disk full"
            raise StoreError(msg)
        return i

    with pytest.raises(StoreError, match="disk full"):
        run(connection, full, 10)

    def bug(i: int) -> float:
        return 1 / (i - 3)

    with pytest.raises(JobError, match="region r00003c00000: ZeroDivisionError"):
        run(connection, bug, 10)


def test_a_region_that_kills_its_workers_ends_without_a_summary() -> None:
    def deadly(i: int) -> int:
        if i == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    with connect(scheduler="local", workers=1) as connection:
        told = run(connection, deadly, 4)
    assert told[2] is None
    assert set(told) == {0, 1, 2, 3}
