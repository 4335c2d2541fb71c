"""A region in a process of its own: what comes back, and what a crash leaves behind."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import daskmr
import daskmr.errors
from daskmr.dispatch.model_call import model_call
from daskmr.errors import WorkerLostError
from daskmr.image.raster import RasterSource
from daskmr.store import JobFolder
from daskmr.testing.images import write_image
from daskmr.worker.isolation import run_alone
from daskmr.worker.region import process_region
from daskmr.worker.task import JobContext


def job(tmp_path: Path, model: Any, folder: str) -> tuple[JobContext, Any]:
    """A job of one region over 4 tiles."""
    image = tmp_path / "x.tif"
    if not image.exists():
        write_image(image, np.arange(64 * 64, dtype=np.uint16).reshape(1, 64, 64))
    plan = daskmr.plan(str(image), model, tile_size=32, overlap=0, skip_nodata=False)
    made = JobContext(
        job_id="j",
        call=model_call(plan),
        regions=plan.regions,
        selection=plan.selection,
        folder=JobFolder(url=str(tmp_path / folder)),
        skip_nodata=False,
    )
    assert isinstance(plan.image.source, RasterSource)
    return made, plan.image.source


def facts(made: JobContext) -> list[tuple[Any, ...]]:
    """What the parts of a job hold, but for the time of the answers."""
    return [
        (row.label, row.x_min, row.y_min, row.tile_row, row.tile_col)
        for name in made.folder.part_names()
        for row in made.parts.read(name).features.itertuples()
    ]


def test_a_region_alone_finds_what_it_finds_among_others(tmp_path: Path) -> None:
    alone, source = job(tmp_path, "centerpoint", "alone")
    among, _ = job(tmp_path, "centerpoint", "among")
    for region in alone.regions:
        summary = run_alone(alone, region, source)
        same = process_region(among, region, source, tick=lambda _tiles, _pixels: None)
        assert (summary.outcomes, summary.n_features) == (same.outcomes, same.n_features)
    assert facts(alone) == facts(among)
    assert len(facts(alone)) == 4


def test_a_crash_is_told_by_its_signal(tmp_path: Path) -> None:
    made, source = job(tmp_path, lambda _tile: os.abort(), "x")
    region = next(iter(made.regions))
    with pytest.raises(WorkerLostError, match=f"region {region.id}: .* died of SIGABRT") as caught:
        run_alone(made, region, source)
    assert caught.value.alone
    assert made.folder.part_names() == []
    made, source = job(tmp_path, lambda _tile: os._exit(3), "x")
    with pytest.raises(WorkerLostError, match="died of exit status 3"):
        run_alone(made, region, source)


def test_a_model_that_prints_spoils_nothing(tmp_path: Path) -> None:
    def chatty(_tile: Any) -> dict[str, Any]:
        print("here I am")  # noqa: T201 - it is what is tested
        return {"features": []}

    made, source = job(tmp_path, chatty, "x")
    region = next(iter(made.regions))
    assert run_alone(made, region, source).outcomes["SUCCEEDED"] >= 1


def test_a_failure_that_is_no_crash_comes_back_as_it_was(tmp_path: Path) -> None:
    made, source = job(tmp_path, "flood", "x")
    (tmp_path / "x").write_text("in the way")
    region = next(iter(made.regions))
    with pytest.raises(daskmr.errors.StoreError, match="cannot"):
        run_alone(made, region, source)


def test_a_child_ends_with_whoever_started_it(tmp_path: Path) -> None:
    code = f"""
import pathlib, sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
import numpy as np
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("quarantine_test", {__file__!r})
module = module_from_spec(spec); spec.loader.exec_module(module)
tmp = pathlib.Path({str(tmp_path)!r})
def stuck(tile):
    (tmp / "started").touch()
    time.sleep(600)
import __main__
made, source = module.job(tmp, stuck, "x")
from daskmr.worker.isolation import run_alone
run_alone(made, next(iter(made.regions)), source)
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    try:
        end = time.monotonic() + 60
        while not (tmp_path / "started").exists() and time.monotonic() < end:
            time.sleep(0.1)
        (child,) = psutil.Process(parent.pid).children()
    finally:
        parent.kill()
        parent.wait()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
