"""Planning and running without what only Linux has: in the driver and in all workers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import pytest

from daskmr.testing.scene import SyntheticScene
from tests.store.test_portability import HIDE

RECORD = """
with open(os.environ["HIDDEN"], "a") as pids:
    print(os.getpid(), file=pids)
"""


@pytest.mark.parametrize("words", [[], ["--store", "jobs", "--job-id", "j"]])
def test_a_scene_is_planned_and_run(tmp_path: Path, words: list[str]) -> None:
    SyntheticScene(size=1024).write(tmp_path / "scene.tif")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HIDE + RECORD)
    environment = {
        **os.environ, "PYTHONPATH": str(tmp_path / "site"), "HIDDEN": str(tmp_path / "pids"),
    }  # fmt: skip
    options = ["scene.tif", "-m", "blobs", "--tile-size", "256", "--overlap", "32", "--json"]

    def command(*arguments: str) -> dict[str, object]:
        done = subprocess.run(
            [sys.executable, "-W", "ignore:only soft file lock", "-m", "daskmr", *arguments],
            env=environment, capture_output=True, text=True, timeout=180, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        values: dict[str, object] = json.loads(done.stdout)
        return values

    assert command("plan", *options)["tiles"] == 25
    report = command("run", *options, "-o", "out", "--workers", "2", "-f", "parquet", *words)
    assert (report["status"], report["outcomes"]) == ("SUCCESS", {"SUCCEEDED": 25})
    (path,) = (tmp_path / "out").glob("*.parquet")
    n_objects = len(SyntheticScene(size=1024).truth())
    assert len(gpd.read_parquet(path)) == report["n_merged"] == n_objects
    n_processes = len(set((tmp_path / "pids").read_text().split()))
    assert n_processes >= 2 + 2  # two commands, two workers
