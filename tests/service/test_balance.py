"""Who starts when: Model Runner's cases, and thousands of jobs at endpoints that scale."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmr.service.balance import Balance, Entry, Strength, Why


def entry(job: str, endpoint: str = "A", at: float = 0.0, n: int | None = 1, p: int = 0) -> Entry:
    tiles = 64 * (n or 0)
    return Entry(job_id=job, endpoint=endpoint, asked_at=at, n_regions=n, n_tiles=tiles, priority=p)


def started(balance: Balance, strengths: dict[str, Strength]) -> list[str]:
    return [d.entry.job_id for d in balance.choose(strengths) if d.starts]


def test_of_idle_endpoints_the_oldest_job_starts_first() -> None:  # K13
    balance = Balance(max_jobs=1)
    for job, at in (("job1", 1.0), ("job2", 0.0), ("job3", 2.0)):
        balance.add(entry(job, f"endpoint-{job}", at))
    # equal loads: one region waits at each
    assert started(balance, {}) == ["job2"]


def test_the_endpoint_with_the_least_load_comes_first() -> None:  # K13
    balance = Balance(max_jobs=5)
    for number in range(3):
        balance.add(entry(f"a{number}", "endpoint1"))
    balance.add(entry("b", "endpoint2"))
    assert len(started(balance, {})) == 4
    for number in range(3, 6):
        balance.add(entry(f"a{number}", "endpoint1", 1.0))
    balance.add(entry("b2", "endpoint2", 1.0))
    balance.add(entry("new", "endpoint3", 2.0, None))
    strengths = {"endpoint1": Strength(instances=2), "endpoint3": Strength(instances=3)}
    assert balance.load_factor("endpoint1", strengths) == 3.0
    assert started(balance, strengths) == ["new"]


def test_jobs_of_one_endpoint_start_by_priority_and_age() -> None:  # K13
    balance = Balance(max_jobs=1)
    balance.add(entry("job2", at=1.0))
    balance.add(entry("job1", at=0.0))
    assert started(balance, {}) == ["job1"]
    balance.add(entry("urgent", at=9.0, p=1))
    balance.ended("job1")
    assert started(balance, {}) == ["urgent"]


def test_a_job_starts_where_it_fits_or_where_nothing_else_runs() -> None:  # K12
    balance = Balance(max_jobs=9)
    strengths = {"A": Strength(most=50)}
    balance.add(entry("large", n=100))
    assert [d.why for d in balance.choose(strengths)] == [Why.ALONE]
    balance.progressed("large", n_regions=7, n_tiles=448)  # 28 calls of 50: 22 are left
    balance.add(entry("fits", at=1.0, n=5))
    balance.add(entry("waits", at=2.0, n=1))
    decisions = {d.entry.job_id: d.why for d in balance.choose(strengths)}
    assert decisions == {"fits": Why.FITS, "waits": Why.SMALL}
    balance.add(entry("later", at=3.0, n=1))
    assert [(d.entry.job_id, d.why) for d in balance.choose(strengths)] == [
        ("later", Why.NO_CAPACITY)
    ]


def test_a_full_endpoint_keeps_no_other_waiting() -> None:  # K14
    balance = Balance(max_jobs=9)
    strengths = {"A": Strength(most=10, instances=100), "B": Strength(most=10)}
    balance.add(entry("a0", "A", 0.0, 20))
    balance.choose(strengths)
    balance.add(entry("a1", "A", 1.0, 20))
    balance.add(entry("b1", "B", 2.0, 20))
    assert balance.load_factor("A", strengths) < balance.load_factor("B", strengths)
    assert started(balance, strengths) == ["b1"]


def test_a_small_job_runs_beside_a_large_one_and_ahead_of_others_that_wait() -> None:
    balance = Balance(max_jobs=9)
    strengths = {"A": Strength(most=10)}
    balance.add(entry("large", n=100))
    balance.choose(strengths)
    balance.add(entry("medium", at=1.0, n=50))
    balance.add(entry("small", at=2.0, n=1))
    balance.add(entry("small2", at=3.0, n=1))
    assert started(balance, strengths) == ["small"]
    balance.ended("small")
    assert started(balance, strengths) == ["small2"]
    balance.ended("large")  # a small one is no reason to keep the next large one waiting
    assert started(balance, strengths) == ["medium"]


def test_a_job_whose_regions_have_all_ended_keeps_nobody_waiting() -> None:
    balance = Balance(max_jobs=9)
    strengths = {"A": Strength(most=10)}
    balance.add(entry("large", n=100))
    balance.choose(strengths)
    balance.add(entry("next", at=1.0, n=100))
    assert started(balance, strengths) == []
    balance.progressed("large", n_regions=0)  # it merges and writes its results
    assert started(balance, strengths) == ["next"]


def test_limits_hold_for_an_endpoint_and_for_all() -> None:
    balance = Balance(max_jobs=3, per_endpoint=2)
    for number in range(4):
        balance.add(entry(f"a{number}", "A", number))
        balance.add(entry(f"b{number}", "B", number))
    assert Counter(name[0] for name in started(balance, {})) == {"a": 2, "b": 1}


@pytest.mark.parametrize("seed", range(20))
def test_thousands_of_jobs_at_endpoints_that_scale_all_start_in_order(seed: int) -> None:
    """Each step takes a second; an endpoint does one region a second for each of its calls."""
    rng = random.Random(seed)  # noqa: S311
    names = [f"e{i}" for i in range(5)]
    balance = Balance(max_jobs=rng.choice([4, 16, 64]))
    jobs = [
        entry(f"{i:04d}", rng.choice(names), rng.uniform(0, 500), rng.choice([1, 2, 5, 40]))
        for i in range(1000)
    ]
    coming = sorted(jobs, key=lambda job: job.asked_at)
    left = {job.job_id: job.n_regions or 0 for job in jobs}
    starts: dict[str, float] = {}
    now = 0.0
    while coming or balance.waiting or balance.running:
        while coming and coming[0].asked_at <= now:
            balance.add(coming.pop(0))
        strengths = {
            name: Strength(instances=1 + int(now) // 100 % 4, most=4 * (1 + int(now) // 100 % 4))
            for name in names
        }
        for decision in balance.choose(strengths):
            if decision.starts:
                starts[decision.entry.job_id] = now
                check(balance, decision.why, decision.entry, strengths)
        assert len(balance.running) <= balance.max_jobs
        idle = {e.endpoint for e in balance.waiting.values()} - {
            e.endpoint for e in balance.running.values()
        }
        assert not idle or len(balance.running) == balance.max_jobs  # nobody waits at an idle one
        for name in names:
            at = [job for job in balance.running.values() if job.endpoint == name]
            calls = strengths[name].most or 0
            for job in at:
                left[job.job_id] -= max(1, calls // len(at))
                n_left = max(0, left[job.job_id])
                balance.progressed(job.job_id, n_regions=n_left, n_tiles=64 * n_left)
                if left[job.job_id] <= 0:
                    balance.ended(job.job_id)
        now += 1.0
        assert now < 20_000, "somebody waits for ever"
    assert starts.keys() == {job.job_id for job in jobs}
    in_line(jobs, starts)


def check(balance: Balance, why: Why, entry: Entry, strengths: dict[str, Strength]) -> None:
    """No endpoint is filled beyond what it stands, but by one job alone and a small one."""
    if why is Why.FITS:
        loads = [
            4 * (e.n_regions or 0)
            for e in balance.running.values()
            if e.endpoint == entry.endpoint and e.job_id not in balance._small
        ]
        assert sum(loads) <= (strengths[entry.endpoint].most or 0)


def in_line(jobs: list[Entry], starts: dict[str, float]) -> None:
    """Of jobs of one size at one endpoint, none starts before an older one."""
    lines: dict[tuple[str, int | None], list[Entry]] = {}
    for job in sorted(jobs, key=lambda job: job.asked_at):
        lines.setdefault((job.endpoint, job.n_regions), []).append(job)
    for line in lines.values():
        times = [starts[job.job_id] for job in line]
        assert times == sorted(times)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(1, 50)), max_size=30))
def test_the_order_in_which_jobs_become_known_does_not_matter(
    said: list[tuple[int, int, int]],
) -> None:
    entries = [entry(str(i), f"e{e}", float(at), n) for i, (e, at, n) in enumerate(said)]
    strengths = {f"e{i}": Strength(instances=i + 1, most=40) for i in range(4)}
    outcomes = []
    for known in (entries, entries[::-1]):
        balance = Balance(max_jobs=10)
        for one in known:
            balance.add(one)
        outcomes.append([(d.entry.job_id, d.why) for d in balance.choose(strengths)])
    assert outcomes[0] == outcomes[1]
