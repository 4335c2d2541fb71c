"""A few jobs whose processes are killed; `python -m tests.chaos` runs hundreds."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.checker import Checker, CheckResult
from tests.chaos.faults import OK, REFUSED, TRANSIENT, FaultPlan, boxes
from tests.chaos.job import RATES, ChaosJob, credentials
from tests.chaos.killer import Victim
from tests.chaos.processes import Service
from tests.chaos.server import Call
from tests.chaos.snapshot import s3

pytestmark = pytest.mark.worker_errors("Couldn't gather keys")
"""Whoever fetches results may be killed."""
SLOTS = 8
"""Regions that two workers have in hand at once, at most."""
LOCAL_SEEDS = tuple(map(int, os.environ.get("DASKMR_CHAOS_SEEDS", "10").split(",")))


@pytest.fixture(scope="module")
def bucket_server() -> Iterator[str]:
    """URL of an S3 server in a process of its own, with one bucket."""
    with pytest.MonkeyPatch.context() as patch, Service("tests.chaos.bucket") as server:
        for name, value in credentials().items():
            patch.setenv(name, value)
        client = s3(server.url)
        client.create_bucket(Bucket="chaos")
        client.close()
        yield server.url


def survived(job: ChaosJob) -> None:
    """The job ended as if nobody had been killed."""
    done = job.run()
    findings = done.findings
    assert not any(findings.faults.values()), done.line()
    assert not done.odd, done.line()
    assert done.n_regions >= 12
    most = max(map(len, job.checker().parts.values()))
    assert findings.extra_calls <= sum(done.kills.values()) * SLOTS * most, done.line()
    assert sum(done.kills.values()) >= job.n_kills - 1, done.line()


def test_jobs_in_folders_survive_whatever_is_killed(tmp_path: Path) -> None:
    made = [
        ChaosJob(seed=seed, folder=tmp_path / str(seed), n_kills=5, latency_s=0.1)
        for seed in LOCAL_SEEDS
    ]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(survived, made))


def test_a_job_in_a_bucket_survives_whatever_is_killed(bucket_server: str, tmp_path: Path) -> None:
    job = ChaosJob(
        seed=18, folder=tmp_path, n_kills=3, latency_s=0.1,
        bucket="s3://chaos", endpoint=bucket_server,
    )  # fmt: skip
    survived(job)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checker:
    """A job without kills in which some tiles are refused, ready to be tampered with."""
    job = ChaosJob(seed=5, folder=tmp_path_factory.mktemp("job"), n_kills=0, latency_s=0.02)
    job.faults = replace(job.faults, n_refused=3)
    with job.running() as (driver, _model):
        assert driver.wait(120) == 3
    return job.checker()


def found(good: Checker, **changes: Any) -> CheckResult:
    """What the checker says of a job in which something was changed."""
    return replace(good, notes=[], **changes).check(3)


def first_answered(good: Checker) -> Call:
    return next(call for call in good.calls if call.boxes)


def test_a_good_job_has_no_findings(finished: Checker) -> None:
    findings = found(finished)
    assert not any(findings.faults.values()), findings.notes
    assert findings.extra_calls == 0
    assert {call.kind for call in finished.calls} == {OK, REFUSED, *TRANSIENT}


def test_answers_that_are_not_published_are_lost(finished: Checker) -> None:
    call = first_answered(finished)
    more = replace(call, boxes=[*(call.boxes or ()), (30.0, 30.0, 31.0, 31.0)])
    findings = found(finished, calls=[more if c is call else c for c in finished.calls])
    assert (findings.lost, findings.unexpected, findings.duplicated) == (1, 0, 0)


def test_features_that_nobody_answered_are_unexpected(finished: Checker) -> None:
    call = first_answered(finished)
    findings = found(finished, calls=[c for c in finished.calls if c.tile != call.tile])
    assert findings.unexpected == len(boxes(call.tile))
    assert findings.false_success == 1
    assert findings.lost == 0


def test_features_that_are_there_twice_are_duplicated(finished: Checker) -> None:
    call = first_answered(finished)
    fewer = replace(call, boxes=())
    assert call.boxes is not None
    doubled = {
        name: replace(stored, content=doubled_rows(stored.content))
        for name, stored in finished.folder.items()
        if name.startswith("result-")
    }
    findings = found(finished, folder={**finished.folder, **doubled})
    n_answered = sum(len(c.boxes) for c in finished.calls if c.boxes)
    assert findings.duplicated == n_answered
    assert findings.torn == 1
    assert found(finished, calls=[fewer, *finished.calls]).duplicated == 0


def doubled_rows(content: bytes) -> bytes:
    """A Parquet file with each row twice."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(content))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.concat_tables([table, table]), sink)
    return bytes(sink.getvalue())


def test_a_part_that_is_gone_or_there_twice_leaves_tiles_unaccounted(finished: Checker) -> None:
    name = min(finished.parts)
    n_tiles = len(finished.parts[name])
    without = {key: stored for key, stored in finished.folder.items() if key != name}
    assert found(finished, folder=without).unaccounted == n_tiles
    twice = {**finished.folder, "regions/again.parquet": finished.folder[name]}
    assert found(finished, folder=twice).unaccounted == n_tiles


def test_a_result_that_is_cut_off_or_gone_is_torn(finished: Checker) -> None:
    name = next(n for n in finished.folder if n.startswith("coverage-"))
    stored = finished.folder[name]
    cut = {**finished.folder, name: replace(stored, content=stored.content[:-1])}
    assert found(finished, folder=cut).torn == 1
    assert found(finished, out={}).torn == len(finished.out)


def test_calls_after_the_commit_are_found(finished: Checker) -> None:
    call = first_answered(finished)
    late = replace(call, t=call.t + 3600)
    findings = found(finished, calls=[*finished.calls, late])
    assert (findings.reinvoked, findings.extra_calls) == (1, 1)


def test_a_status_that_hides_failures_is_wrong(finished: Checker) -> None:
    stored = finished.folder["manifest.json"]
    lie = json.dumps(json.loads(stored.content) | {"status": "SUCCESS"}).encode()
    folder = {**finished.folder, "manifest.json": replace(stored, content=lie)}
    assert found(finished, folder=folder).wrong_status == 1
    assert replace(finished, notes=[]).check(0).wrong_status == 1


def test_tiles_that_fail_without_being_refused_are_found(finished: Checker) -> None:
    calls = [call for call in finished.calls if call.kind != REFUSED]
    assert found(finished, calls=calls).failed_otherwise == 3


def test_faults_follow_from_the_seed_and_go_away() -> None:
    plan = FaultPlan(seed=1, n_tiles=500, n_refused=4, latency_s=0.1, rates=RATES)
    again = FaultPlan.parse(str(plan), seed=1)
    kinds = [[plan.kind(tile, n) for n in range(4)] for tile in range(500)]
    assert kinds == [[again.kind(tile, n) for n in range(4)] for tile in range(500)]
    assert {row[0] for row in kinds} == {OK, REFUSED, *TRANSIENT}
    assert {tile for tile, row in enumerate(kinds) if row[3] == REFUSED} == plan.refused
    assert {row[2] for row in kinds} == {OK, REFUSED}
    assert 0.1 < sum(row[0] not in {OK, REFUSED} for row in kinds) / 500 < 0.3
    with pytest.raises(ValueError, match="earthquake"):
        FaultPlan.parse("tiles=1,latency=0,earthquake=1", seed=1)


def test_kills_follow_from_the_seed_in_the_order_in_which_they_are_due(
    tmp_path: Path,
) -> None:
    plan = ChaosJob(seed=3, folder=tmp_path, n_kills=200).plan
    assert plan == ChaosJob(seed=3, folder=tmp_path, n_kills=200).plan
    assert {kill.victim for kill in plan} == set(Victim)
    assert [kill.progress for kill in plan] == sorted(kill.progress for kill in plan)
