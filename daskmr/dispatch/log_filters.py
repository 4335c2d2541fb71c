"""Log lines of Dask that a cluster of our own leaves out; also what its workers load first."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_OF_DEATHS = "Task %s marked as failed because"
"""The scheduler logs this for each region of a dead worker; the job reports it."""
_OF_THE_END = "Failed to communicate with scheduler during heartbeat"
"""A worker logs this, with a traceback, when its cluster ends during a heartbeat."""
_OF_A_STOP = "Async instruction for"
"""A worker logs this for each region that is cancelled while it runs."""
_OF_A_SLOW_END = "Worker process still alive after"
"""The nanny of a worker logs this on a busy machine, and ends it."""


class _Without(logging.Filter):
    """Drops log records that start with one of some texts."""

    def __init__(self, beginning: str) -> None:
        super().__init__()
        self._beginning = beginning

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is kept."""
        return not str(record.msg).startswith(self._beginning)


@contextmanager
def quiet_about_deaths() -> Iterator[None]:
    """Drop the messages of scheduler and nannies in this process about dead and slow workers."""
    filters = {
        logging.getLogger("distributed.scheduler"): _Without(_OF_DEATHS),
        logging.getLogger("distributed.nanny"): _Without(_OF_A_SLOW_END),
    }
    for log, unwanted in filters.items():
        log.addFilter(unwanted)
    try:
        yield
    finally:
        for log, unwanted in filters.items():
            log.removeFilter(unwanted)


def dask_setup(_worker: object) -> None:
    """Set up a worker that preloads this module; called by Dask."""
    logging.getLogger("distributed.worker").addFilter(_Without(_OF_THE_END))
    logging.getLogger("distributed.worker.state_machine").addFilter(_Without(_OF_A_STOP))
