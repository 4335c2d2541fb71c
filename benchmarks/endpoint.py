"""A slow endpoint kept busy; and reading, encoding and posting against a bare threaded loop."""

import multiprocessing
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import rasterio
from distributed import Client, LocalCluster
from rasterio.io import MemoryFile

import daskmr
from benchmarks.figure import Figure
from benchmarks.reading import windows
from daskmr.testing.scene import Scene

_EMPTY = b'{"type":"FeatureCollection","features":[]}'
_LATENCY_S, _CAPACITY = 0.2, 64
_CALLS = 10
_ROUNDS = 3


def _serve(latency_s: float, port: "multiprocessing.Queue[int]") -> None:
    """An endpoint that reads a tile, waits, and has seen nothing."""
    import asyncio

    from aiohttp import web

    async def answer(request: web.Request) -> web.Response:
        async for _ in request.content.iter_chunked(2**20):
            pass
        await asyncio.sleep(latency_s)
        return web.Response(body=_EMPTY, content_type="application/json")

    async def main() -> None:
        app = web.Application(client_max_size=2**28)
        app.router.add_post("/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port.put(runner.addresses[0][1])
        await asyncio.sleep(3600)

    asyncio.run(main())


@contextmanager
def server(latency_s: float) -> Iterator[str]:
    """URL of an endpoint in a process of its own."""
    context = multiprocessing.get_context("spawn")
    port: multiprocessing.Queue[int] = context.Queue()
    process = context.Process(target=_serve, args=(latency_s, port), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{port.get(timeout=60)}/"
    finally:
        process.terminate()
        process.join()


def _write(path: Path, size: int) -> str:
    pixels = np.full((1, size, size), 7, np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", width=size, height=size, count=1, dtype="uint8", tiled=True,
        compress="deflate", crs="EPSG:32618",
        transform=rasterio.Affine(0.5, 0, 583_000, 0, -0.5, 4_507_000),
    ) as dataset:  # fmt: skip
        dataset.write(pixels)
    return str(path)


def saturation(folder: Path, client: Client) -> Figure:
    """Wall time of an endpoint-bound job against its bound."""
    image = _write(folder / "small.tif", 5760)
    options = {"tile_size": 64, "overlap": 0, "concurrency": _CAPACITY, "client": client}
    with server(_LATENCY_S) as url:
        daskmr.run(image, url, **{**options, "tile_size": 512})
        started = time.perf_counter()
        report = daskmr.run(image, url, **options).report
        spent = time.perf_counter() - started
    assert report.outcomes["SUCCEEDED"] == report.n_tiles  # type: ignore[index]
    bound = report.n_tiles * _LATENCY_S / _CAPACITY
    name = f"endpoint-bound, {report.n_tiles:,} tiles: wall against bound"
    detail = f"{spent:.2f} s, bound {bound:.2f} s, {report.n_attempts} calls"
    return Figure(name=name, value=spent / bound, budget="<= 1.05", detail=detail)


def bare(image: str, url: str) -> float:
    """Seconds for read, GTIFF and POST of every tile in as many threads as calls in flight."""
    local = threading.local()

    def post(window: rasterio.windows.Window) -> None:
        if not hasattr(local, "dataset"):
            local.dataset = rasterio.open(image, sharing=False)
            local.http = httpx.Client()
        dataset = local.dataset
        pixels = dataset.read(window=window)
        with MemoryFile() as memory:
            with memory.open(
                driver="GTiff", width=window.width, height=window.height, count=dataset.count,
                dtype=dataset.dtypes[0], crs=dataset.crs,
                transform=dataset.window_transform(window),
            ) as tile:  # fmt: skip
                tile.write(pixels)
            payload = memory.read()
        local.http.post(url, content=payload).raise_for_status().json()

    todo = windows(image)
    started = time.perf_counter()
    with ThreadPoolExecutor(_CALLS) as pool:
        list(pool.map(post, todo))
    return time.perf_counter() - started


def posting(folder: Path, client: Client) -> Figure:
    """The ratio of speeds of read + encode + POST."""
    image = folder / "scene.tif"
    Scene(size=16384).write(image)

    def ours(url: str) -> float:
        started = time.perf_counter()
        daskmr.run(str(image), url, tile_size=512, overlap=64, concurrency=_CALLS, client=client)
        return time.perf_counter() - started

    with server(0.0) as url:
        ours(url)
        rounds = [(bare(str(image), url), ours(url)) for _ in range(_ROUNDS)]
    ratio = median(b / o for b, o in rounds)
    detail = "seconds (bare, daskmr): " + ", ".join(f"{b:.2f}/{o:.2f}" for b, o in rounds)
    name = "read + GTIFF + POST: speed against a bare threaded loop"
    return Figure(name=name, value=ratio, budget=">= 0.85", detail=detail)


def figures() -> Iterator[Figure]:
    """Both, on one cluster."""
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=2, threads_per_worker=4, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield saturation(Path(folder), client)
        yield posting(Path(folder), client)
