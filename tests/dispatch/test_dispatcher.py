"""Feeding regions: a bounded window, every region once, deaths told apart from failures."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from daskmr.core.grid import Region, RegionGrid, Size, TileGrid, Window
from daskmr.core.timings import Effort
from daskmr.dispatch.dispatcher import Dispatcher
from daskmr.dispatch.retry_policy import RetryPolicy
from daskmr.errors import (
    CanceledError,
    ClusterError,
    SchedulerLostError,
    SourceChangedError,
    StoreError,
    WorkerLostError,
)
from daskmr.testing.simulation import VirtualLoop
from daskmr.worker.task import RegionSummary


def regions(n: int) -> list[Region]:
    grid = TileGrid(
        window=Window(row=0, col=0, height=10 * n, width=10),
        tile=Size.parse(10),
        overlap=Size.parse(0),
    )
    return list(RegionGrid(grid=grid, tiles_per_side=Size.parse(1)))


Act = Callable[[int, int, bool], Awaitable[None]]
"""What happens to a region: its number, its attempt, and whether it is alone."""


async def nothing(_row: int, _attempt: int, _alone: bool) -> None:  # noqa: FBT001
    """A second of work."""
    await asyncio.sleep(1.0)


@dataclass
class Workers:
    """A pool whose regions do what a test says."""

    act: Act = nothing
    n_slots: int = 4
    widest: int = 0
    in_flight: int = 0
    alone: list[int] = field(default_factory=list)
    calls: Counter[int] = field(default_factory=Counter)

    async def slots(self) -> int:
        return self.n_slots

    async def run(self, region: Region, attempt: int, *, alone: bool) -> RegionSummary:
        self.calls[region.row] += 1
        self.alone += [region.row] if alone else []
        self.in_flight += 1
        self.widest = max(self.widest, self.in_flight)
        try:
            await self.act(region.row, attempt, alone)
        finally:
            self.in_flight -= 1
        return RegionSummary(region=region.id, outcomes={}, n_features=0, effort=Effort())


@dataclass
class Told:
    """An overseer that remembers."""

    done: list[int] = field(default_factory=list)
    bad: list[tuple[int, int, str]] = field(default_factory=list)
    lost: dict[int, tuple[str, str]] = field(default_factory=dict)

    async def check(self) -> None:
        pass

    async def ended(self, region: Region, summary: RegionSummary) -> None:
        assert summary.region == region.id
        self.done.append(region.row)

    async def record_attempt(self, region: Region, number: int, error: Exception) -> None:
        self.bad.append((region.row, number, type(error).__name__))

    async def give_up(self, region: Region, reason: str, *, message: str) -> None:
        self.lost[region.row] = reason, message


def run(workers: Workers, n: int, attempts: RetryPolicy | None = None) -> tuple[Told, float]:
    """What was told, and the virtual seconds it took."""
    told, loop = Told(), VirtualLoop()
    try:
        feed = Dispatcher(regions(n), workers, told, attempts or RetryPolicy(), patience_s=30.0)
        loop.run_until_complete(feed.run())
    finally:
        loop.close()
    assert workers.in_flight == 0
    return told, loop.now


def test_every_region_ends_once_in_a_bounded_window() -> None:
    workers = Workers()
    told, seconds = run(workers, 60)
    assert sorted(told.done) == list(range(60))
    assert workers.widest == 8
    assert set(workers.calls.values()) == {1}
    assert 7.5 <= seconds <= 10


def test_a_region_that_kills_its_workers_is_run_alone_and_then_given_up() -> None:
    async def act(row: int, _attempt: int, alone: bool) -> None:  # noqa: FBT001
        await asyncio.sleep(0.5)
        if row == 2:
            msg = "signal 6"
            raise WorkerLostError(msg, alone=alone)

    workers = Workers(act)
    told, _ = run(workers, 10)
    assert sorted(told.done) == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    assert told.lost == {2: ("POISON", "signal 6")}
    assert workers.calls[2] == 4
    assert workers.alone == [2, 2]
    assert [number for row, number, _ in told.bad if row == 2] == [1, 2, 3, 4]


def test_neighbours_of_a_dying_worker_are_run_again_and_are_well() -> None:
    deaths = 0

    async def act(row: int, attempt: int, _alone: bool) -> None:  # noqa: FBT001
        nonlocal deaths
        await asyncio.sleep(0.5)
        if row < 4 and attempt < 2:
            deaths += 1
            msg = "killed"
            raise WorkerLostError(msg)

    workers = Workers(act)
    told, _ = run(workers, 8)
    assert sorted(told.done) == list(range(8))
    assert deaths == 8
    assert sorted(workers.alone) == [0, 1, 2, 3]  # died twice: the third time in quarantine
    assert told.lost == {}


def test_attempts_of_earlier_drivers_count() -> None:
    workers = Workers()
    first = regions(3)[0].id
    told, _ = run(workers, 3, RetryPolicy.of({first: ["worker_lost", "worker_lost"]}))
    assert workers.alone == [0]
    assert sorted(told.done) == [0, 1, 2]


def test_a_task_that_fails_is_tried_three_times_and_its_tiles_fail_by_name() -> None:
    async def act(row: int, _attempt: int, _alone: bool) -> None:  # noqa: FBT001
        await asyncio.sleep(0.1)
        if row == 1:
            msg = "no such key"
            raise KeyError(msg)

    workers = Workers(act)
    told, seconds = run(workers, 4)
    assert sorted(told.done) == [0, 2, 3]
    assert told.lost == {1: ("TASK_FAILED", "KeyError: 'no such key'")}
    assert workers.calls[1] == 3
    assert seconds >= 1.0 + 2.0  # it rests between attempts


def test_a_task_that_fails_once_is_well_the_next_time() -> None:
    async def act(row: int, attempt: int, _alone: bool) -> None:  # noqa: FBT001
        await asyncio.sleep(0.1)
        if row == 1 and not attempt:
            msg = "disk full"
            raise StoreError(msg)

    told, _ = run(Workers(act), 4)
    assert sorted(told.done) == [0, 1, 2, 3]
    assert told.bad == [(1, 1, "StoreError")]


def test_a_store_that_cannot_be_written_ends_the_job() -> None:
    async def act(row: int, _attempt: int, _alone: bool) -> None:  # noqa: FBT001
        await asyncio.sleep(0.1)
        if row == 1:
            msg = "disk full"
            raise StoreError(msg)

    workers = Workers(act)
    with pytest.raises(StoreError, match="disk full"):
        run(workers, 100)
    assert workers.calls[1] == 3


@pytest.mark.parametrize("kind", [SchedulerLostError, SourceChangedError, CanceledError])
def test_what_concerns_all_regions_ends_the_job_at_once(kind: type[Exception]) -> None:
    async def act(row: int, _attempt: int, _alone: bool) -> None:  # noqa: FBT001
        await asyncio.sleep(0.1)
        if row == 1:
            msg = "gone"
            raise kind(msg)

    workers = Workers(act)
    with pytest.raises(kind, match="gone"):
        run(workers, 100)
    assert workers.calls[1] == 1
    assert workers.in_flight == 0


def test_a_job_waits_for_workers_but_not_for_ever() -> None:
    workers = Workers(n_slots=0)
    with pytest.raises(ClusterError, match="no worker for 30 s"):
        run(workers, 4)
    assert not workers.calls


def test_workers_that_come_late_are_used() -> None:
    @dataclass
    class Late(Workers):
        async def slots(self) -> int:
            return 4 if asyncio.get_running_loop().time() > 20 else 0

    told, seconds = run(Late(), 8)
    assert sorted(told.done) == list(range(8))
    assert 21 <= seconds <= 23
