"""Images that crash whatever looks at them: they hurt themselves only."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest

import daskmr
from daskmr.errors import JobError
from daskmr.testing.images import write_image

N_GOOD, N_BAD = 6, 2


@pytest.fixture
def workers() -> Iterator[Any]:
    """A client of two workers that may die."""
    from distributed import Client, LocalCluster

    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}),
        LocalCluster(
            n_workers=2, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def deadly() -> Any:
    """A model that crashes its process where a pixel is 255; travels by value."""

    def model(tile: Any) -> dict[str, Any]:
        if (tile == 255).any():
            os.abort()
        box = {"imageBBox": [1, 1, 5, 5], "featureClasses": [{"iri": "x", "score": 1}]}
        return {"features": [{"properties": box}]}

    return model


@pytest.mark.worker_errors(
    "marked as failed because",
    "Couldn't gather",
    "Worker failed to (start|connect)",
    "name taken",
    "caused the cluster to lose",
    "died of SIG",
    "duplicate name",
)
def test_jobs_that_crash_their_workers_leave_the_others_alone(tmp_path: Path, workers: Any) -> None:
    good, bad = np.full((1, 128, 128), 7, np.uint8), np.full((1, 128, 128), 7, np.uint8)
    bad[0, 100, 100] = 255  # in the last of its 2 x 2 regions
    images = [
        str(write_image(tmp_path / f"{i}.tif", bad if i % 4 == 2 else good))
        for i in range(N_GOOD + N_BAD)
    ]

    def job(number: int) -> Any:
        try:
            return daskmr.run(
                images[number], deadly(), tile_size=32, overlap=0, client=workers,
                job_id=f"job{number}", skip_nodata=False,
            ).report  # fmt: skip
        except JobError as error:
            return error.report

    with pytest.warns(UserWarning, match="of 16 tiles failed"), ThreadPoolExecutor(6) as pool:
        reports = list(pool.map(job, range(N_GOOD + N_BAD)))
    for number, report in enumerate(reports):
        if number % 4 != 2:
            assert (report.status, report.outcomes) == ("SUCCESS", {"SUCCEEDED": 16})
        else:
            assert report.outcomes["FAILED"] == report.reasons["POISON"]
            assert report.outcomes["FAILED"] + report.outcomes.get("SUCCEEDED", 0) == 16
            assert (96, 96) in {(tile.row, tile.col) for tile in report.problems}
            assert "SIGABRT" in report.problems[0].message
            assert report.region_attempts["crashed"] == 2


def slow(_tile: Any) -> dict[str, Any]:
    time.sleep(0.2)
    return {"features": []}


@pytest.mark.worker_errors("marked as failed because 4 workers died")
def test_a_cluster_whose_nannies_gave_up_is_filled_up_again(tmp_path: Path, workers: Any) -> None:
    image = write_image(tmp_path / "x.tif", np.full((1, 256, 256), 7, np.uint8))
    cluster = workers.cluster

    def desert() -> None:
        time.sleep(1.5)
        for nanny in list(cluster.workers.values()):
            cluster.sync(nanny.close)

    with ThreadPoolExecutor(1) as pool:
        deserted = pool.submit(desert)
        report = daskmr.run(
            image, slow, tile_size=32, overlap=0, client=workers, skip_nodata=False
        ).report
        deserted.result()
    assert (report.status, report.outcomes) == ("SUCCESS", {"SUCCEEDED": 64})
