"""One endpoint's capacity divided among the processes of a cluster, about twice a second.

A plug-in of the scheduler keeps the book (`daskmr.endpoints.shares`); each worker tells it what it
does and is told its share. Where the plug-in cannot be installed, workers keep the share they began
with and find the rest by trying.
"""

from typing import Any

from daskmr.endpoints import caller
from daskmr.endpoints.shares import OPERATION, Grant

_EVERY_S = 0.5
_BEAT = "daskmr-beat"


def install(client: Any) -> bool:
    """Whether the scheduler of a client has a coordinator now."""
    from daskmr.pipeline.scheduler import Coordinator

    try:
        client.register_plugin(Coordinator())
    except Exception:  # noqa: BLE001 - whatever a scheduler says that cannot have it
        return False
    return True


def attend() -> None:
    """Let this worker talk to the coordinator from now on; once is enough, more does no harm."""
    from distributed import get_worker

    try:
        worker: Any = get_worker()
    except ValueError:
        return
    if _BEAT not in worker.periodic_callbacks:
        worker.loop.add_callback(_start, worker)


def make_way() -> None:
    """Leave the task's slot to others: its endpoint lets it wait, theirs may not."""
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
    worker.periodic_callbacks[_BEAT] = PeriodicCallback(_Beat(worker), _EVERY_S * 1000)
    worker.periodic_callbacks[_BEAT].start()
    worker.loop.add_callback(worker.periodic_callbacks[_BEAT].callback)


class _Beat:
    """What a worker does at every beat."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._known: set[str] = set()
        self._is_busy = False

    async def __call__(self) -> None:
        said = caller.reports()
        if self._is_busy or not (said or self._known):
            return
        self._is_busy = True
        plain = {name: report.as_dict() for name, report in said.items()}
        operation = getattr(self._worker.scheduler, OPERATION)
        try:
            grants = await operation(process=self._worker.address, said=plain)
        except Exception:  # noqa: BLE001 - no coordinator, or no scheduler any more
            grants = None
        finally:
            self._is_busy = False
        self._known = set(said)
        for name in said:
            caller.grant(name, Grant(**grants[name]) if grants else None)
