"""Endpoints kept busy, on good and on bad days: 200 ms a call, 64 calls at once, 2,048 tiles."""

import asyncio
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import rasterio
from distributed import Client, LocalCluster

import daskmr
from benchmarks.figure import Figure
from benchmarks.model_server import ModelServer, model_server
from daskmr.endpoints.caller import Caller, Terms
from daskmr.endpoints.http import HttpEndpoint
from daskmr.errors import EndpointError

_LATENCY_S, _CAPACITY = 0.2, 64
_RATE = _CAPACITY / _LATENCY_S
_TILE = 64
_GRID = (32, 64)
_N_TILES = _GRID[0] * _GRID[1]
_OUTAGE_S = 60.0


def write_image(path: Path, *, rows: int, cols: int) -> str:
    """Return a small image whose tiles cost next to nothing to read and to encode."""
    pixels = np.full((1, rows * _TILE, cols * _TILE), 7, np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", width=cols * _TILE, height=rows * _TILE, count=1, dtype="uint8",
        tiled=True, compress="deflate", crs="EPSG:32618",
        transform=rasterio.Affine(0.5, 0, 583_000, 0, -0.5, 4_507_000),
    ) as dataset:  # fmt: skip
        dataset.write(pixels)
    return str(path)


class Bench:
    """A cluster and an image for all figures."""

    def __init__(self, image: str, client: Client) -> None:
        self.image = image
        self.client = client

    def run(self, server: ModelServer, **options: Any) -> tuple[float, Any]:
        """Seconds and report of a job."""
        started = time.perf_counter()
        report = daskmr.run(
            self.image, server.url, tile_size=_TILE, overlap=0, client=self.client, **options
        ).report
        return time.perf_counter() - started, report


def steady(bench: Bench, concurrency: int | str, budget: str) -> Figure:
    """Wall time of an endpoint-bound job against tiles times latency over capacity."""
    with model_server(latency_s=_LATENCY_S, capacity=_CAPACITY) as server:
        spent, report = bench.run(server, concurrency=concurrency)
        n_requests = server.n_requests.value
    assert report.outcomes["SUCCEEDED"] == _N_TILES
    ideal = _N_TILES / _RATE
    what = "known" if concurrency != "auto" else "found by trying"
    detail = f"{spent:.2f} s, ideal {ideal:.2f} s, {n_requests / _N_TILES:.3f} requests a tile"
    return Figure(
        name=f"endpoint-bound, capacity {what}: wall", value=spent / ideal, budget=budget,
        detail=detail,
    )  # fmt: skip


async def post_all(url: str, n: int, *, payload: bytes, n_at_once: int) -> None:
    """Post the same bytes over and over, so many calls at once: the ideal that knows the server."""
    slots = asyncio.Semaphore(n_at_once)
    async with aiohttp.ClientSession() as session:

        async def post() -> None:
            async with slots, session.post(url, data=BytesIO(payload)) as response:
                await response.read()

        await asyncio.gather(*(post() for _ in range(n)))


def plain(folder: Path, n_tiles: int, budget: str) -> Iterator[Figure]:
    """Wall time of the call that people type first: no option, no client, one process."""
    cols = 100
    image = write_image(folder / f"{n_tiles}.tif", rows=n_tiles // cols, cols=cols)
    with model_server(latency_s=_LATENCY_S, capacity=_CAPACITY) as server:
        started = time.perf_counter()
        asyncio.run(post_all(server.url, n_tiles, payload=bytes(5000), n_at_once=_CAPACITY))
        ideal = time.perf_counter() - started
    with model_server(latency_s=_LATENCY_S, capacity=_CAPACITY) as server:
        started = time.perf_counter()
        report = daskmr.run(image, server.url, tile_size=_TILE, overlap=0).report
        spent, n_requests = time.perf_counter() - started, server.n_requests.value
    name = f"{n_tiles:,} tiles, no option"
    yield Figure(
        name=f"{name}: wall", value=spent / ideal, budget=budget,
        detail=f"{spent:.2f} s, bare client {ideal:.2f} s, arithmetic {n_tiles / _RATE:.2f} s",
    )  # fmt: skip
    yield Figure(
        name=f"{name}: requests a tile", value=n_requests / n_tiles, budget="<= 1.1", detail=""
    )
    n_failed = n_tiles - report.outcomes["SUCCEEDED"]
    yield Figure(name=f"{name}: tiles failed", value=n_failed, budget="<= 0", detail="")


def one_at_a_time(folder: Path) -> Iterator[Figure]:
    """Wall time and requests of an endpoint that takes one call, and refuses or keeps others."""
    image = write_image(folder / "few.tif", rows=20, cols=20)
    latency_s, n_tiles = 0.1, 400
    for refuses in (True, False):
        with model_server(
            latency_s=latency_s, capacity=1 if refuses else 10**6, is_serial=not refuses
        ) as server:
            started = time.perf_counter()
            report = daskmr.run(image, server.url, tile_size=_TILE, overlap=0).report
            spent, n_requests = time.perf_counter() - started, server.n_requests.value
        assert report.outcomes["SUCCEEDED"] == n_tiles
        name = f"one call at a time, others {'refused' if refuses else 'wait'}"
        ideal = n_tiles * latency_s
        yield Figure(
            name=f"{name}: wall", value=spent / ideal, budget="<= 1.25",
            detail=f"{spent:.2f} s, ideal {ideal:.2f} s",
        )  # fmt: skip
        yield Figure(
            name=f"{name}: requests a tile", value=n_requests / n_tiles, budget="<= 1.1", detail=""
        )


def cut(bench: Bench) -> Iterator[Figure]:
    """Capacity 64, then 16 for four seconds, then 64 again."""

    def change(server: ModelServer) -> None:
        time.sleep(2)
        server.capacity.value = 16
        time.sleep(4)
        server.capacity.value = _CAPACITY

    with model_server(latency_s=_LATENCY_S, capacity=_CAPACITY) as server:
        with _meanwhile(change, server):
            spent, report = bench.run(server, concurrency=_CAPACITY)
        n_requests = server.n_requests.value
    assert report.outcomes["SUCCEEDED"] == _N_TILES
    ideal = 6 + (_N_TILES - 2 * _RATE - 4 * 16 / _LATENCY_S) / _RATE
    detail = f"{spent:.2f} s, ideal {ideal:.2f} s"
    yield Figure(
        name="capacity 64-16-64: wall", value=spent / ideal, budget="<= 1.3", detail=detail
    )
    yield Figure(
        name="capacity 64-16-64: requests a tile", value=n_requests / _N_TILES, budget="<= 1.1",
        detail=f"{n_requests:,} requests",
    )  # fmt: skip


def outage(bench: Bench) -> Iterator[Figure]:
    """Two seconds of work, an outage, and how soon the full rate is back."""
    recovered: list[float] = []

    def change(server: ModelServer) -> None:
        time.sleep(2)
        server.status.value = 503
        time.sleep(_OUTAGE_S)
        server.status.value = 0
        back = time.perf_counter()
        before, at = server.n_answered.value, back
        while not recovered and time.perf_counter() - back < 30:
            time.sleep(0.5)
            answered, now = server.n_answered.value, time.perf_counter()
            if (answered - before) / (now - at) >= 0.8 * _RATE:
                recovered.append(at - back)
            before, at = answered, now

    with model_server(latency_s=_LATENCY_S, capacity=_CAPACITY) as server:
        with _meanwhile(change, server):
            spent, report = bench.run(server, concurrency=_CAPACITY)
        n_requests = server.n_requests.value
    n_failed = report.n_tiles - report.outcomes["SUCCEEDED"]
    yield Figure(
        name=f"outage of {_OUTAGE_S:.0f} s: requests a tile", value=n_requests / _N_TILES,
        budget="<= 1.1", detail=f"{spent:.1f} s in all, {n_requests:,} requests",
    )  # fmt: skip
    yield Figure(
        name="outage: seconds until the full rate is back", value=recovered[0] if recovered else 99,
        budget="<= 10", detail="full: 80 % of capacity over half a second",
    )  # fmt: skip
    yield Figure(name="outage: tiles failed", value=n_failed, budget="<= 0", detail="")


def deadlines() -> Figure:
    """Return the longest call beyond its deadline; a tenth is slow, some never answer."""
    timeout_s, n = 3.0, 600

    async def timed(endpoint: HttpEndpoint, slots: asyncio.Semaphore) -> float:
        async with slots:
            started = time.perf_counter()
            with suppress(EndpointError):
                await endpoint.invoke(b"tile", content_type="image/tiff")
            return time.perf_counter() - started

    async def main(url: str) -> list[float]:
        endpoint, slots = HttpEndpoint(url=url, timeout_s=timeout_s), asyncio.Semaphore(_CAPACITY)
        try:
            return await asyncio.gather(*(timed(endpoint, slots) for _ in range(n)))
        finally:
            await endpoint.close()

    with model_server(latency_s=0.05) as server:
        server.slow_s.value = 10.0
        longest = max(asyncio.run(main(server.url)))
    return Figure(
        name="slow and silent calls: seconds beyond the deadline", value=longest - timeout_s,
        budget="<= 1", detail=f"{n} calls, longest {longest:.2f} s of {timeout_s:.0f} s",
    )  # fmt: skip


def overhead() -> Figure:
    """CPU that retries, limits and threads add to a bare POST of the same bytes."""
    n, payload = 3000, bytes(200_000)

    def ours(url: str) -> None:
        terms = Terms(job="bench", capacity=_CAPACITY, share=_CAPACITY)
        with Caller(HttpEndpoint(url=url), terms) as caller:
            for future in [caller.submit(payload, "image/tiff") for _ in range(n)]:
                future.result()

    with model_server() as server:
        asyncio.run(post_all(server.url, n, payload=payload, n_at_once=_CAPACITY))
        floor = _cpu(
            lambda: asyncio.run(post_all(server.url, n, payload=payload, n_at_once=_CAPACITY))
        )
        spent = _cpu(lambda: ours(server.url))
    added = (spent - floor) / n * 1000
    detail = f"{spent / n * 1000:.2f} ms against {floor / n * 1000:.2f} ms for a bare POST"
    return Figure(
        name="endpoint layer: milliseconds of CPU added a tile", value=added, budget="<= 1",
        detail=detail,
    )  # fmt: skip


def _cpu(act: Callable[[], object]) -> float:
    before = resource.getrusage(resource.RUSAGE_SELF)
    act()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class _meanwhile:  # noqa: N801 - reads as a statement
    """Do something in a thread while a block runs."""

    def __init__(self, act: Callable[[ModelServer], None], server: ModelServer) -> None:
        self._thread = threading.Thread(target=act, args=(server,))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()


def figures() -> Iterator[Figure]:
    """All of them: what people type first in this process, the rest on one cluster."""
    with tempfile.TemporaryDirectory() as folder:
        yield from plain(Path(folder), 2_000, "<= 1.25")
        yield from plain(Path(folder), 10_000, "<= 1.07")
        yield from one_at_a_time(Path(folder))
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=2, threads_per_worker=4, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        rows, cols = _GRID
        image = write_image(Path(folder) / "small.tif", rows=rows, cols=cols)
        bench = Bench(image, client)
        with model_server() as server:
            bench.run(server, concurrency=_CAPACITY)  # imports, connections, threads
        yield steady(bench, _CAPACITY, "<= 1.05")
        yield steady(bench, "auto", "<= 1.25")
        yield from cut(bench)
        yield from outage(bench)
    yield deadlines()
    yield overhead()
