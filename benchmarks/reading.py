"""A model that does nothing, against a bare threaded rasterio loop over the same windows."""

import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import rasterio
from distributed import Client, LocalCluster
from rasterio.windows import Window

import daskmr
from benchmarks.figure import Figure
from daskmr.testing.scene import SyntheticScene

TILE, OVERLAP = 512, 64
_ROUNDS = 3
_WORKERS, _THREADS = 2, 4


def nothing(_tile: object) -> None:
    """Return a model that sees nothing."""


nothing.thread_safe = True  # type: ignore[attr-defined]


def windows(image: str) -> list[Window]:
    """Return the tiles of an image."""
    grid = daskmr.plan(image, nothing, tile_size=TILE, overlap=OVERLAP).regions.grid
    tiles = [tile.window for tile in grid.tiles()]
    return [Window(w.col, w.row, w.width, w.height) for w in tiles]


def bare(image: str) -> float:
    """Seconds for reading every tile with as many threads as the cluster has."""
    local = threading.local()

    def read(window: Window) -> int:
        if not hasattr(local, "dataset"):
            local.dataset = rasterio.open(image, sharing=False)
        return int(local.dataset.read(window=window).size)

    todo = windows(image)
    started = time.perf_counter()
    with ThreadPoolExecutor(_WORKERS * _THREADS) as pool:
        assert sum(pool.map(read, todo)) > 0
    return time.perf_counter() - started


def ours(image: str, client: Client) -> float:
    """Seconds for the same with daskmr, on a cluster that is already there."""
    started = time.perf_counter()
    result = daskmr.run(image, nothing, tile_size=TILE, overlap=OVERLAP, client=client)
    spent = time.perf_counter() - started
    assert result.report.outcomes["SUCCEEDED"] == result.report.n_tiles  # type: ignore[index]
    return spent


def figures() -> Iterator[Figure]:
    """Yield the ratio of speeds, median of several rounds that alternate."""
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=_WORKERS, threads_per_worker=_THREADS, host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        image = str(Path(folder) / "scene.tif")
        SyntheticScene(size=16384).write(Path(image))
        ours(image, client)
        rounds = [(bare(image), ours(image, client)) for _ in range(_ROUNDS)]
    ratio = median(b / o for b, o in rounds)
    detail = "seconds (bare, daskmr): " + ", ".join(f"{b:.2f}/{o:.2f}" for b, o in rounds)
    name = "read-bound job: speed against a bare threaded loop"
    yield Figure(name=name, value=ratio, budget=">= 0.85", detail=detail)
