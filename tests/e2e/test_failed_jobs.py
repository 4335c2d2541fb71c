"""Every way in which a kept job can end without a result: its state, its report, and the way on."""

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import geopandas as gpd
import pytest

import daskmr
from daskmr.errors import (
    CanceledError,
    ClusterError,
    JobError,
    RequestError,
    SinkError,
    StoreError,
)
from daskmr.merge.nms import Nms
from daskmr.sinks.geojson import GeoJson
from daskmr.store import JobFolder
from daskmr.testing.numbered import numbered, requested_tiles, write_numbered
from daskmr.testing.servers import Served, serving

N = 6
OPTIONS: dict[str, Any] = {
    "tile_size": 32, "overlap": 0, "tile_format": "NPY", "merge": "nms", "concurrency": 8,
    "job_id": "job", "skip_nodata": False,
}  # fmt: skip


@pytest.fixture
def scene(tmp_path: Path) -> str:
    """6 x 6 tiles, each in a grey of its own."""
    return write_numbered(tmp_path / "scene.tif", N)


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


@pytest.fixture
def refused() -> set[int]:
    """Tiles that the model refuses, which tests change as they go."""
    return set()


@pytest.fixture
def model(refused: set[int]) -> Iterator[Served]:
    with serving(numbered(0.0, refused)) as server:
        yield server


def command(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "daskmr", *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def told(*words: object) -> Any:
    """What a command prints as JSON."""
    done = command(*words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def labels(result: Any) -> list[int]:
    return sorted(map(int, result.label))


def test_a_job_of_which_every_tile_failed_is_failed_and_the_same_call_asks_again(
    scene: str, store: str, model: Served, refused: set[int], client: Any
) -> None:
    refused.update(range(N * N))
    run = {"image": scene, "model": model.url, "store": store, "client": client, **OPTIONS}
    with pytest.raises(JobError, match=r"no tile succeeded \(36 x HTTP_400\)"):
        daskmr.run(**run)
    state = told("status", "job", "--store", store, "--json")
    assert (state["state"], state["outcomes"]) == ("FAILED", {"FAILED": N * N})
    assert "no tile succeeded" in state["why"]
    report = told("report", "job", "--store", store)
    assert (report["status"], report["reasons"]) == ("FAILED", {"HTTP_400": N * N})
    assert "HTTP 400" in report["problems"][0]["message"]
    assert JobFolder.at(store, "job").manifest() is None
    n_calls = len(model.requests)
    with pytest.raises(JobError, match="no tile succeeded"):  # still down: asked, and failed again
        daskmr.run(**run)
    assert len(model.requests) == n_calls + N * N
    refused.clear()
    refused.add(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = daskmr.run(**run)
    assert labels(result.features) == [n for n in range(N * N) if n != 7]
    job = daskmr.Job(store, "job")
    assert (job.status, job.report.status, job.progress().why) == ("PARTIAL", "PARTIAL", "")
    assert job.progress().n_rounds == 2
    n_calls = len(model.requests)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        daskmr.run(**run, retry_failed=False)
        daskmr.run(**run)  # the tile that failed is asked about again, and no other
    assert len(model.requests) == n_calls + 1


def test_retry_asks_about_the_tiles_of_a_job_that_failed_whole(
    scene: str, store: str, model: Served, refused: set[int], tmp_path: Path, client: Any
) -> None:
    refused.update(range(N * N))
    address = client.scheduler_info()["address"]
    words = ["run", scene, "-m", model.url, "--store", store, "-o", tmp_path / "out", "-s", address]
    words += ["--tile-size", "32", "--overlap", "0", "--tile-format", "NPY"]
    failed = command(*words, "--job-id", "job", "--no-skip-nodata")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: job job: no tile succeeded")
    merged = command("merge", "job", "--store", store, "--iou", "0.3")
    assert merged.returncode == RequestError.exit_code
    assert merged.stderr == "error: job: no tile of 'job' succeeded; see daskmr retry\n"
    refused.clear()
    assert command("retry", "job", "--store", store, "-s", address).returncode == 0
    assert sorted(requested_tiles(model)) == sorted(2 * list(range(N * N)))
    assert labels(gpd.read_parquet(tmp_path / "out" / "job.parquet")) == list(range(N * N))
    assert told("status", "job", "--store", store, "--json")["state"] == "SUCCESS"


def test_a_merge_that_raises_fails_the_job_and_another_one_needs_no_call(
    scene: str, store: str, model: Served, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: Nms, _features: object) -> None:
        msg = "no such column"
        raise KeyError(msg)

    run = {"image": scene, "model": model.url, "store": store, "client": client, **OPTIONS}
    with monkeypatch.context() as patched:
        patched.setattr(Nms, "__call__", broken)
        with pytest.raises(KeyError):
            daskmr.run(**run)
    job = daskmr.Job(store, "job")
    assert (job.status, job.progress().why) == ("FAILED", "KeyError: 'no such column'")
    assert (job.report.status, job.report.failure) == ("FAILED", job.progress().why)
    assert job.report.outcomes == {"SUCCEEDED": N * N}
    assert labels(job.merge(merge="none").features) == list(range(N * N))
    assert labels(daskmr.run(**run).features) == list(range(N * N))
    assert (job.status, job.report.status, job.report.failure) == ("SUCCESS", "SUCCESS", "")
    assert len(model.requests) == N * N


def test_results_that_nobody_took_fail_the_job_and_retry_delivers_them(
    scene: str, store: str, model: Served, client: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "job.geojson").mkdir(parents=True)  # a folder stands where the file is to be
    run = {"image": scene, "model": model.url, "store": store, "client": client, **OPTIONS}
    with pytest.raises(SinkError, match=r"job\.geojson"):
        daskmr.run(out=str(out), **run)
    job = daskmr.Job(store, "job")
    assert job.status == "FAILED"
    assert job.progress().why.startswith("SinkError: ")
    (delivery,) = job.report.deliveries
    assert (delivery.to, delivery.is_done) == (str(out), False)
    assert "job.geojson" in delivery.message
    (out / "job.geojson").rmdir()
    job.retry(client=client).wait(60)
    assert (job.status, job.report.status) == ("SUCCESS", "SUCCESS")
    assert labels(gpd.read_parquet(out / "job.parquet")) == list(range(N * N))
    assert len(model.requests) == N * N


def test_a_store_that_is_lost_at_the_end_loses_nothing(
    scene: str, store: str, model: Served, client: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder, away = Path(store) / "jobs" / "job", tmp_path / "away"
    write = GeoJson.write
    monkeypatch.setattr("daskmr.store.lease.EXPIRES_S", 1.0)  # its process, this one, lives on

    def write_and_lose(self: GeoJson, *args: Any) -> None:
        write(self, *args)
        folder.rename(away)
        folder.write_text("the disk is gone")

    run = {"image": scene, "model": model.url, "store": store, "client": client, **OPTIONS}
    with monkeypatch.context() as patched:
        patched.setattr(GeoJson, "write", write_and_lose)
        with pytest.raises(StoreError):
            daskmr.run(out=str(tmp_path / "out"), formats=("geojson",), **run)
    folder.unlink()
    shutil.move(away, folder)
    job = daskmr.Job(store, "job")
    assert job.status in {"INTERRUPTED", "IN_PROGRESS"}
    assert labels(daskmr.run(out=str(tmp_path / "out"), **run).features) == list(range(N * N))
    assert (job.status, len(model.requests)) == ("SUCCESS", N * N)


def test_a_job_is_canceled_while_it_is_merged(
    scene: str, store: str, model: Served, client: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    merge, job = Nms.__call__, daskmr.Job(store, "job")

    def merge_and_cancel(self: Nms, features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        if job.progress().why == "":
            job.cancel()
        return merge(self, features)

    run = {"image": scene, "model": model.url, "store": store, "client": client, **OPTIONS}
    with monkeypatch.context() as patched:
        patched.setattr(Nms, "__call__", merge_and_cancel)
        with pytest.raises(CanceledError, match="job job: canceled"):
            daskmr.run(out=str(tmp_path / "out"), **run)
    assert list((tmp_path / "out").iterdir()) == []
    assert (job.status, job.progress().why) == ("CANCELED", "job job: canceled")
    assert (job.report.status, job.report.outcomes) == ("CANCELED", {"SUCCEEDED": N * N})
    with pytest.raises(RequestError, match=r"is over \(CANCELED\)"):
        job.cancel()
    job.retry(client=client).wait(60)
    assert (job.status, job.report.status, job.progress().why) == ("SUCCESS", "SUCCESS", "")
    assert labels(gpd.read_parquet(tmp_path / "out" / "job.parquet")) == list(range(N * N))
    assert len(model.requests) == N * N


def test_a_cluster_that_is_away_interrupts_a_job_and_says_so(
    scene: str, store: str, model: Served, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = {"image": scene, "model": model.url, "store": store, **OPTIONS}
    monkeypatch.setattr("daskmr.dispatch.cluster._CONNECT_S", 1.0)
    with pytest.raises(ClusterError):
        daskmr.run(scheduler="tcp://127.0.0.1:9", **run)
    job = daskmr.Job(store, "job")
    assert job.status == "INTERRUPTED"
    assert job.progress().why.startswith("ClusterError: no Dask scheduler answers")
    with pytest.raises(RequestError, match="has no report of 'job'"):
        _ = job.report
    monkeypatch.undo()
    assert labels(daskmr.run(client=client, **run).features) == list(range(N * N))
    assert (job.status, job.progress().why) == ("SUCCESS", "")


def test_a_job_that_is_told_of_tells_of_its_failure_once(
    scene: str, store: str, model: Served, client: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def broken(_self: Nms, _features: object) -> None:
        msg = "no such column"
        raise KeyError(msg)

    monkeypatch.setattr(Nms, "__call__", broken)
    run = {"image": scene, "model": model.url, "store": store, "client": client, **OPTIONS}
    with dask.config.set({"daskmr.status": {"log": {}}}), pytest.raises(KeyError):
        daskmr.run(**run)
    events = [json.loads(path.read_text()) for path in _outbox(store)]
    statuses = [event["status"] for event in events]
    assert (statuses[0], statuses[-1], statuses.count("FAILED")) == ("STARTED", "FAILED", 1)
    assert "KeyError" in events[-1]["message"]


def _outbox(store: str) -> list[Path]:
    folder = Path(store) / "jobs" / "job" / "outbox"
    return sorted(path for path in folder.iterdir() if path.suffix == ".json")
