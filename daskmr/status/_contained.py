"""What only observes the work never makes it fail: metrics, events, progress, callbacks."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)
_OF_PROCESS: set[tuple[str, str]] = set()


@contextmanager
def contained(observer: str, logged: set[tuple[str, str]] = _OF_PROCESS) -> Iterator[None]:
    """Keep exceptions of an observer from the work that it observes.

    The first of each type is logged as a warning; interrupts and exits pass.

    Parameters
    ----------
    observer
        Name of what is run in the block, as the log has it.
    logged
        Observers and types of exceptions that were logged before: those of the process, or of
        whatever owns the set.

    Examples
    --------
    >>> with contained("a callback", set()):
    ...     raise KeyError("tiles")
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the one place where observers end
        kind = type(error).__name__
        if (observer, kind) in logged:
            return
        logged.add((observer, kind))
        message = " ".join(str(error).split())
        log.warning(
            "%s failed, the job goes on: %s: %s",
            observer,
            kind,
            message,
            extra={"daskmr": {"observer": observer, "error": kind, "reason": message}},
        )
