"""A corpus of bad answers through a whole job: no false success, no dead worker, a reason each."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from distributed import Client, LocalCluster

import daskmr
from daskmr.core.report import JobReport
from daskmr.errors import JobError
from daskmr.testing.bad_answers import BAD_ANSWERS
from daskmr.testing.faults import Fault, faulty
from daskmr.testing.gateway import Gateway, VariantSpec, create_endpoint
from daskmr.testing.images import write_image

TILE = 32
NAMES = sorted(BAD_ANSWERS)
OPTIONS: dict[str, Any] = {
    "tile_size": TILE, "overlap": 0, "tile_format": "NPY", "skip_nodata": False,
    "timeout_s": 2.0, "patience_s": 8.0, "concurrency": 64,
}  # fmt: skip
BODIES = [name for name in NAMES if BAD_ANSWERS[name].reason == "BAD_RESPONSE"]


def painted(path: Path) -> str:
    """One tile for each bad answer, in its own grey, and a last one for a good answer."""
    greys = np.arange(1, len(NAMES) + 2, dtype=np.uint8)
    pixels = np.repeat(np.repeat(greys[None, None, :], TILE, axis=1), TILE, axis=2)
    return str(write_image(path, pixels))


def plan(grey: float) -> Fault | None:
    index = round(grey) - 1
    return BAD_ANSWERS[NAMES[index]].fault if index < len(NAMES) else None


def outcomes(report: JobReport) -> Mapping[str, str]:
    """Reason of each failed tile, by the name of its answer."""
    return {NAMES[problem.col // TILE]: problem.reason for problem in report.problems}


@contextmanager
def _cluster() -> Iterator[Client]:
    """Workers that inherit where AWS is today."""
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def test_there_are_enough_of_them() -> None:
    assert 60 <= len(NAMES) < 254


def test_none_is_a_success_and_each_has_its_reason_over_http(
    tmp_path: Path, client: Client
) -> None:
    before = set(client.scheduler_info(n_workers=-1)["workers"])
    image = painted(tmp_path / "a.tif")
    with faulty(plan) as server, pytest.warns(UserWarning, match="tiles failed"):
        result = daskmr.run(image, server.url, client=client, **OPTIONS)
    report = result.report
    assert report.outcomes == {"FAILED": len(NAMES), "SUCCEEDED": 1}
    assert outcomes(report) == {name: BAD_ANSWERS[name].reason for name in NAMES}
    assert set(client.scheduler_info(n_workers=-1)["workers"]) == before
    assert all(problem.message for problem in report.problems)


def test_none_is_a_success_and_each_has_its_reason_through_sagemaker(
    tmp_path: Path, sagemaker: Gateway
) -> None:
    control = boto3.client("sagemaker")
    create_endpoint(control, "bad", [VariantSpec()])
    control.close()
    image = painted(tmp_path / "a.tif")
    patient = {**OPTIONS, "timeout_s": 6.0, "patience_s": 20.0}  # two servers more on the way
    with faulty(plan) as server, _cluster() as client:
        sagemaker.models = {"model": server.url.rpartition("/")[0]}
        before = set(client.scheduler_info(n_workers=-1)["workers"])
        with pytest.warns(UserWarning, match="tiles failed"):
            result = daskmr.run(image, "sagemaker://bad", client=client, **patient)
        assert set(client.scheduler_info(n_workers=-1)["workers"]) == before
    report = result.report
    assert report.outcomes == {"FAILED": len(NAMES), "SUCCEEDED": 1}
    found = outcomes(report)
    assert {name for name in NAMES if found[name] == ""} == set()
    assert {found[name] for name in BODIES} == {"BAD_RESPONSE"}


def test_a_job_of_nothing_but_bad_answers_fails_with_its_report(
    tmp_path: Path, client: Client
) -> None:
    pixels = np.full((1, TILE, 2 * TILE), NAMES.index("HTML") + 1, np.uint8)
    image = str(write_image(tmp_path / "b.tif", pixels))
    with faulty(plan) as server, pytest.raises(JobError, match="2 x BAD_RESPONSE"):
        daskmr.run(image, server.url, client=client, **OPTIONS)
