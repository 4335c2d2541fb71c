"""One endpoint's capacity divided among the processes of a cluster, about twice a second.

A plug-in of the scheduler keeps the book (`daskmr.endpoints.shares`); each worker tells it what it
does and is told its share, also whenever it begins: without a grant it makes no call. Where the
plug-in cannot be installed, each has an equal part.
"""

import asyncio
from typing import Any

from daskmr.endpoints import caller
from daskmr.endpoints.shares import EXPIRE_S, OPERATION, Grant

_EVERY_S = 0.5
_BEAT = "daskmr-beat"


def install(client: Any) -> bool:
    """Install the coordinator on a client's scheduler; return whether it is there."""
    from daskmr.dispatch.scheduler_plugin import Coordinator

    try:
        client.register_plugin(Coordinator())
    except Exception:  # noqa: BLE001 - any error of a scheduler that cannot install it
        return False
    return True


def start_reporting() -> None:
    """Let this worker report to the coordinator from now on; repeated calls do no harm."""
    from distributed import get_worker

    try:
        worker: Any = get_worker()
    except ValueError:
        return
    if _BEAT not in worker.periodic_callbacks:
        worker.loop.add_callback(_start, worker)


def secede_slot() -> None:
    """Secede from the worker's thread pool while this task waits for its endpoint."""
    from distributed import get_worker, secede

    try:
        get_worker()
    except ValueError:
        return
    secede()


def _start(worker: Any) -> None:
    from tornado.ioloop import PeriodicCallback

    if _BEAT in worker.periodic_callbacks:
        return
    beat = _Beat(worker)
    worker.periodic_callbacks[_BEAT] = PeriodicCallback(beat, _EVERY_S * 1000)
    worker.periodic_callbacks[_BEAT].start()
    caller.on_join(lambda: worker.loop.add_callback(beat))
    worker.loop.add_callback(beat)


class _Beat:
    """Periodic report of a worker."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._known: set[str] = set()
        self._is_busy = self._is_late = False

    async def __call__(self) -> None:
        if self._is_busy:
            self._is_late = True  # what has begun since is reported right after
            return
        self._is_busy = True
        try:
            await self._exchange()
            while self._is_late:
                self._is_late = False
                await self._exchange()
        finally:
            self._is_busy = False

    async def _exchange(self) -> None:
        reports = caller.reports()
        if not (reports or self._known):
            return
        plain = {name: report.as_dict() for name, report in reports.items()}
        operation = getattr(self._worker.scheduler, OPERATION)
        try:
            grants = await operation(process=self._worker.address, reports=plain)
        except Exception:  # noqa: BLE001 - no coordinator, or no scheduler any more
            grants = None
        self._known = set(reports)
        applied = [
            caller.apply_grant(name, Grant(**grants[name]) if grants else None) for name in reports
        ]
        if applied:
            await asyncio.wait(map(asyncio.wrap_future, applied), timeout=EXPIRE_S)
