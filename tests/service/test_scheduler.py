"""Who starts when: Model Runner's cases, and thousands of jobs at endpoints that scale."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmr.service.scheduler import EndpointCapacity, Entry, JobScheduler, Reason


def entry(job: str, endpoint: str = "A", at: float = 0.0, n: int | None = 1, p: int = 0) -> Entry:
    tiles = 64 * (n or 0)
    return Entry(
        job_id=job, endpoint=endpoint, requested_at=at, n_regions=n, n_tiles=tiles, priority=p
    )


def started(scheduler: JobScheduler, capacities: dict[str, EndpointCapacity]) -> list[str]:
    return [d.entry.job_id for d in scheduler.start_jobs(capacities) if d.starts]


def test_of_idle_endpoints_the_oldest_job_starts_first() -> None:  # K13
    scheduler = JobScheduler(max_jobs=1)
    for job, at in (("job1", 1.0), ("job2", 0.0), ("job3", 2.0)):
        scheduler.add(entry(job, f"endpoint-{job}", at))
    # equal loads: one region waits at each
    assert started(scheduler, {}) == ["job2"]


def test_the_endpoint_with_the_least_load_comes_first() -> None:  # K13
    scheduler = JobScheduler(max_jobs=5)
    for number in range(3):
        scheduler.add(entry(f"a{number}", "endpoint1"))
    scheduler.add(entry("b", "endpoint2"))
    assert len(started(scheduler, {})) == 4
    for number in range(3, 6):
        scheduler.add(entry(f"a{number}", "endpoint1", 1.0))
    scheduler.add(entry("b2", "endpoint2", 1.0))
    scheduler.add(entry("new", "endpoint3", 2.0, None))
    capacities = {
        "endpoint1": EndpointCapacity(n_instances=2),
        "endpoint3": EndpointCapacity(n_instances=3),
    }
    assert scheduler.load_factor("endpoint1", capacities) == 3.0
    assert started(scheduler, capacities) == ["new"]


def test_jobs_of_one_endpoint_start_by_priority_and_age() -> None:  # K13
    scheduler = JobScheduler(max_jobs=1)
    scheduler.add(entry("job2", at=1.0))
    scheduler.add(entry("job1", at=0.0))
    assert started(scheduler, {}) == ["job1"]
    scheduler.add(entry("urgent", at=9.0, p=1))
    scheduler.remove("job1")
    assert started(scheduler, {}) == ["urgent"]


def test_a_job_starts_where_it_fits_or_where_nothing_else_runs() -> None:  # K12
    scheduler = JobScheduler(max_jobs=9)
    capacities = {"A": EndpointCapacity(max_calls=50)}
    scheduler.add(entry("large", n=100))
    assert [d.reason for d in scheduler.start_jobs(capacities)] == [Reason.ALONE]
    scheduler.update("large", n_regions=7, n_tiles=448)  # 28 calls of 50: 22 are left
    scheduler.add(entry("fits", at=1.0, n=5))
    scheduler.add(entry("waits", at=2.0, n=1))
    decisions = {d.entry.job_id: d.reason for d in scheduler.start_jobs(capacities)}
    assert decisions == {"fits": Reason.FITS, "waits": Reason.SMALL}
    scheduler.add(entry("later", at=3.0, n=1))
    assert [(d.entry.job_id, d.reason) for d in scheduler.start_jobs(capacities)] == [
        ("later", Reason.NO_CAPACITY)
    ]


def test_a_full_endpoint_keeps_no_other_waiting() -> None:  # K14
    scheduler = JobScheduler(max_jobs=9)
    capacities = {
        "A": EndpointCapacity(max_calls=10, n_instances=100),
        "B": EndpointCapacity(max_calls=10),
    }
    scheduler.add(entry("a0", "A", 0.0, 20))
    scheduler.start_jobs(capacities)
    scheduler.add(entry("a1", "A", 1.0, 20))
    scheduler.add(entry("b1", "B", 2.0, 20))
    assert scheduler.load_factor("A", capacities) < scheduler.load_factor("B", capacities)
    assert started(scheduler, capacities) == ["b1"]


def test_a_small_job_runs_beside_a_large_one_and_ahead_of_others_that_wait() -> None:
    scheduler = JobScheduler(max_jobs=9)
    capacities = {"A": EndpointCapacity(max_calls=10)}
    scheduler.add(entry("large", n=100))
    scheduler.start_jobs(capacities)
    scheduler.add(entry("medium", at=1.0, n=50))
    scheduler.add(entry("small", at=2.0, n=1))
    scheduler.add(entry("small2", at=3.0, n=1))
    assert started(scheduler, capacities) == ["small"]
    scheduler.remove("small")
    assert started(scheduler, capacities) == ["small2"]
    scheduler.remove("large")  # a small one is no reason to keep the next large one waiting
    assert started(scheduler, capacities) == ["medium"]


def test_a_job_whose_regions_have_all_ended_keeps_nobody_waiting() -> None:
    scheduler = JobScheduler(max_jobs=9)
    capacities = {"A": EndpointCapacity(max_calls=10)}
    scheduler.add(entry("large", n=100))
    scheduler.start_jobs(capacities)
    scheduler.add(entry("next", at=1.0, n=100))
    assert started(scheduler, capacities) == []
    scheduler.update("large", n_regions=0)  # it merges and writes its results
    assert started(scheduler, capacities) == ["next"]


def test_limits_hold_for_an_endpoint_and_for_all() -> None:
    scheduler = JobScheduler(max_jobs=3, per_endpoint=2)
    for number in range(4):
        scheduler.add(entry(f"a{number}", "A", number))
        scheduler.add(entry(f"b{number}", "B", number))
    assert Counter(name[0] for name in started(scheduler, {})) == {"a": 2, "b": 1}


@pytest.mark.parametrize("seed", range(20))
def test_thousands_of_jobs_at_endpoints_that_scale_all_start_in_order(seed: int) -> None:
    """Each step takes a second; an endpoint does one region a second for each of its calls."""
    rng = random.Random(seed)  # noqa: S311
    names = [f"e{i}" for i in range(5)]
    scheduler = JobScheduler(max_jobs=rng.choice([4, 16, 64]))
    jobs = [
        entry(f"{i:04d}", rng.choice(names), rng.uniform(0, 500), rng.choice([1, 2, 5, 40]))
        for i in range(1000)
    ]
    coming = sorted(jobs, key=lambda job: job.requested_at)
    left = {job.job_id: job.n_regions or 0 for job in jobs}
    starts: dict[str, float] = {}
    now = 0.0
    while coming or scheduler.waiting or scheduler.running:
        while coming and coming[0].requested_at <= now:
            scheduler.add(coming.pop(0))
        capacities = {
            name: EndpointCapacity(
                n_instances=1 + int(now) // 100 % 4, max_calls=4 * (1 + int(now) // 100 % 4)
            )
            for name in names
        }
        for decision in scheduler.start_jobs(capacities):
            if decision.starts:
                starts[decision.entry.job_id] = now
                check(scheduler, decision.reason, decision.entry, capacities)
        assert len(scheduler.running) <= scheduler.max_jobs
        idle = {e.endpoint for e in scheduler.waiting.values()} - {
            e.endpoint for e in scheduler.running.values()
        }
        assert (
            not idle or len(scheduler.running) == scheduler.max_jobs
        )  # nobody waits at an idle one
        for name in names:
            at = [job for job in scheduler.running.values() if job.endpoint == name]
            calls = capacities[name].max_calls or 0
            for job in at:
                left[job.job_id] -= max(1, calls // len(at))
                n_left = max(0, left[job.job_id])
                scheduler.update(job.job_id, n_regions=n_left, n_tiles=64 * n_left)
                if left[job.job_id] <= 0:
                    scheduler.remove(job.job_id)
        now += 1.0
        assert now < 20_000, "somebody waits for ever"
    assert starts.keys() == {job.job_id for job in jobs}
    in_line(jobs, starts)


def check(
    scheduler: JobScheduler, reason: Reason, entry: Entry, capacities: dict[str, EndpointCapacity]
) -> None:
    """No endpoint is filled beyond what it stands, but by one job alone and a small one."""
    if reason is Reason.FITS:
        loads = [
            4 * (e.n_regions or 0)
            for e in scheduler.running.values()
            if e.endpoint == entry.endpoint and e.job_id not in scheduler._small
        ]
        assert sum(loads) <= (capacities[entry.endpoint].max_calls or 0)


def in_line(jobs: list[Entry], starts: dict[str, float]) -> None:
    """Of jobs of one size at one endpoint, none starts before an older one."""
    lines: dict[tuple[str, int | None], list[Entry]] = {}
    for job in sorted(jobs, key=lambda job: job.requested_at):
        lines.setdefault((job.endpoint, job.n_regions), []).append(job)
    for line in lines.values():
        times = [starts[job.job_id] for job in line]
        assert times == sorted(times)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(1, 50)), max_size=30))
def test_the_order_in_which_jobs_become_known_does_not_matter(
    said: list[tuple[int, int, int]],
) -> None:
    entries = [entry(str(i), f"e{e}", float(at), n) for i, (e, at, n) in enumerate(said)]
    capacities = {f"e{i}": EndpointCapacity(n_instances=i + 1, max_calls=40) for i in range(4)}
    outcomes = []
    for known in (entries, entries[::-1]):
        scheduler = JobScheduler(max_jobs=10)
        for one in known:
            scheduler.add(one)
        outcomes.append([(d.entry.job_id, d.reason) for d in scheduler.start_jobs(capacities)])
    assert outcomes[0] == outcomes[1]
