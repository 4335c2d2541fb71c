"""Worker memory does not grow with the image."""

import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client, LocalCluster

import daskmr
from daskmr.testing.scene import SyntheticScene


class Peak:
    """The largest resident size of each worker process while the block runs, in bytes."""

    def __init__(self, pids: list[int]) -> None:
        self.processes = [psutil.Process(pid) for pid in pids]
        self.sizes = [0] * len(pids)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            for i, process in enumerate(self.processes):
                self.sizes[i] = max(self.sizes[i], process.memory_info().rss)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def worker_pids(client: Any) -> list[int]:
    import os

    return list(client.run(os.getpid).values())


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_rgb_image_of_30000_x_30000_runs_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.tif"
    SyntheticScene(size=30_000).write(path)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=4, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
        Peak(worker_pids(client)) as peak,
    ):
        report = daskmr.run(path, "centerpoint", tile_size=1024, overlap=64, client=client).report
    assert report.outcomes == {"SUCCEEDED": report.n_tiles}
    assert max(peak.sizes) < 1.5 * 2**30
    print(f"peak of each worker: {[f'{size / 2**20:.0f} MiB' for size in peak.sizes]}")  # noqa: T201
