"""A reader sees no result or the whole result; a job has one; a finished job is only read."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.job import ChaosJob
from tests.chaos.publication import PublicationKills, Reader
from tests.chaos.races import Races
from tests.chaos.server import calls

pytestmark = pytest.mark.worker_errors("Couldn't gather keys")
"""Whoever fetches results may be killed."""
N_KILLS = int(os.environ.get("DASKMR_PUBLICATION_KILLS", "3"))
N_RACES = int(os.environ.get("DASKMR_RACES", "2"))


def test_whoever_is_killed_while_publishing_no_result_is_torn(tmp_path: Path) -> None:
    figures = PublicationKills(tmp_path).run(N_KILLS)
    assert figures["torn"] == figures["wrong"] == 0, figures
    assert figures["kills"] == N_KILLS
    assert figures["looks"] > 20 * N_KILLS


def test_a_result_that_is_written_in_place_is_seen_to_be_torn(tmp_path: Path) -> None:
    content = b"x" * 2**16
    told = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    reader = Reader(tmp_path, tmp_path, {"job.parquet": told})
    with reader, (tmp_path / "job.parquet").open("wb") as file:
        file.write(content[:1000])
        file.flush()
        reader.look()
        file.write(content[1000:])
    assert "job.parquet: 1000 bytes" in reader.torn
    (tmp_path / "manifest.json").write_text('{"results": {"job.geojson": {}}}')
    late = Reader(tmp_path, tmp_path, {"job.parquet": told})
    late.look()
    assert late.torn == ["job.geojson is not what the manifest says"]


def test_of_two_drivers_of_one_job_there_is_one_result(cluster: Any, tmp_path: Path) -> None:
    figures = Races(tmp_path, cluster.scheduler_address).run(N_RACES)
    assert figures["wrong"] == 0, figures
    assert sum(figures["ends"].values()) == N_RACES


def test_a_finished_job_is_replayed_without_a_call_to_the_same_bytes(tmp_path: Path) -> None:
    job = ChaosJob(seed=7, folder=tmp_path, n_kills=0, latency_s=0.02)
    with job.running() as (driver, _model):
        first = driver.wait(120)
        asked, before = calls(job.log), job.checker()
        words = [word.replace("/out-", "/again-") for word in driver.words]
        driver.words = [*words, "--no-retry-failed"]
        driver.start()
        assert driver.wait(120) == first
        assert calls(job.log) == asked
    job.out = job.out.replace("/out-", "/again-")
    after = job.checker()
    assert len(after.out) == len(before.out) == 3
    for name, stored in before.out.items():
        assert after.out[name].content == stored.content
    results = {name for name in before.folder if name.startswith(("result-", "coverage-"))}
    assert {name for name in after.folder if name.startswith(("result-", "coverage-"))} == results
    for name in {*results, "manifest.json", "report.json"}:
        assert after.folder[name].content == before.folder[name].content
