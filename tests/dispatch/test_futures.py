"""Results of Dask futures, on a real cluster."""

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest
from distributed import Client, LocalCluster

from daskmr.dispatch.futures import result_of

_STEPS = 12
"""More turns of the loop than a client needs from a finished future to the start of its fetch."""


@pytest.fixture
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


async def answers_after_cancel(client: Client) -> bool:
    """Cancel a wait for a finished future after 0, 1, 2, ... turns of the loop; then ask again."""
    for n_turns in range(_STEPS):
        future = client.submit(int, n_turns, pure=False)
        await cast("Any", future)._state.wait()
        waiting = asyncio.ensure_future(result_of(future))
        for _ in range(n_turns):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        task = asyncio.ensure_future(result_of(client.submit(int, 7, pure=False)))
        await asyncio.wait([task], timeout=5)
        if not task.done() or task.cancelled() or task.result() != 7:
            return False
    return True


def test_a_client_answers_after_a_canceled_wait(client: Client) -> None:
    """It does not with ``await future`` in place of `result_of` (distributed 2026.8)."""
    loop: Any = client.loop
    run = asyncio.run_coroutine_threadsafe(answers_after_cancel(client), loop.asyncio_loop)
    assert run.result(60)


@pytest.mark.worker_errors("invalid literal")
def test_the_error_of_a_task_is_raised(client: Client) -> None:
    future = client.submit(int, "x", pure=False)
    loop: Any = client.loop
    wait = asyncio.run_coroutine_threadsafe(result_of(future), loop.asyncio_loop)
    with pytest.raises(ValueError, match="invalid literal"):
        wait.result(30)
