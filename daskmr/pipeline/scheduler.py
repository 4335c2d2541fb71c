"""What runs on the Dask scheduler: the books of `daskmr.endpoints.shares`, and our own attempts.

Apart from its client in `daskmr.pipeline.coordinator`, so that planning does not import Dask's.
"""

from time import monotonic
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

from daskmr.endpoints.shares import OPERATION, Report, ShareBook
from daskmr.pipeline.job import KEYS


class Coordinator(SchedulerPlugin):
    """Keeps one book for each endpoint, on the scheduler."""

    name = "daskmr-coordinator"
    idempotent = True

    def __init__(self) -> None:
        self.books: dict[str, ShareBook] = {}

    async def start(self, scheduler: Any) -> None:
        """Answer workers from now on."""
        scheduler.handlers[OPERATION] = self.told
        self._scheduler = scheduler

    def transition(
        self, key: Any, start: Any, finish: Any, *args: Any, stimulus_id: str, **kwargs: Any
    ) -> None:
        """Give a region back to its driver when a worker dies of it for the first time.

        Dask by itself would run it on three more, and take their other regions with them.
        """
        if finish != "processing" or not isinstance(key, tuple) or not str(key[0]).startswith(KEYS):
            return
        self._scheduler.tasks[key].suspicious = self._scheduler.allowed_failures

    def told(self, *, process: str, said: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Take what a worker says of all its endpoints; answer with its shares.

        Parameters
        ----------
        process
            Address of the worker.
        said
            `Report` of each endpoint, by name.
        """
        now = monotonic()
        for name in [name for name in self.books if name not in said]:
            self.books[name].left(process)
            if not len(self.books[name]):
                del self.books[name]
        return {
            name: self.books.setdefault(name, ShareBook())
            .told(process, Report(**report), now)
            .as_dict()
            for name, report in said.items()
        }
