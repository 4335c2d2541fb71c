"""Jobs of a store by their names: looked at, stopped, gone on with, merged in another way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from aiohttp import web
from pandas.testing import assert_frame_equal

import daskmr
from daskmr.core.report import JobReport
from daskmr.dispatch import cluster
from daskmr.errors import CanceledError, ClusterError, JobError, RequestError, SourceChangedError
from daskmr.store import JobFolder
from daskmr.testing.images import write_image
from daskmr.testing.numbered import numbered, requested_tiles, write_numbered
from daskmr.testing.servers import saying, serving

N = 12
OPTIONS: dict[str, Any] = {
    "tile_size": 32, "overlap": 0, "tile_format": "NPY", "merge": "none", "concurrency": 8,
    "job_id": "job", "skip_nodata": False,
}  # fmt: skip


@pytest.fixture
def scene(tmp_path: Path) -> str:
    """12 x 12 tiles, each in a grey of its own."""
    return write_numbered(tmp_path / "scene.tif", N)


def command(*words: object, code: int = 0) -> str:
    """What a command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "daskmr", *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stdout + done.stderr


def test_failed_tiles_are_asked_about_again_and_only_they(
    scene: str, tmp_path: Path, client: Any
) -> None:
    bad = {3, 17, 140}
    store, out = str(tmp_path / "store"), tmp_path / "out"
    with serving(numbered(0.0, bad)) as server:
        with pytest.warns(UserWarning, match="3 of 144 tiles failed"):
            daskmr.run(scene, server.url, store=store, out=str(out), client=client, **OPTIONS)
        job = daskmr.Job(store, "job")
        assert job.status == "PARTIAL"
        assert [(t.row // 32) * N + t.col // 32 for t in job.errors] == sorted(bad)
        assert len(gpd.read_parquet(out / "job.parquet")) == N * N - 3
        first = JobFolder.at(store, "job").objects.read("manifest.json")
        bad.discard(17)
        n_calls = len(server.requests)
        with pytest.warns(UserWarning, match="2 of 144 tiles failed"):
            job.retry(client=client).wait(60)
        assert sorted(requested_tiles(server)[n_calls:]) == [3, 17, 140]
        assert len(job.errors) == 2
        bad.clear()
        n_calls = len(server.requests)
        job.retry(client=client).wait(60)
        assert sorted(requested_tiles(server)[n_calls:]) == [3, 140]
    assert job.status == "SUCCESS"
    assert sorted(map(int, gpd.read_parquet(out / "job.parquet").label)) == list(range(N * N))
    assert sorted(map(int, job.result().features.label)) == list(range(N * N))
    assert job.report.outcomes == {"SUCCEEDED": N * N}
    assert job.report.n_attempts == N * N + 3 + 2
    assert JobFolder.at(store, "job").objects.read("manifest.json") == first
    assert job.progress().n_rounds == 2
    with pytest.raises(RequestError, match="no tile of 'job' has failed"):
        job.retry(client=client)


def test_a_retry_that_cannot_begin_leaves_the_result_as_it_was(
    scene: str, tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_S", 1.0)
    bad, store = {3}, str(tmp_path / "store")
    with serving(numbered(0.0, bad)) as server:
        with pytest.warns(UserWarning, match="1 of 144 tiles failed"):
            daskmr.run(scene, server.url, store=store, client=client, **OPTIONS)
        job = daskmr.Job(store, "job")
        with pytest.raises(ClusterError, match="no Dask scheduler answers"):
            job.retry(scheduler="tcp://127.0.0.1:9").wait(60)
        assert (job.status, len(job.result().features)) == ("INTERRUPTED", N * N - 1)
        bad.clear()
        n_calls = len(server.requests)
        job.retry(client=client).wait(60)
        assert requested_tiles(server)[n_calls:] == [3]
    assert (job.status, len(job.result().features), job.progress().n_rounds) == (
        "SUCCESS",
        N * N,
        1,
    )


def test_a_job_is_merged_in_another_way_by_its_name_alone(
    scene: str, tmp_path: Path, client: Any
) -> None:
    store = str(tmp_path / "store")
    daskmr.run(scene, "flood", tile_size=256, merge="none", store=store, client=client, job_id="j")
    job = daskmr.Job(store, "j")
    every = job.result().features
    fewer = job.merge(merge="nms", iou=0.0).features
    assert 0 < len(fewer) < len(every) == job.report.n_merged
    told = json.loads(
        command("merge", "j", "--store", store, "--merge", "nms", "--iou", 0.0, "--json")
    )
    assert told["n_merged"] == len(fewer)
    assert not told["outputs"]
    command("merge", "j", "--store", store, "--merge", "nms", "-o", tmp_path / "o", "-f", "fgb")
    assert (tmp_path / "o" / "j.fgb").exists()
    assert len(job.result().features) == len(every)


def test_a_canceled_job_makes_no_more_calls_and_goes_on_where_it_was(
    scene: str, tmp_path: Path, client: Any
) -> None:
    store = str(tmp_path / "store")
    with serving(numbered(0.4)) as server:
        job = daskmr.submit(scene, server.url, store=store, client=client, **OPTIONS)
        with pytest.raises(TimeoutError, match=r"job: not over after 0\.1 s"):
            job.wait(0.1)
        while job.progress().n_done < 2:
            time.sleep(0.05)
        job.cancel()
        end = time.monotonic() + 30
        while server.in_flight and time.monotonic() < end:
            time.sleep(0.01)
        assert not server.in_flight
        n_calls = len(server.requests)
        with pytest.raises(CanceledError):
            job.wait(60)
        assert len(server.requests) == n_calls < N * N
        assert job.status == "CANCELED"
        with pytest.raises(RequestError, match=r"is over \(CANCELED\)"):
            job.cancel()
        done = set(job.progress().outcomes)
        assert done == {"SUCCEEDED"}
        n_done = sum(job.progress().outcomes.values())
        job.retry(client=client).wait(120)
        assert len(server.requests) - n_calls == N * N - n_done
    assert job.status == "SUCCESS"
    assert sorted(map(int, job.result().features.label)) == list(range(N * N))


def test_a_command_is_canceled_from_another_process(scene: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    quick, slow = numbered(0.5), numbered(5.0)

    async def model(request: web.Request, number: int) -> web.StreamResponse:
        """Enough to commit a region, then slow enough for two commands to start meanwhile."""
        return await (quick if number < 48 else slow)(request, number)

    with serving(model) as server:
        words = ["run", scene, "-m", server.url, "--store", store, "-o", tmp_path, "--workers", 1]
        for name, value in OPTIONS.items():
            flag = "--" + name.replace("_", "-")
            words += ["--no-skip-nodata"] if name == "skip_nodata" else [flag, value]
        running = subprocess.Popen(
            [sys.executable, "-m", "daskmr", *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            folder = JobFolder.at(str(store), "job")
            end = time.monotonic() + 60
            while not folder.part_names() and time.monotonic() < end:
                time.sleep(0.05)
            assert "IN_PROGRESS" in command("status", "job", "--store", store)
            command("cancel", "job", "--store", store)
            _, err = running.communicate(timeout=60)
        finally:
            running.kill()
        assert running.returncode == 6
        assert err.splitlines()[-1] == "error: job job: canceled"
    assert "CANCELED" in command("status", "--watch", "job", "--store", store)
    said = command("logs", "job", "--store", store, "--timeline")
    lines = said.splitlines()
    assert lines[0].startswith("     0.000 s  take 1  started ")
    assert any("region ended" in line for line in lines)
    assert "is over" in command("cancel", "job", "--store", store, code=4)


def test_a_deadline_fails_what_has_not_ended_and_publishes_the_rest(
    scene: str, tmp_path: Path, client: Any
) -> None:
    store = str(tmp_path / "store")
    with serving(numbered(0.5)) as server:
        started = time.monotonic()
        with pytest.warns(UserWarning, match="of 144 tiles failed"):
            result = daskmr.run(
                scene, server.url, store=store, client=client, deadline_s=3, **OPTIONS
            )
        assert time.monotonic() - started < 30
        n_calls = len(server.requests)
        time.sleep(1)
        assert len(server.requests) == n_calls
    report = result.report
    assert report.status == "PARTIAL"
    assert report.reasons == {"DEADLINE": report.outcomes["FAILED"]}  # type: ignore[index]
    assert sum(report.outcomes.values()) == N * N
    assert len(result.features) == report.outcomes["SUCCEEDED"]  # type: ignore[index]
    assert 8 <= len(result.features) <= 100


def test_an_image_that_changes_under_a_job_ends_it(scene: str, tmp_path: Path, client: Any) -> None:
    store = str(tmp_path / "store")
    with serving(numbered(0.2)) as server:
        job = daskmr.submit(scene, server.url, store=store, client=client, **OPTIONS)
        while not job.progress().n_done if JobFolder.at(store, "job").request() else True:
            time.sleep(0.05)
        write_image(Path(scene), np.full((1, N * 32, N * 32), 9999, np.uint16))
        with pytest.raises(SourceChangedError, match="changed"):
            job.wait(60)
    assert (job.status, job.report.status) == ("FAILED", "FAILED")
    assert job.progress().why.startswith("SourceChangedError: ")
    folder = JobFolder.at(store, "job")
    labels = {int(x) for n in folder.part_names() for x in folder.parts.read(n).features.label}
    assert labels
    assert 9999 not in labels
    assert all(o.status == "SUCCEEDED" for n in folder.part_names()
               for o in folder.parts.read(n).outcomes)  # fmt: skip


def test_timings_and_shares_are_told(scene: str, tmp_path: Path, client: Any) -> None:
    store = str(tmp_path / "store")
    with serving(numbered(0.1)) as server:
        job = daskmr.submit(scene, server.url, store=store, client=client, **OPTIONS).wait(60)
    infer = job.timings["infer"]
    assert 0.095 <= infer["p50"] <= infer["p95"]
    assert infer["sum"] == pytest.approx(N * N * infer["p50"], rel=0.5)
    assert {"read", "encode", "wait", "infer", "decode", "region"} == set(job.timings)
    report = job.report
    assert (report.n_retries, report.truncated_share) == (0, 0.0)
    assert report.tiles_per_s == pytest.approx(N * N / report.seconds["wall"])
    names = [event["event"] for event in job.events()]
    assert (names[0], names[-2:]) == ("started", ["merged", "ended"])
    assert names.count("region ended") == job.progress().n_regions
    assert "IN_PROGRESS" not in job._repr_html_()


def test_a_job_with_secrets_says_what_it_did_not_keep(
    scene: str, tmp_path: Path, client: Any
) -> None:
    store = str(tmp_path / "store")
    secret = "s3cr3t-value"  # noqa: S105 - is looked for
    with serving(numbered(0.0, {5})) as server, pytest.warns(UserWarning, match="1 of 144"):
        daskmr.run(
            scene, server.url, store=store, client=client,
            parameters={"X-Api-Key": secret, "X-Mode": "fast"}, **OPTIONS,
        )  # fmt: skip
    for file in (tmp_path / "store").rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes(), file
    job = daskmr.Job(store, "job")
    with pytest.raises(RequestError, match=r"parameters\.X-Api-Key: was not kept"):
        job.retry(client=client)
    assert job.progress().n_rounds == 0


def test_unknown_jobs_and_functions_are_refused_by_name(
    scene: str, tmp_path: Path, client: Any
) -> None:
    job = daskmr.Job(str(tmp_path), "none")
    for act in (job.progress, job.cancel, job.retry, job.events, job.merge):
        with pytest.raises(RequestError, match="'none'"):
            act()

    def model(_tile: Any) -> dict[str, Any]:
        return {"features": []}

    daskmr.run(scene, model, store=str(tmp_path), client=client, **{**OPTIONS, "job_id": "f"})
    with pytest.raises(RequestError, match="the job f ran a function; give it again"):
        daskmr.Job(str(tmp_path), "f").merge(iou=0.1)


@pytest.mark.worker_errors("ConnectionRefused", "CommClosed", "Cancelled", "Failed to reconnect")
def test_a_scheduler_that_dies_is_waited_for_and_the_job_goes_on(
    scene: str, tmp_path: Path
) -> None:
    """One at a fixed address that comes back, as under an operator of a cluster."""
    store = str(tmp_path / "store")
    address, started = cluster_processes()
    try:
        with serving(numbered(0.15)) as server:
            job = daskmr.submit(
                scene, server.url, store=store, scheduler=address, load=False, **OPTIONS
            )
            folder, end = JobFolder.at(store, "job"), time.monotonic() + 60
            while len(folder.part_names()) < 3 and time.monotonic() < end:
                time.sleep(0.05)
            committed = {
                int(label)
                for n in folder.part_names()
                for label in folder.parts.read(n).features.label
            }
            n_before = len(server.requests)
            for process in started:
                process.send_signal(signal.SIGKILL)
                process.wait()
            _, again = cluster_processes(address)
            started += again
            job.wait(120)
            assert not committed & set(requested_tiles(server)[n_before + 16 :])
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert job.status == "SUCCESS"
    assert sorted(map(int, job.result().features.label)) == list(range(N * N))
    assert "scheduler lost" in [event["event"] for event in job.events()]


@pytest.mark.worker_errors("CancelledError", "caused the cluster to lose", "failed during get data")
def test_a_scheduler_of_our_own_that_dies_is_replaced(
    scene: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, made = str(tmp_path / "store"), []
    start = cluster._started

    def started(n_workers: int) -> Any:
        made.append(start(n_workers))
        return made[-1]

    monkeypatch.setattr(cluster, "_started", started)
    with serving(numbered(0.15)) as server:
        job = daskmr.submit(scene, server.url, store=store, workers=1, scheduler="local", **OPTIONS)
        folder, end = JobFolder.at(store, "job"), time.monotonic() + 60
        while len(folder.part_names()) < 3 and time.monotonic() < end:
            time.sleep(0.05)
        made[0].loop.add_callback(made[0].scheduler.close)
        job.wait(120)
    assert len(made) == 2
    assert job.status == "SUCCESS"
    assert sorted(map(int, job.result().features.label)) == list(range(N * N))
    assert "scheduler lost" in [event["event"] for event in job.events()]


def cluster_processes(address: str = "") -> tuple[str, list["subprocess.Popen[bytes]"]]:
    """A scheduler and a worker as processes of their own; the address, and the two."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = address or f"tcp://127.0.0.1:{port}"
    port = int(address.rpartition(":")[2])
    env = {**os.environ, "PYTHONWARNINGS": "ignore"}
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1"]
    scheduler = subprocess.Popen(
        [*start, "--port", str(port), "--dashboard-address", "127.0.0.1:0"], env=env,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    worker = subprocess.Popen(
        [
            sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "2",
            "--no-nanny", "--host", "127.0.0.1", "--no-dashboard",
        ],
        env=env, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return address, [scheduler, worker]


def test_a_job_answers_from_the_first_moment_and_its_result_waits(
    scene: str, tmp_path: Path, client: Any
) -> None:
    store = str(tmp_path / "store")
    with serving(numbered(0.2)) as server:
        job = daskmr.submit(scene, server.url, store=store, client=client, **OPTIONS)
        state = job.progress()
        assert (job.status, state.state, state.job_id) == ("IN_PROGRESS", "IN_PROGRESS", "job")
        assert (state.n_tiles, state.image) == (N * N, scene)
        assert "IN_PROGRESS" in job._repr_html_()
        assert repr(job) == f"Job({store!r}, 'job')"
        with pytest.raises(TimeoutError, match=r"job: not over after 0\.1 s"):
            job.result(0.1)
        result = job.result()
    assert isinstance(result, daskmr.Result)
    assert result.report == job.report
    assert sorted(map(int, result.features.label)) == list(range(N * N))
    again = daskmr.run(scene, server.url, store=store, client=client, **OPTIONS)
    assert result.report.as_dict().keys() == again.report.as_dict().keys()
    assert_frame_equal(pd.DataFrame(result.features), pd.DataFrame(again.features))
    assert result.image is not None
    daskmr.submit(scene, "flood", store=store, client=client, job_id="a").wait(60)
    assert [other.job_id for other in daskmr.list_jobs(store)] == ["a", "job"]


def test_a_job_that_never_began_says_why(
    scene: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_S", 1.0)
    job = daskmr.submit(scene, "flood", store=str(tmp_path), scheduler="tcp://127.0.0.1:9")
    with pytest.raises(ClusterError, match=r"127\.0\.0\.1:9"):
        job.result(90)
    state = job.progress()
    assert (state.state, state.n_done) == ("INTERRUPTED", 0)


def test_the_result_of_a_job_that_failed_whole_is_its_error(
    scene: str, tmp_path: Path, client: Any
) -> None:
    store = str(tmp_path / "store")
    with serving(saying(400)) as server:
        job = daskmr.submit(scene, server.url, store=store, client=client, **OPTIONS)
        with pytest.raises(JobError, match="no tile succeeded"):
            job.result(60)
    with pytest.raises(JobError, match="no tile succeeded") as caught:
        daskmr.Job(store, "job").result()
    assert isinstance(caught.value.report, JobReport)
    assert caught.value.report.reasons == {"HTTP_400": N * N}


def test_a_store_without_jobs_has_none(tmp_path: Path) -> None:
    assert daskmr.list_jobs(str(tmp_path / "none")) == []
