"""Jobs without a cluster: in threads of this process, or in the calling thread alone."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster

import daskmr
from daskmr.dispatch.cluster import own_slots
from daskmr.dispatch.cluster_arguments import check_cluster
from daskmr.dispatch.workers import SMALL_TILES, placement
from daskmr.errors import JobError, RequestError
from daskmr.models.server import running
from daskmr.testing.images import HALF_METRE, UTM, write_image

OPTIONS: dict[str, Any] = {"tile_size": 40, "overlap": 8, "skip_nodata": False}


@pytest.fixture
def image(tmp_path: Path) -> str:
    """16 tiles of 40 pixels."""
    pixels = np.random.default_rng(5).integers(1, 255, (2, 130, 130), np.uint8)
    return str(write_image(tmp_path / "noise.tif", pixels, crs=UTM, transform=HALF_METRE))


def bright(tile: Any) -> dict[str, Any]:
    """Boxes around the pixels above 250."""
    rows, cols = np.nonzero(tile[0] > 250)
    boxes = np.stack([cols, rows, cols + 3, rows + 3], axis=1).reshape(-1, 4)
    return {"boxes": boxes, "scores": np.linspace(0.5, 0.9, len(boxes))}


def facts(result: daskmr.Result) -> list[tuple[Any, ...]]:
    """All that a result says of its features, but for the time of the answers."""
    table = result.features.drop(columns="inferred_at")
    return [tuple(map(str, row)) for row in table.itertuples()]


@pytest.mark.parametrize("place", ["threads", "synchronous"])
def test_files_arrays_and_endpoints_have_the_result_of_a_cluster(
    place: str, image: str, client: Any
) -> None:
    with xr.open_dataset(image, engine="rasterio") as opened:
        array = opened["band_data"].astype("uint8").load()
    lazy = array.copy(data=da.from_array(array.values, chunks=(2, 50, 70)))
    with running("centerpoint") as url:
        for source, model in [
            (image, bright),
            (image, f"{url}/invocations"),
            (array, bright),
            (lazy, bright),
        ]:
            here = daskmr.run(source, model, scheduler=place, job_id="j", **OPTIONS)
            there = daskmr.run(source, model, client=client, job_id="j", **OPTIONS)
            assert len(here.features) > 10
            assert facts(here) == facts(there)


def test_the_calling_thread_alone_runs_everything(image: str) -> None:
    seen: list[int] = []

    def model(tile: Any) -> dict[str, Any]:
        seen.append(threading.get_ident())
        return bright(tile)

    daskmr.run(image, model, scheduler="synchronous", **OPTIONS)
    assert seen == [threading.get_ident()] * 16


def test_a_small_job_runs_in_threads_that_end_with_it(image: str) -> None:
    seen: set[str] = set()
    progress: list[Any] = []

    def model(tile: Any) -> dict[str, Any]:
        seen.add(threading.current_thread().name)
        return bright(tile)

    model.thread_safe = True  # type: ignore[attr-defined]
    report = daskmr.run(image, model, on_progress=progress.append, **OPTIONS).report
    assert report.outcomes == {"SUCCEEDED": 16}
    assert seen <= {f"daskmr-region-{n}" for n in range(own_slots())}
    assert {at.place for at in progress} == {f"{own_slots()} threads of this process"}
    assert progress[-1].n_done == 16
    ours = ("daskmr-region", "daskmr-dispatcher")
    assert not [t.name for t in threading.enumerate() if t.name.startswith(ours)]


def test_a_loop_that_runs_in_this_thread_is_no_obstacle() -> None:
    """As in a notebook."""

    async def cell(image: Any, url: str, place: str) -> Any:
        return daskmr.run(image, url, scheduler=place, **OPTIONS)

    array = xr.DataArray(np.ones((1, 64, 64), np.uint8), dims=("band", "y", "x"))
    with running("centerpoint") as url:
        for place in ("threads", "synchronous"):
            report = asyncio.run(cell(array, f"{url}/invocations", place)).report
            assert report.outcomes == {"SUCCEEDED": 4}


@pytest.mark.parametrize("place", ["threads", "synchronous"])
def test_a_model_that_leaves_ends_the_process_only_where_it_may(place: str, image: str) -> None:
    def model(_tile: Any) -> None:
        sys.exit(3)

    with pytest.raises(SystemExit if place == "synchronous" else JobError) as caught:
        daskmr.run(image, model, scheduler=place, **OPTIONS)
    if place == "threads":
        assert "TASK_FAILED" in str(caught.value)
        assert "SystemExit: 3" in str(caught.value)


def test_an_interrupted_job_goes_on_where_it_was(image: str, tmp_path: Path) -> None:
    asked: list[int] = []

    def model(tile: Any) -> dict[str, Any]:
        asked.append(1)
        if len(asked) == 7:
            raise KeyboardInterrupt
        return bright(tile)

    how: dict[str, Any] = {"store": str(tmp_path / "jobs"), "job_id": "j", **OPTIONS}
    with pytest.raises(KeyboardInterrupt):
        daskmr.run(image, model, scheduler="synchronous", **how)
    assert daskmr.Job(how["store"], "j").status == "INTERRUPTED"
    whole = daskmr.run(image, bright, scheduler="threads", job_id="other", **OPTIONS)
    resumed = daskmr.run(image, model, scheduler="threads", **how)
    assert resumed.report.outcomes == {"SUCCEEDED": 16}
    assert len(resumed.features) == len(whole.features)


def plan_of(tmp_path: Path, model: Any, n: int) -> daskmr.Plan:
    image = write_image(tmp_path / f"{n}.tif", np.ones((1, 10 * n, 10), np.uint8))
    return daskmr.plan(str(image), model, tile_size=10, overlap=0)


@pytest.mark.parametrize(
    ("model", "n", "how", "where"),
    [
        (bright, SMALL_TILES, {}, "threads"),
        (bright, SMALL_TILES + 1, {}, "cluster"),
        ("http://127.0.0.1:1/", 1000, {}, "threads"),
        ("http://127.0.0.1:1/", 1, {"workers": 1}, "cluster"),
        ("http://127.0.0.1:1/", 1, {"scheduler": "local"}, "cluster"),
        ("http://127.0.0.1:1/", 1, {"scheduler": "tcp://127.0.0.1:1"}, "cluster"),
        (bright, 1000, {"scheduler": "threads"}, "threads"),
        (bright, 1, {"scheduler": "synchronous"}, "synchronous"),
    ],
)
def test_where_a_job_runs(
    tmp_path: Path, model: Any, n: int, how: dict[str, Any], where: str
) -> None:
    plan = plan_of(tmp_path, model, n)
    assert placement(plan, how) == where
    named = {"synchronous", "threads"} & {how.get("scheduler")}
    assert placement(plan, how, is_resumed=True) == (where if named else "cluster")
    if not how:
        with dask.config.set({"daskmr.scheduler": "synchronous"}):
            assert placement(plan, how) == "synchronous"


def test_a_current_client_is_used(tmp_path: Path, cluster: Any) -> None:
    plan = plan_of(tmp_path, bright, 1)
    with Client(cluster, set_as_default=False) as client, client.as_current():
        assert placement(plan, {}) == "cluster"
        assert placement(plan, {"client": client}) == "cluster"


def test_no_job_in_threads_pays_for_dask_s_cluster(image: str, tmp_path: Path) -> None:
    script = (
        "import sys, daskmr\n"
        f"daskmr.run({image!r}, 'centerpoint', tile_size=40, overlap=8, out={str(tmp_path)!r})\n"
        "print('distributed' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)  # noqa: PLW1510
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr


UNGUARDED = """
import daskmr, numpy as np
def model(tile):
    return {{"boxes": np.array([[1.0, 2.0, 6.0, 5.0]]), "scores": np.array([0.9])}}
result = daskmr.run({image!r}, model, tile_size=40, overlap=8, {how})
print(len(result.features), "features")
"""


def test_a_script_without_a_guard_runs_in_threads_or_is_told_of_it(
    image: str, tmp_path: Path
) -> None:
    outcomes = {}
    for how in ("job_id='j'", "workers=2"):
        script = tmp_path / "user.py"
        script.write_text(UNGUARDED.format(image=image, how=how))
        outcomes[how] = subprocess.run(
            [sys.executable, str(script)],
            capture_output=True, text=True, check=False, timeout=120,
            env={**os.environ, "DASK_LOGGING": "{}"},
        )  # fmt: skip
    small, large = outcomes.values()
    assert small.stdout == "16 features\n", small.stderr
    assert (large.returncode, large.stdout) == (1, "")
    assert large.stderr.splitlines()[-1] == (
        "daskmr.errors.RequestError: user.py: worker processes import the script again; put what "
        "it runs below if __name__ == '__main__':, or run in this process with scheduler='threads'"
    )
    assert large.stderr.count("Traceback") == 1
    assert "distributed" not in large.stderr.replace("site-packages/distributed", "")


def test_a_model_that_cannot_be_sent_runs_where_it_needs_not_be(image: str) -> None:
    lock = threading.Lock()

    def model(tile: Any) -> dict[str, Any]:
        with lock:
            return bright(tile)

    places: list[dict[str, Any]] = [{}, {"workers": 1}]
    for how in places:
        with pytest.raises(RequestError) as caught:
            daskmr.run(image, model, **how, **OPTIONS)
        assert str(caught.value).startswith("model: ")
        assert "cannot be sent to worker processes (cannot pickle '_thread.lock' object)" in str(
            caught.value
        )
    report = daskmr.run(image, model, scheduler="threads", **OPTIONS).report
    assert report.outcomes == {"SUCCEEDED": 16}


def test_arguments_that_name_no_cluster_are_one_sentence_each(image: str, client: Any) -> None:
    async def asynchronous() -> str:
        async with Client(client.scheduler.address, asynchronous=True) as made:
            return _refusal(client=made)

    def _refusal(**how: Any) -> str:
        with pytest.raises(RequestError) as caught:
            daskmr.run(image, bright, **how)
        return str(caught.value)

    address = "tcp://127.0.0.1:1"
    assert asyncio.run(asynchronous()) == (
        "client: it is asynchronous; give one made without asynchronous=True"
    )
    assert isinstance(client.cluster, LocalCluster)
    assert _refusal(client=client.cluster) == (
        "client: a LocalCluster is a cluster; give its client, LocalCluster.get_client()"
    )
    assert _refusal(client=address) == f"client: {address!r} is an address; give it as scheduler"
    assert _refusal(client=3) == "client: a int is no distributed.Client"
    assert _refusal(client=client, scheduler=address) == (
        f"client, scheduler: two clusters at once; leave out {address!r}"
    )
    assert _refusal(workers=3, scheduler="threads") == (
        "workers: 3 of a cluster of our own, beside 'threads'"
    )
    check_cluster(client=client)


def test_a_tile_that_kills_the_process_kills_the_next_one_no_more(tmp_path: Path) -> None:
    pixels = np.ones((1, 40, 40), np.uint8)
    pixels[0, 25, 25] = 255
    image = write_image(tmp_path / "x.tif", pixels)
    (tmp_path / "deadly.py").write_text(
        "import os, signal\n"
        "def model(tile):\n"
        "    if (tile == 255).any():\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return {'boxes': [[1, 1, 5, 5]], 'scores': [0.5]}\n"
    )
    command = [
        sys.executable, "-m", "daskmr", "run", str(image), "-m", "deadly:model", "--tile-size",
        "10", "--overlap", "0", "-o", "out", "--store", "jobs", "--job-id", "j", "--workers", "1",
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "DASK_LOGGING": "{}"}

    def call(arguments: list[str]) -> int:
        return subprocess.run(
            arguments, cwd=tmp_path, env=env, capture_output=True, check=False, timeout=240
        ).returncode

    assert call(command[:-2]) == -signal.SIGKILL
    assert call(command[:-2]) == 3
    outcomes = daskmr.Job(str(tmp_path / "jobs"), "j").report.outcomes
    assert outcomes == {"SUCCEEDED": 15, "FAILED": 1}
