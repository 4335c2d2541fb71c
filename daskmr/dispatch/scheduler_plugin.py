"""What runs on the Dask scheduler: the books of `daskmr.endpoints.shares`, and our own attempts.

Apart from its client in `daskmr.dispatch.capacity_client`, so that planning does not import Dask's.
"""

from time import monotonic
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

from daskmr.endpoints.shares import OPERATION, Report, ShareBook
from daskmr.worker.task import KEYS


class Coordinator(SchedulerPlugin):
    """Divides the capacity of each endpoint among workers, on the scheduler."""

    name = "daskmr-coordinator"
    idempotent = True

    def __init__(self) -> None:
        self.books: dict[str, ShareBook] = {}

    async def start(self, scheduler: Any) -> None:
        """Register the handler of workers' reports."""
        scheduler.handlers[OPERATION] = self.report
        self._scheduler = scheduler

    def transition(
        self, key: Any, start: Any, finish: Any, *args: Any, stimulus_id: str, **kwargs: Any
    ) -> None:
        """Fail a region at once when a worker dies of it for the first time.

        Dask by itself would run it on three more, and take their other regions with them.
        """
        if finish != "processing" or not isinstance(key, tuple) or not str(key[0]).startswith(KEYS):
            return
        self._scheduler.tasks[key].suspicious = self._scheduler.allowed_failures

    def report(
        self, *, process: str, reports: dict[str, dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """Take a worker's reports of all its endpoints; return its shares.

        Parameters
        ----------
        process
            Address of the worker.
        reports
            `Report` of each endpoint, by name.
        """
        now = monotonic()
        for name in [name for name in self.books if name not in reports]:
            self.books[name].leave(process)
            if not len(self.books[name]):
                del self.books[name]
        return {
            name: self.books.setdefault(name, ShareBook())
            .exchange(process, Report(**report), now)
            .as_dict()
            for name, report in reports.items()
        }
