"""CongestionWindow window: the calls that an endpoint can serve at once, measured as CUBIC does.

The window grows by one a success (slow start) until the endpoint reports that it is busy. Then it
is cut, grows back quickly towards the size at which that happened, stays near it, and probes beyond
with growing steps (RFC 9438, section 4.1, with round trips of calls as its unit of time).
"""

from dataclasses import dataclass
from math import inf

INITIAL_WINDOW = 8.0
"""Initial calls in flight when the capacity is unknown."""
MAX_WINDOW = 1024.0
"""Maximum calls in flight of one process."""
_CUT = 0.75
_STEEPNESS = 0.1
_HOLD = 20.0
"""Minimum calls between two attempts to exceed the window that was refused."""
_SMOOTHING = 0.125
_MIN_ROUND_TRIP_S = 0.02


@dataclass
class CongestionWindow:
    """The calls in flight of one process to one endpoint.

    Our own, since it is a pure function of the time it is passed, takes a share of a cluster-wide
    capacity as its ceiling, and no library limits concurrency by CUBIC (aiolimiter limits rates).

    Parameters
    ----------
    window
        Initial calls in flight.
    """

    window: float = INITIAL_WINDOW
    round_trip_s: float = 0.0
    """Smoothed seconds of a successful call; 0 before the first."""
    _ceiling: float = inf
    _cut_at: float = -inf
    _before: float = inf
    """Window at the last cut; infinite in slow start."""

    def record_success(self, seconds: float, now: float, *, in_flight: int) -> None:
        """Record a successful call; the window grows if it was full."""
        last = self.round_trip_s
        self.round_trip_s = last + _SMOOTHING * (seconds - last) if last else seconds
        if in_flight + 1 < int(min(self.window, self._ceiling)):
            return
        grown = self.window + 1 if self._before == inf else max(self.window, self._cubic(now))
        self.window = min(grown, self.window + 1, MAX_WINDOW, max(self._ceiling, 1.0))

    def record_throttling(self, now: float) -> None:
        """Cut the window of a busy endpoint, at most once a round trip."""
        if now - self._cut_at < max(self.round_trip_s, _MIN_ROUND_TRIP_S):
            return
        self._before = self.window
        self._cut_at = now
        self.window = max(1.0, self.window * _CUT)

    def restart(self) -> None:
        """Start over with a few calls, after an outage."""
        self.window = max(1.0, min(self.window, INITIAL_WINDOW))
        self._before = inf

    def cap(self, ceiling: float) -> None:
        """Limit the window to a share of a known capacity; infinite without one.

        A known share is used at once, without slow start.
        """
        if self._before == inf and ceiling < inf:
            self.window = min(MAX_WINDOW, max(1.0, ceiling))
        self._ceiling = ceiling

    @property
    def limit(self) -> int:
        """Maximum calls in flight now; 0 only for a share of 0."""
        return int(min(self.window, self._ceiling))

    def _cubic(self, now: float) -> float:
        """Return the window of CUBIC: back to below the last maximum, a plateau, then beyond."""
        trips = (now - self._cut_at) / max(self.round_trip_s, _MIN_ROUND_TRIP_S)
        top = max(1.0, self._before - 1)
        back = (max(0.0, top - self._before * _CUT) / _STEEPNESS) ** (1 / 3)
        hold = max(back, _HOLD / top)
        if trips < hold:
            return float(top + _STEEPNESS * min(0.0, trips - back) ** 3)
        return float(top + _STEEPNESS * (trips - hold) ** 3)
