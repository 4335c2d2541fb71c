"""Reading, encoding and posting against a bare threaded loop."""

import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import httpx
import rasterio
from distributed import Client, LocalCluster
from rasterio.io import MemoryFile

import daskmr
from benchmarks.figure import Figure
from benchmarks.model_server import model_server
from benchmarks.reading import windows
from daskmr.testing.scene import SyntheticScene

_CALLS = 10
_ROUNDS = 3


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
    """Return the ratio of speeds of read + encode + POST."""
    image = folder / "scene.tif"
    SyntheticScene(size=16384).write(image)

    def ours(url: str) -> float:
        started = time.perf_counter()
        daskmr.run(str(image), url, tile_size=512, overlap=64, concurrency=_CALLS, client=client)
        return time.perf_counter() - started

    with model_server() as server:
        ours(server.url)
        rounds = [(bare(str(image), server.url), ours(server.url)) for _ in range(_ROUNDS)]
    ratio = median(b / o for b, o in rounds)
    detail = "seconds (bare, daskmr): " + ", ".join(f"{b:.2f}/{o:.2f}" for b, o in rounds)
    name = "read + GTIFF + POST: speed against a bare threaded loop"
    return Figure(name=name, value=ratio, budget=">= 0.85", detail=detail)


def figures() -> Iterator[Figure]:
    """On one cluster."""
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=2, threads_per_worker=4, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield posting(Path(folder), client)
