"""Results of Dask futures, awaited so that a canceled job leaves the client usable."""

import asyncio
from typing import Any


async def result_of(future: Any) -> Any:
    """Return the result of a future; on the client's loop.

    Results of several futures are fetched by one task of Dask's client, on which all that wait for
    them hang (``Client._gather_future`` of distributed). Cancelling one of them while that task has
    not started cancels it for all, now and later: the client returns no result any more. So the
    wait goes on in a task of its own when the caller is cancelled.
    """
    task = asyncio.ensure_future(_result(future))
    task.add_done_callback(_retrieve)
    return await asyncio.shield(task)


async def _result(future: Any) -> Any:
    return await future


def _retrieve(task: "asyncio.Task[Any]") -> None:
    """Take the exception of a task, so that asyncio does not log it when no caller is left."""
    if not task.cancelled():
        task.exception()
