"""How many calls an endpoint stands: found by trying, as CUBIC finds the width of a network path.

The window grows by one a success (slow start) until the endpoint says that it is busy. Then it is
cut, grows back quickly towards the width at which that happened, stays near it, and tries beyond
with growing steps (RFC 9438, section 4.1, with round trips of calls as its unit of time).
"""

from dataclasses import dataclass
from math import inf

FIRST = 8.0
"""Calls in flight to begin with, where nothing is known."""
WIDEST = 1024.0
"""Most calls in flight of one process, whatever the endpoint stands."""
_CUT = 0.75
_STEEPNESS = 0.1
_HOLD = 20.0
"""Calls that are made at least between two tries to go beyond what was refused."""
_SMOOTHING = 0.125
_LEAST_ROUND_TRIP_S = 0.02


@dataclass
class Congestion:
    """The window of one process for one endpoint; pure: the time is always given.

    Parameters
    ----------
    window
        Calls in flight to begin with.
    """

    window: float = FIRST
    round_trip_s: float = 0.0
    """Smoothed seconds of a call that succeeds; 0 before the first."""
    _ceiling: float = inf
    _cut_at: float = -inf
    _before: float = inf
    """Window at the last cut; infinite in slow start."""

    def succeeded(self, seconds: float, now: float, *, in_flight: int) -> None:
        """A call came back well; the window grows if it was in use."""
        last = self.round_trip_s
        self.round_trip_s = last + _SMOOTHING * (seconds - last) if last else seconds
        if in_flight + 1 < int(min(self.window, self._ceiling)):
            return
        grown = self.window + 1 if self._before == inf else max(self.window, self._cubic(now))
        self.window = min(grown, self.window + 1, WIDEST, max(self._ceiling, 1.0))

    def throttled(self, now: float) -> None:
        """The endpoint said that it is busy: cut, at most once a round trip."""
        if now - self._cut_at < max(self.round_trip_s, _LEAST_ROUND_TRIP_S):
            return
        self._before = self.window
        self._cut_at = now
        self.window = max(1.0, self.window * _CUT)

    def restart(self) -> None:
        """After an outage: feel the way again, from a few calls."""
        self.window = max(1.0, min(self.window, FIRST))
        self._before = inf

    def cap(self, ceiling: float) -> None:
        """Never more calls than this: the share of a known capacity; infinite without one.

        What is known is used at once, without feeling the way.
        """
        if self._before == inf and ceiling < inf:
            self.window = min(WIDEST, max(1.0, ceiling))
        self._ceiling = ceiling

    @property
    def limit(self) -> int:
        """Calls that may be in flight now; 0 only for a share of nothing."""
        return int(min(self.window, self._ceiling))

    def _cubic(self, now: float) -> float:
        """Back to one below what was too much, a while there, and then carefully beyond."""
        trips = (now - self._cut_at) / max(self.round_trip_s, _LEAST_ROUND_TRIP_S)
        top = max(1.0, self._before - 1)
        back = (max(0.0, top - self._before * _CUT) / _STEEPNESS) ** (1 / 3)
        hold = max(back, _HOLD / top)
        if trips < hold:
            return float(top + _STEEPNESS * min(0.0, trips - back) ** 3)
        return float(top + _STEEPNESS * (trips - hold) ** 3)
