"""When a call is made again, and after how long: a pure function of error and attempt."""

from daskmr.errors import CapacityError, EndpointError

DEADLINE_S = 300.0
"""Seconds after which a tile gets no further attempt."""
MAX_WAIT_S = 60.0
"""Most seconds that an endpoint's Retry-After is honoured."""
_CAP_S = 20.0
_BASE_S = {True: 0.5, False: 0.25}


def delay_s(error: EndpointError, attempt: int, uniform: float) -> float | None:
    """Seconds to wait before the next attempt; None to give up.

    Waits grow by doubling, with full jitter, up to a cap. An endpoint that is busy and says when to
    come back is taken at its word.

    Parameters
    ----------
    error
        How the attempt ended.
    attempt
        How many attempts ended like this, this one included. Failures of other kinds do not count:
        a tile that waited for a busy endpoint keeps its tries for faults.
    uniform
        A random number, 0 to 1.
    """
    if attempt >= error.max_attempts:
        return None
    busy = isinstance(error, CapacityError)
    if isinstance(error, CapacityError) and error.retry_after_s is not None:
        return min(error.retry_after_s, MAX_WAIT_S)
    return uniform * min(_CAP_S, _BASE_S[busy] * 2.0**attempt)
