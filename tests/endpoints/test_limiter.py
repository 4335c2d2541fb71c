"""Slots: their number, their order, and what happens to them in bad times."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from daskmr.endpoints import limiter as limiter_module
from daskmr.endpoints.limiter import REFUSALS, Limiter
from daskmr.endpoints.shares import Grant
from daskmr.errors import AuthError, CapacityError, PermanentError, TransientError

BUSY = CapacityError("x", reason="HTTP_503")


def run(story: Coroutine[Any, Any, None]) -> None:
    async def timed() -> None:
        async with asyncio.timeout(20):
            await story

    asyncio.run(timed())


async def turns(limiter: Limiter, *jobs: str) -> "list[str]":
    """Jobs in the order in which they get a slot; each gives it back at once."""
    order: list[str] = []

    async def one(job: str) -> None:
        await limiter.acquire(job)
        order.append(job)
        await asyncio.sleep(0)
        limiter.release()

    await asyncio.gather(*(one(job) for job in jobs))
    return order


def test_jobs_take_turns_however_many_calls_they_have() -> None:
    async def story() -> None:
        limiter = Limiter()
        limiter.join("big", 1, 1)
        limiter.join("small", 1, 1)
        order = await turns(limiter, *["big"] * 50, *["small"] * 3)
        assert order[:8] == ["big", "big", "small", "big", "small", "big", "small", "big"]

    run(story())


def test_nobody_gets_a_slot_without_a_share_until_one_is_granted() -> None:
    async def story() -> None:
        limiter = Limiter()
        limiter.join("x", 1, 0)
        waiting = asyncio.ensure_future(limiter.acquire("x"))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        limiter.apply_grant(Grant(share=1, peers=2, alive_s=9.0))
        await waiting
        assert limiter.in_flight == 1

    run(story())


def test_a_process_that_begins_makes_no_call_before_its_first_grant() -> None:
    async def story() -> None:
        limiter = Limiter()
        for _ in range(2):  # the second time after it had nothing to do
            limiter.join("x", 4, 2, is_coordinated=True)
            waiting = asyncio.ensure_future(limiter.acquire("x"))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            assert (limiter.report().share, limiter.report().waiting) == (0, 1)
            limiter.apply_grant(Grant(share=3, peers=2, alive_s=9.0))
            await waiting
            limiter.join("y", 4, 2, is_coordinated=True)
            assert limiter.limit == 3
            limiter.release()
            limiter.leave("y")
            limiter.leave("x")

    run(story())


def test_without_a_grant_it_begins_with_an_equal_part(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        limiter = Limiter()
        limiter.join("x", 4, 2, is_coordinated=True)
        limiter.drop_coordinator()
        assert limiter.limit == 2
        limiter.leave("x")
        limiter.join("x", 4, 2, is_coordinated=True)
        assert limiter.limit == 0
        await asyncio.sleep(0.1)
        assert limiter.limit == 2

    monkeypatch.setattr(limiter_module, "GRANT_WAIT_S", 0.05)
    run(story())


def test_a_waiting_call_that_is_cancelled_leaves_its_place_to_others() -> None:
    async def story() -> None:
        limiter = Limiter()
        limiter.join("x", 1, 1)
        await limiter.acquire("x")
        first = asyncio.ensure_future(limiter.acquire("x"))
        second = asyncio.ensure_future(limiter.acquire("x"))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        limiter.release()
        await second
        assert limiter.in_flight == 1
        limiter.release()
        assert (limiter.in_flight, limiter.report().waiting) == (0, 0)

    run(story())


def test_calls_of_regions_that_began_earlier_come_first() -> None:
    async def story() -> None:
        limiter, served = Limiter(), list[float]()
        limiter.join("x", 1, 1)
        await limiter.acquire("x")

        async def call(rank: float) -> None:
            await limiter.acquire("x", rank=rank)
            served.append(rank)
            limiter.release()

        calls = [asyncio.ensure_future(call(rank)) for rank in (3, 1, 2, 1, 3, 2)]
        await asyncio.sleep(0)
        calls[3].cancel()
        await asyncio.sleep(0)
        limiter.release()
        await asyncio.gather(*calls, return_exceptions=True)
        assert served == [1, 2, 2, 3, 3]

    run(story())


def test_a_slot_that_was_just_handed_to_a_cancelled_call_is_not_lost() -> None:
    async def story() -> None:
        limiter = Limiter()
        limiter.join("x", 1, 1)
        await limiter.acquire("x")
        waiting = asyncio.ensure_future(limiter.acquire("x"))
        await asyncio.sleep(0)
        limiter.release()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert limiter.in_flight == 0
        await limiter.acquire("x")

    run(story())


def test_the_least_that_a_job_says_holds_for_all_while_it_runs() -> None:
    limiter = Limiter()
    limiter.join("a", 64, 32)
    limiter.join("b", 4, 2)
    assert (limiter.limit, limiter.capacity) == (2, 4)
    limiter.leave("b")
    assert (limiter.limit, limiter.capacity) == (32, 64)
    limiter.leave("a")
    assert limiter.is_idle


def test_an_endpoint_that_scales_is_followed() -> None:
    limiter = Limiter()
    limiter.join("follows", 4, 2, target=1.0)
    limiter.set_capacity(16)
    assert (limiter.limit, limiter.capacity) == (8, 16)
    limiter.join("follows", 4, 2, target=1.0)  # another region of it, with what it began with
    assert limiter.capacity == 16
    limiter.join("fixed", 3, 3)
    limiter.set_capacity(20)
    assert (limiter.limit, limiter.capacity) == (3, 3)
    limiter.leave("fixed")
    assert (limiter.limit, limiter.capacity) == (10, 20)


def test_without_a_coordinator_the_first_share_holds_again() -> None:
    limiter = Limiter()
    limiter.join("a", 64, 32)
    limiter.apply_grant(Grant(share=60, peers=2, alive_s=0.0))
    assert limiter.limit == 60
    limiter.drop_coordinator()
    assert limiter.limit == 32


def test_an_outage_stops_all_but_one_probe_and_ends_with_its_success() -> None:
    async def story() -> None:
        limiter = Limiter()
        limiter.join("x", 8, 8)
        for _ in range(20):
            limiter.record_failure(BUSY)
        assert limiter.is_unavailable
        loop = asyncio.get_running_loop()
        waiting = [
            asyncio.ensure_future(limiter.wait_for_breaker(loop.time() + 60)) for _ in range(5)
        ]
        done, others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [True]
        limiter.record_success(0.01)
        assert await asyncio.gather(*others) == [False] * 4
        assert not limiter.is_unavailable

    run(story())


def test_a_deadline_ends_the_wait_for_an_endpoint_that_stays_away() -> None:
    async def story() -> None:
        limiter = Limiter()
        for _ in range(20):
            limiter.record_failure(BUSY)
        now = asyncio.get_running_loop().time()
        assert not await limiter.wait_for_breaker(now + 0.1)
        assert limiter.is_unavailable

    run(story())


def test_a_refused_tile_is_a_sign_of_life_and_a_fault_is_not() -> None:
    limiter = Limiter()
    limiter.record_success(0.1)
    for _ in range(30):
        limiter.record_failure(TransientError("x", reason="RESET"))
    assert not limiter.is_unavailable  # too soon after a success
    limiter.record_failure(PermanentError("x", reason="HTTP_400"))
    assert limiter.breaker.last_success > 0


def test_credentials_that_are_always_refused_end_all_calls_until_the_jobs_end() -> None:
    refusal = AuthError("x", reason="HTTP_401")
    limiter = Limiter()
    limiter.join("x", 1, 1)
    for _ in range(REFUSALS - 1):
        limiter.record_failure(refusal)
    limiter.record_success(0.1)
    for _ in range(REFUSALS):
        assert vars(limiter)["auth_error"] is None
        limiter.record_failure(refusal)
    assert vars(limiter)["auth_error"] is refusal
    limiter.leave("x")
    assert vars(limiter)["auth_error"] is None
