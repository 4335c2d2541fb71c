"""Delay before the next attempt of a call: a pure function of error and attempt number.

Our own: busy endpoints and faults have separate counts and caps, which one attempt number of a
library does not express.
"""

from daskmr.errors import CapacityError, EndpointError, UnreachableError

PATIENCE_S = 600.0
"""Seconds for which a tile waits for an endpoint that is busy or unreachable."""
MAX_WAIT_S = 60.0
"""Maximum seconds that an endpoint's Retry-After is honoured."""
_CAP_S = 20.0
_BUSY_CAP_S = 2.0
_BASE_S = 0.25


def is_waiting(error: EndpointError) -> bool:
    """Return True if the endpoint is busy or unreachable: the tile waits and spends no attempt."""
    return isinstance(error, CapacityError | UnreachableError)


def delay_s(
    error: EndpointError, attempt: int, uniform: float, *, round_trip_s: float = 0.0
) -> float | None:
    """Return the seconds to wait before the next attempt; None to give up.

    Waits grow by doubling up to a cap: with full jitter after a fault, with half of it while the
    endpoint is busy, from about the time that a call takes. There the cap is low: the window and
    the breaker reduce the load, and a call that waits for long holds a slot for nothing. The
    Retry-After of a busy endpoint is followed.

    Parameters
    ----------
    error
        Error of the attempt.
    attempt
        Number of attempts with an error of this kind, this one included: a tile that waited for a
        busy endpoint keeps its attempts for faults.
    uniform
        A random number, 0 to 1.
    round_trip_s
        Seconds of a call that succeeds.
    """
    if not is_waiting(error):
        if attempt >= error.max_attempts:
            return None
        return uniform * min(_CAP_S, _BASE_S * 2.0**attempt)
    if isinstance(error, CapacityError) and error.retry_after_s is not None:
        return min(error.retry_after_s, MAX_WAIT_S)
    base = max(_BASE_S, round_trip_s)
    cap = max(_BUSY_CAP_S, round_trip_s)
    return (0.5 + 0.5 * uniform) * min(cap, base * 2.0 ** min(attempt - 1, 10))
