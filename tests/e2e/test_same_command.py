"""The same command again: it goes on, asks about what failed, gives the result, or refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import xarray as xr
from aiohttp import web

import daskmr
from daskmr import aws
from daskmr.errors import ClusterError, JobError, RequestError, StoreError
from daskmr.testing.images import HALF_METRE, UTM, write_image
from daskmr.testing.numbered import numbered, requested_tiles, write_numbered
from daskmr.testing.servers import Served, serving

N = 12
HOW: dict[str, Any] = {
    "tile_size": 32, "overlap": 0, "tile_format": "NPY", "merge": "none", "skip_nodata": False,
}  # fmt: skip
FLAGS = [
    "--tile-size", "32", "--overlap", "0", "--tile-format", "NPY", "--merge", "none",
    "--no-skip-nodata",
]  # fmt: skip


@pytest.fixture
def scene(tmp_path: Path) -> str:
    """12 x 12 tiles, each in a grey of its own."""
    return write_numbered(tmp_path / "harbour.tif", N)


def labels(path: Path) -> list[int]:
    return sorted(map(int, gpd.read_parquet(path).label))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def command(folder: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "daskmr", "run", *map(str, words)],
        cwd=folder, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def notes(done: "subprocess.CompletedProcess[str]") -> list[str]:
    lines = [line.partition(":") for line in done.stdout.splitlines()]
    return [text.strip() for name, _, text in lines if name == "note"]


def test_a_plain_command_goes_on_after_a_kill_and_then_gives_its_result_again(
    scene: str, tmp_path: Path
) -> None:
    with serving(numbered(0.4)) as server:  # so slow that the first part is seen in time
        words = ["-m", server.url, *FLAGS]
        killed = subprocess.Popen(
            [sys.executable, "-m", "daskmr", "run", scene, *words], cwd=tmp_path
        )
        end = time.monotonic() + 60
        while not parts(tmp_path) and time.monotonic() < end:
            time.sleep(0.02)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait(30)
        time.sleep(0.5)
        n_before = len(server.requests)
        assert 0 < n_before < N * N
        assert names(tmp_path) == ["harbour.tif"]
        done = command(tmp_path, scene, *words)
        assert done.returncode == 0, done.stderr
        (state,) = (tmp_path / ".daskmr" / "jobs").iterdir()
        assert notes(done)[-1].startswith("went on after ")
        assert len(server.requests) <= 1.05 * N * N + 64
        assert labels(tmp_path / f"{state.name}.parquet") == list(range(N * N))

        n_asked, written = len(server.requests), names(tmp_path)
        again = command(tmp_path, scene, *words)
        assert again.returncode == 0, again.stderr
        assert len(server.requests) == n_asked
        assert "given again as it was published" in notes(again)[0]
        assert names(tmp_path) == written
    assert state.name.startswith("harbour-127-0-0-1-")
    assert written == sorted([
        "harbour.tif",
        *(f"{state.name}.{suffix}" for suffix in ("coverage.geojson", "geojson", "parquet")),
    ])  # fmt: skip
    assert not parts(tmp_path)


def parts(folder: Path) -> list[Path]:
    return list(folder.glob(".daskmr/jobs/*/regions/*.parquet"))


Run = Callable[..., daskmr.Result]


@pytest.fixture
def run(scene: str, tmp_path: Path) -> Run:
    def call(model: Any, **how: Any) -> daskmr.Result:
        return daskmr.run(
            **{"image": scene, "model": model, "out": str(tmp_path / "o"), **HOW, **how}
        )

    return call


def test_failed_tiles_and_only_they_are_asked_again(run: Run, tmp_path: Path) -> None:
    refused = set(range(N * N))
    with serving(numbered(0.0, refused)) as server:

        def asked() -> list[int]:
            tiles = sorted(requested_tiles(server))
            server.requests.clear()
            return tiles

        with pytest.raises(JobError, match="no tile succeeded"):
            run(server.url)
        assert asked() == list(range(N * N))
        refused -= set(range(5, N * N))
        with pytest.warns(UserWarning, match="5 of 144 tiles failed"):
            first = run(server.url)
        assert asked() == list(range(N * N))
        assert f"asked again about {N * N} tiles that had failed" in first.report.notes
        assert sorted(map(int, first.features.label)) == list(range(5, N * N))
        refused.clear()
        second = run(server.url)
        assert asked() == [0, 1, 2, 3, 4]
        third = run(server.url)
        assert asked() == []
    assert second.report.outcomes == {"SUCCEEDED": N * N}
    assert sorted(map(int, second.features.label)) == list(range(N * N))
    assert second.features.equals(third.features)
    assert labels(tmp_path / "o" / f"{second.report.job_id}.parquet") == list(range(N * N))


def test_failed_tiles_are_left_alone_when_that_is_asked_for(run: Run, tmp_path: Path) -> None:
    with serving(numbered(0.0, {3})) as server:
        for _ in range(2):
            with pytest.warns(UserWarning, match="1 of 144 tiles failed"):
                run(server.url, store=str(tmp_path / "jobs"), retry_failed=False)
        assert len(server.requests) == N * N


def served(run: Run, server: Served, **how: Any) -> int:
    """How many tiles a call asks about."""
    before = len(server.requests)
    run(server.url, **how)
    return len(server.requests) - before


def test_another_job_of_the_same_name_is_refused_with_the_difference(
    run: Run, scene: str, tmp_path: Path
) -> None:
    other = tmp_path / "other.tif"
    shutil.copy(scene, other)
    with serving(numbered(0.0)) as server:
        assert served(run, server, job_id="x") == N * N
        first = (tmp_path / "o" / "x.parquet").read_bytes()
        changes: list[tuple[dict[str, Any], str]] = [
            ({"image": str(other)}, f"image: {str(other)!r}, but the job x had {scene!r}"),
            ({"tile_size": 64}, "tile_size: '64x64', but the job x had '32x32'"),
            ({"merge": "nms"}, "merge: 'nms', but the job x had 'none'"),
        ]
        for change, difference in changes:
            for again in (False, True):
                with pytest.raises(RequestError) as caught:
                    run(server.url, job_id="x", again=again, **change)
                assert difference in str(caught.value).splitlines()
                assert str(caught.value).splitlines()[-1] == (
                    "job_id: x is taken; overwrite=True (--overwrite) replaces it"
                )
        os.utime(scene, (1, 1))
        with pytest.raises(RequestError, match=r"harbour\.tif: has changed since the job x began"):
            run(server.url, job_id="x")
        assert len(server.requests) == N * N
        assert (tmp_path / "o" / "x.parquet").read_bytes() == first

        how: dict[str, Any] = {
            "image": str(other),
            "job_id": "x",
            "formats": ("fgb",),
            "overwrite": True,
        }
        assert served(run, server, **how) == N * N
        assert names(tmp_path / "o") == ["x.coverage.geojson", "x.fgb"]
        del how["overwrite"]
        assert served(run, server, **how) == 0
        assert len(run(server.url, **how).features) == N * N
        assert served(run, server, again=True, **how) == N * N


def test_a_result_that_was_damaged_or_is_wanted_otherwise_is_made_again(
    run: Run, tmp_path: Path
) -> None:
    with serving(numbered(0.0)) as server:
        assert served(run, server, job_id="x") == N * N
        (tmp_path / "o" / "x.geojson").unlink()
        assert served(run, server, job_id="x") == N * N
        with (tmp_path / "o" / "x.parquet").open("ab") as file:
            file.write(b"!")
        assert served(run, server, job_id="x") == N * N
        assert served(run, server, job_id="x", formats=("gpkg",)) == N * N
        assert served(run, server, job_id="x", formats=("gpkg",)) == 0
        store = str(tmp_path / "jobs")
        assert served(run, server, job_id="x", store=store, out=str(tmp_path / "p")) == N * N
        (tmp_path / "p" / "x.geojson").unlink()
        assert served(run, server, job_id="x", store=store, out=str(tmp_path / "p")) == 0
        assert (tmp_path / "p" / "x.geojson").exists()


def test_beginning_anew_in_vain_leaves_the_result_and_the_way_back(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daskmr.dispatch.cluster._CONNECT_S", 1.0)
    with serving(numbered(0.0)) as server:
        run(server.url, job_id="x")
        before = (tmp_path / "o" / "x.parquet").read_bytes()
        for _ in range(3):
            with pytest.raises(ClusterError):
                run(server.url, job_id="x", again=True, scheduler="tcp://127.0.0.1:9")
        assert (tmp_path / "o" / "x.parquet").read_bytes() == before
        assert served(run, server, job_id="x") == N * N
    assert len(labels(tmp_path / "o" / "x.parquet")) == N * N


def test_files_of_somebody_else_are_not_written_over(run: Run, tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    mine = tmp_path / "o" / "x.geojson"
    mine.write_text("mine")
    with serving(numbered(0.0)) as server:
        with pytest.raises(RequestError) as caught:
            run(server.url, job_id="x")
        assert str(caught.value) == (
            f"out: {mine} is no result of this job; overwrite=True (--overwrite) replaces it"
        )
        assert not server.requests
        assert mine.read_text() == "mine"
        run(server.url, job_id="x", overwrite=True)
    assert mine.read_text() != "mine"


def test_two_of_the_same_command_do_not_run_at_once(run: Run, tmp_path: Path) -> None:
    def model(_tile: Any) -> dict[str, Any]:
        for how in ({}, {"again": True}, {"overwrite": True}):
            with pytest.raises(StoreError, match="is being run by"):
                run(model, scheduler="threads", tile_size=384, **how)
        return {"boxes": [], "scores": []}

    assert run(model, scheduler="threads", tile_size=384).report.n_tiles == 1


def test_a_function_that_was_edited_is_another_job(scene: str, tmp_path: Path) -> None:
    module = tmp_path / "mine.py"
    words = [scene, "-m", "mine:ships", "--tile-size", "384", "-f", "parquet", "-o", tmp_path / "o"]
    made = []
    for score in ("0.5", "0.5", "0.25"):
        module.write_text(
            f"def ships(t):\n    return {{'boxes': [[0,0,9,9]], 'scores': [{score}]}}\n"
        )
        done = subprocess.run(
            [sys.executable, "-m", "daskmr", "run", *map(str, words)],
            env={**os.environ, "PYTHONPATH": str(tmp_path)}, check=True, capture_output=True,
        )  # fmt: skip
        made.append(done.stdout.decode().partition("job:")[2].split()[0].rstrip(":"))
    assert made[0] == made[1] != made[2]
    assert {
        float(gpd.read_parquet(tmp_path / "o" / f"{made[i]}.parquet").score[0]) for i in (0, 2)
    } == {
        0.5,
        0.25,
    }


def test_results_in_a_bucket_keep_their_state_there(s3: Any, scene: str, run: Run) -> None:
    with serving(numbered(0.0, {7})) as server:
        with pytest.warns(UserWarning, match="1 of 144"):
            run(server.url, out="s3://bucket/same", job_id="x")
        keys = [o["Key"] for o in s3.list_objects_v2(Bucket="bucket", Prefix="same/")["Contents"]]
        assert any(key.startswith("same/.daskmr/jobs/x/regions/") for key in keys)
    with serving(numbered(0.0)) as server:
        how = {"image": scene, "model": server.url, "out": "s3://bucket/same", "job_id": "x", **HOW}
        with pytest.raises(RequestError, match="model: 'http"):
            daskmr.run(**how)
        assert served(run, server, out="s3://bucket/same", job_id="x", overwrite=True) == N * N
        assert served(run, server, out="s3://bucket/same", job_id="x") == 0
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket="bucket", Prefix="same/")["Contents"]]
    assert {key for key in keys if ".daskmr" not in key} == {
        "same/x.coverage.geojson", "same/x.geojson", "same/x.parquet",
    }  # fmt: skip
    assert not any("/regions/" in key for key in keys)


def test_a_bucket_that_can_only_be_written_gets_its_results(
    scene: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    async def bucket(request: web.Request, _number: int) -> web.StreamResponse:
        if request.method != "PUT":
            return web.Response(status=403)
        await request.read()
        written.append(request.path)
        return web.Response(headers={"ETag": '"1"'})

    with serving(bucket) as standin, serving(numbered(0.0)) as server:
        origin = standin.url.rpartition("/")[0]
        for name, value in {
            "AWS_ENDPOINT_URL_S3": origin, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        aws.close()
        how: dict[str, Any] = {"out": "s3://results/area", "job_id": "x", **HOW}
        for _ in range(2):
            report = daskmr.run(scene, server.url, **how).report
            assert report.status == "SUCCESS"
        aws.close()
        assert len(server.requests) == 2 * N * N
    published = {path for path in written if ".daskmr" not in path}
    assert {path.rpartition("/")[2] for path in published} == {
        "x.geojson", "x.parquet", "x.coverage.geojson",
    }  # fmt: skip


def test_an_array_keeps_nothing_and_is_run_each_time(tmp_path: Path) -> None:
    asked: list[int] = []

    def model(_tile: Any) -> dict[str, Any]:
        asked.append(1)
        return {"boxes": [[1, 1, 5, 5]], "scores": [0.5]}

    array = xr.DataArray(np.ones((1, 64, 64), np.uint8), dims=("band", "y", "x"))
    how = {"tile_size": 32, "overlap": 0, "out": str(tmp_path), "scheduler": "threads"}
    first = daskmr.run(array, model, **how)  # type: ignore[arg-type]
    second = daskmr.run(array, model, **how)  # type: ignore[arg-type]
    assert len(asked) == 8
    assert first.report.job_id == second.report.job_id
    assert not (tmp_path / ".daskmr").exists()


def test_features_go_to_stdout_alone(tmp_path: Path) -> None:
    write_image(tmp_path / "x.tif", np.ones((1, 64, 64), np.uint8), crs=UTM, transform=HALF_METRE)
    done = command(
        tmp_path, "x.tif", "-m", "centerpoint", "--tile-size", "32", "--overlap", "0", "-o", "-"
    )
    assert done.returncode == 0
    features = [json.loads(line) for line in done.stdout.splitlines()]
    assert [feature["type"] for feature in features] == ["Feature"] * 4
    assert "tiles:          4: 4 succeeded" in done.stderr
    assert "output:" not in done.stderr
    assert names(tmp_path) == ["x.tif"]
    assert not (tmp_path / ".daskmr").exists()
