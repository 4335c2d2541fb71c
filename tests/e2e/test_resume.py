"""Jobs that are cut off and go on: nothing lost, nothing double, nothing asked twice."""

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
import pytest

import daskmr
from daskmr.errors import RequestError, SourceChangedError, StoreError
from daskmr.lifecycle.workspace import workspace
from daskmr.planning.execution import Execution
from daskmr.store import JobFolder
from daskmr.testing.images import write_image
from daskmr.testing.numbered import numbered, requested_tiles, write_numbered
from daskmr.testing.servers import serving

pytestmark = pytest.mark.worker_errors("Couldn't gather keys")
"""Whoever fetches results may be killed."""
N = 16
OPTIONS: dict[str, Any] = {
    "tile_size": 32, "overlap": 0, "tile_format": "NPY", "merge": "none", "concurrency": 8,
    "job_id": "job", "skip_nodata": False,
}  # fmt: skip


@pytest.fixture
def scene(tmp_path: Path) -> str:
    """16 x 16 tiles, each in a grey of its own."""
    return write_numbered(tmp_path / "scene.tif", N)


def labels(path: Path) -> list[int]:
    return sorted(map(int, gpd.read_parquet(path).label))


def test_a_driver_that_is_killed_loses_nothing_and_the_next_one_asks_for_the_rest(
    scene: str, tmp_path: Path
) -> None:
    store, out = tmp_path / "store", tmp_path / "out"
    words = [sys.executable, "-m", "daskmr", "run", scene, "-o", out, "--store", store]
    for name, value in OPTIONS.items():
        flag = "--" + name.replace("_", "-")
        words += ["--no-skip-nodata"] if name == "skip_nodata" else [flag, str(value)]
    with serving(numbered(0.15)) as server:
        words += ["-m", server.url]
        killed = subprocess.Popen(
            list(map(str, words)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        folder = JobFolder.at(str(store), "job")
        end = time.monotonic() + 60
        while len(folder.part_names()) < 6 and time.monotonic() < end:
            time.sleep(0.05)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait(30)
        time.sleep(0.5)
        committed = {
            int(label)
            for name in folder.part_names()
            for label in folder.parts.read(name).features.label
        }
        n_before = len(server.requests)
        assert 0 < len(committed) < N * N
        assert not (out / "job.parquet").exists()
        done = subprocess.run(
            list(map(str, words)), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        again = requested_tiles(server)[n_before:]
    assert labels(out / "job.parquet") == list(range(N * N))
    assert not committed & set(again)
    assert sorted(again) == sorted(set(range(N * N)) - committed)
    manifest = json.loads((store / "jobs" / "job" / "manifest.json").read_text())
    assert (manifest["status"], manifest["features"]) == ("SUCCESS", N * N)
    assert json.loads((store / "jobs" / "job" / "lease.json").read_text())["epoch"] == 1


def test_a_finished_job_is_replayed_without_a_call_to_the_same_bytes(
    scene: str, tmp_path: Path, client: Any
) -> None:
    store = str(tmp_path / "store")
    with serving(numbered(0.0)) as server:
        run = {"model": server.url, "store": store, "client": client, **OPTIONS}
        first = daskmr.run(scene, out=str(tmp_path / "a"), **run)
        n_calls = len(server.requests)
        again = daskmr.run(scene, out=str(tmp_path / "b"), **run)
        assert len(server.requests) == n_calls == N * N
    for name in ("job.parquet", "job.geojson"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert again.report.outcomes == first.report.outcomes
    assert again.report.n_attempts == first.report.n_attempts
    assert again.report.megapixels == first.report.megapixels
    manifest = JobFolder.at(store, "job").manifest()
    assert manifest is not None
    assert (
        manifest["results"]["job.parquet"]["bytes"] == (tmp_path / "a/job.parquet").stat().st_size
    )


def test_another_merging_needs_no_call(scene: str, tmp_path: Path, client: Any) -> None:
    store = str(tmp_path / "store")
    with serving(numbered(0.0)) as server:
        run = {"model": server.url, "store": store, "client": client, **OPTIONS}
        daskmr.run(scene, **run)
        n_calls = len(server.requests)
        merged = daskmr.run(scene, **{**run, "merge": "nms", "iou": 0.1})
        assert len(server.requests) == n_calls
    assert len(merged.features) == N * N


def test_another_result_of_the_same_answers_stands_beside_the_first(
    scene: str, tmp_path: Path, client: Any
) -> None:
    store = tmp_path / "store"
    run = {"tile_size": 256, "store": str(store), "client": client, "job_id": "job"}
    out = str(tmp_path / "out")
    every = daskmr.run(scene, "flood", out=out, merge="none", **run)
    first = JobFolder.at(str(store), "job").manifest()
    fewer = daskmr.run(scene, "flood", out=out, merge="nms", iou=0.0, **run)
    assert len(fewer.features) < len(every.features)
    assert JobFolder.at(str(store), "job").manifest() == first
    (other,) = (store / "jobs" / "job" / "manifests").iterdir()
    assert json.loads(other.read_text())["features"] == len(fewer.features)


def test_another_request_under_the_same_id_is_refused_by_what_differs(
    scene: str, tmp_path: Path, client: Any
) -> None:
    run = {"model": "flood", "store": str(tmp_path), "client": client, "job_id": "job"}
    daskmr.run(scene, tile_size=128, **run)
    with pytest.raises(RequestError) as caught:
        daskmr.run(scene, tile_size=256, **{**run, "model": "centerpoint"})
    text = str(caught.value)
    assert "model: 'centerpoint', but the job job began with 'flood'" in text
    assert "tile_size: '256x256', but the job job began with '128x128'" in text
    assert "overlap" not in text


def test_an_image_that_has_changed_is_never_mixed(scene: str, tmp_path: Path, client: Any) -> None:
    run = {"model": "flood", "store": str(tmp_path / "s"), "client": client, "job_id": "job"}
    daskmr.run(scene, tile_size=128, **run)
    pixels = np.zeros((1, N * 32, N * 32), np.uint16)
    write_image(Path(scene), pixels)
    with pytest.raises(SourceChangedError, match="has changed since the job job began"):
        daskmr.run(scene, tile_size=128, **run)


def test_a_job_that_somebody_runs_is_not_run_twice(
    scene: str, tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daskmr.store.lease.BEAT_S", 0.2)
    run = {"model": "flood", "store": str(tmp_path / "s"), "client": client, "job_id": "job"}
    made = daskmr.plan(scene, "flood", tile_size=128, job_id="job")
    with (
        workspace(made, kept_in(str(tmp_path / "s")), has_own_workers=False),
        pytest.raises(StoreError, match="is being run by"),
    ):
        daskmr.run(scene, tile_size=128, **run)
    assert daskmr.run(scene, tile_size=128, **run).report.status == "SUCCESS"


def kept_in(store: str) -> Execution:
    """How a job of a store is run."""
    return Execution(cluster={}, on_progress=lambda _: None, store=store)


def told(*words: object) -> Any:
    """What a command says as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "daskmr", *map(str, words)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_state_of_a_job_is_read_from_the_store_alone(
    scene: str, tmp_path: Path, client: Any
) -> None:
    store = str(tmp_path / "s")
    daskmr.run(scene, "flood", tile_size=128, store=store, client=client, job_id="done")
    made = daskmr.plan(scene, "flood", tile_size=128, job_id="begun")
    with workspace(made, kept_in(store), has_own_workers=False):
        state = told("status", "begun", "--store", store, "--json")
        assert (state["state"], state["n_done"]) == ("IN_PROGRESS", 0)
        assert state["n_tiles"] == made.n_tiles
    states = told("status", "--store", store, "--json")
    assert [s["job_id"] for s in states] == ["begun", "done"]
    assert [s["state"] for s in states] == ["INTERRUPTED", "SUCCESS"]
    assert states[1]["outcomes"] == {"SUCCEEDED": made.n_tiles}
    assert states[1]["n_features"] == 100 * made.n_tiles
    assert states[1]["n_done"] == states[1]["n_regions"] == made.n_regions
    report = told("report", "done", "--store", store)
    assert report["status"] == "SUCCESS"
    assert report["n_features"] == 100 * made.n_tiles


def test_a_job_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    for command in ("status", "report"):
        done = subprocess.run(
            [sys.executable, "-m", "daskmr", command, "none", "--store", str(tmp_path)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 4
        assert "'none'" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_driver_whose_job_was_taken_over_stops_and_writes_no_result(
    scene: str, tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daskmr.store.lease.BEAT_S", 0.1)
    objects = JobFolder.at(str(tmp_path / "s"), "job").objects

    def take_over(_progress: object) -> None:
        held = objects.read("lease.json")
        assert held is not None
        other = json.dumps({"owner": "other:1", "epoch": 9, "beat": 0, "nonce": "x"}).encode()
        while b"other:1" not in held and not objects.swap("lease.json", other, expected=held):
            held = objects.read("lease.json") or b""

    with (
        serving(numbered(0.05)) as server,
        pytest.raises(StoreError, match="taken over by another process"),
    ):
        daskmr.run(
            scene, server.url, out=str(tmp_path / "out"), store=str(tmp_path / "s"),
            client=client, on_progress=take_over, **OPTIONS,
        )  # fmt: skip
    assert list((tmp_path / "out").iterdir()) == []
    assert objects.read("manifest.json") is None
    assert b"other:1" in (objects.read("lease.json") or b"")


def test_an_array_cannot_be_kept(tmp_path: Path) -> None:
    import xarray as xr

    array = xr.DataArray(np.zeros((1, 64, 64), np.uint8), dims=("band", "y", "x"))
    with pytest.raises(RequestError, match="store: an array cannot be opened again"):
        daskmr.run(array, "flood", store=str(tmp_path))
