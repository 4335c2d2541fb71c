"""What runs on the Dask scheduler: the books of `daskmr.endpoints.shares`.

Apart from its client in `daskmr.pipeline.coordinator`, so that planning does not import Dask's.
"""

from time import monotonic
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin

from daskmr.endpoints.shares import OPERATION, Report, ShareBook


class Coordinator(SchedulerPlugin):
    """Keeps one book for each endpoint, on the scheduler."""

    name = "daskmr-coordinator"
    idempotent = True

    def __init__(self) -> None:
        self.books: dict[str, ShareBook] = {}

    async def start(self, scheduler: Any) -> None:
        """Answer workers from now on."""
        scheduler.handlers[OPERATION] = self.told

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
