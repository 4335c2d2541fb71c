"""Log lines of Dask that a cluster of our own leaves out; also what its workers load first."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_OF_DEATHS = "Task %s marked as failed because"
"""The scheduler says so of each region of a dead worker: we tell of it."""
_OF_THE_END = "Failed to communicate with scheduler during heartbeat"
"""A worker says so, with a traceback, when its cluster ends while it beats."""


class _Without(logging.Filter):
    """Drops records whose text begins as given."""

    def __init__(self, beginning: str) -> None:
        super().__init__()
        self._beginning = beginning

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is told."""
        return not str(record.msg).startswith(self._beginning)


@contextmanager
def quiet_about_deaths() -> Iterator[None]:
    """Leave out what the scheduler in this process says of regions of dead workers."""
    log, unwanted = logging.getLogger("distributed.scheduler"), _Without(_OF_DEATHS)
    log.addFilter(unwanted)
    try:
        yield
    finally:
        log.removeFilter(unwanted)


def dask_setup(_worker: object) -> None:
    """Called by Dask in each worker that preloads this module."""
    logging.getLogger("distributed.worker").addFilter(_Without(_OF_THE_END))
