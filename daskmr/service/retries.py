"""Retries with growing pauses, which the end of this process interrupts."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, wait_exponential
from tenacity.retry import retry_base

log = logging.getLogger(__name__)
_MAX_PAUSE_S = 60.0


def retries(
    on: retry_base,
    *,
    sleep: Callable[[float], Awaitable[None]],
    first_s: float,
    text: str = "",
    **limits: Any,
) -> AsyncRetrying:
    """Return what calls a coroutine function again and again.

    Parameters
    ----------
    on
        Results or exceptions that are retried.
    sleep
        Waits for a number of seconds; may raise to end the retries.
    first_s
        Seconds of the first pause; each further one is twice as long, up to a minute.
    text
        Start of the warning that is logged before each pause; empty for none.
    **limits
        ``stop`` and ``retry_error_callback`` of `tenacity.AsyncRetrying`; without them, an error
        is retried without limit, and the last one is raised after a ``stop``.
    """

    def warn(state: RetryCallState) -> None:
        if text and state.outcome:
            log.warning("%s: %s", text, state.outcome.exception())

    wait = wait_exponential(first_s, max=_MAX_PAUSE_S)
    return AsyncRetrying(
        retry=on, wait=wait, sleep=sleep, before_sleep=warn, reraise=True, **limits
    )
