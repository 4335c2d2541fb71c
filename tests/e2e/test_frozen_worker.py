"""A worker in which nothing can run any more is replaced, and its regions run elsewhere."""

import ctypes
import threading
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest

import daskmr
from daskmr.testing.images import write_image
from tests import stacks

N = 4


@pytest.mark.worker_errors("marked as failed because 4 workers died", "killed by signal")
def test_a_job_goes_on_without_a_worker_that_froze(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client, LocalCluster

    image = write_image(tmp_path / "x.tif", np.ones((1, 32 * N, 32 * N), np.uint8))
    flag, told, is_told = tmp_path / "flag", [], threading.Event()

    def freeze_once(_tile: Any) -> dict[str, Any]:
        try:
            flag.touch(exist_ok=False)
        except FileExistsError:
            return {"boxes": [[1, 2, 3, 4]]}
        ctypes.PyDLL(None).sleep(120)  # a call of C code that keeps the lock of the interpreter
        return {}

    def tell(text: str) -> None:
        told.append(text)
        if "freeze_once" in text:
            is_told.set()

    monkeypatch.setenv(stacks.FOLDER, str(tmp_path))
    with (
        dask.config.set({"distributed.scheduler.worker-ttl": "1s"}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0",
            preload=stacks.__name__,
        ) as cluster,
        stacks.watching(cluster, tmp_path, silent_s=1.5, tell=tell),
        Client(cluster, set_as_default=False) as client,
    ):  # fmt: skip
        result = daskmr.run(str(image), freeze_once, tile_size=32, overlap=0, client=client)
        assert is_told.wait(10), told
    assert result.report.outcomes == {"SUCCEEDED": N * N}
    assert len(result.features) == N * N
    assert result.report.region_attempts["worker_lost"] >= 1
