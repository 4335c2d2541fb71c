"""Congestion window: the calls that an endpoint can serve at once, found by trying.

The window grows by one a success (slow start) until the endpoint reports that it is busy. Then it
is cut, grows back quickly towards the size at which that happened, stays near it, and probes beyond
with growing steps (CUBIC: RFC 9438, section 4.1, with round trips of calls as its unit of time).

An endpoint that lets calls wait in line never reports that it is busy. So the rate of answers is
measured over each round (as many answers as calls were in flight at its start), as BBR does: when
more calls bring no more answers a second, the window returns to the size that was enough, and looks
beyond from time to time.
"""

from dataclasses import dataclass, field
from math import inf

INITIAL_WINDOW = 8.0
"""Initial calls in flight when the capacity is unknown."""
MAX_WINDOW = 1024.0
"""Maximum calls in flight of one process."""
_CUT, _NEXT_CUT = 0.9, 0.7
"""Factors of the window when the endpoint is busy: slightly beyond its capacity, and still so soon
after the cut before: its capacity has fallen."""
_SOON = 3.0
"""Round trips within which a cut follows on the one before."""
_STEEPNESS = 0.1
_BURST = 0.25
"""Part of a round trip in which refusals belong to the same burst of calls."""
_HOLD = 20.0
"""Minimum calls between two attempts to exceed the window that was refused."""
_SMOOTHING = 0.125
_MIN_ROUND_TRIP_S = 0.02
_GAIN = 1.1
"""Least growth of the rate from round to round for which the window grows further."""
_FLAT_ROUNDS = 2
"""Consecutive rounds without that growth after which the window returns."""
_MARGIN = 1.25
"""Size of the window against the one that was enough, so that the endpoint never waits; also of the
window that looks beyond."""
_LOOK_EVERY = 20
"""Rounds between two attempts to exceed the window that was enough."""


@dataclass
class _Rounds:
    """Rates of answers while the window was full, and the window that they call for."""

    enough: float = inf
    """Maximum calls in flight that bring more answers; infinite as long as more do."""
    is_holding: bool = False
    """Whether the window must not grow during this round, for the effect of its growth to show."""
    _rate: float = 0.0
    """Answers a second at the window of `_rate_at`."""
    _rate_at: float = 0.0
    _n_flat: int = 0
    _n_rounds: int = 0
    """Rounds since the last look beyond."""
    _is_looking: bool = False
    _began_at: float = -inf
    _size: int = 0
    """Answers of this round, and the calls in flight at its start."""
    _n: int = 0
    _n_full: int = 0

    def record(self, seconds: float, now: float, limit: int, *, is_full: bool) -> None:
        """Count an answer."""
        if not self._size:
            self._began_at, self._size = now - seconds, limit
        self._n += 1
        self._n_full += is_full
        if self._n < self._size:
            return
        if now > self._began_at and 2 * self._n_full >= self._n:
            self._judge(self._n / (now - self._began_at), self._size)
        self._began_at, self._size, self._n, self._n_full = now, limit, 0, 0

    def _judge(self, rate: float, size: int) -> None:
        if self.enough < inf and not self._is_looking:
            self._rate += _SMOOTHING * (rate - self._rate)
            self._n_rounds += 1
            if self._n_rounds >= _LOOK_EVERY:
                self._is_looking, self._n_rounds = True, 0
                self.enough *= _MARGIN
            return
        if rate > self._rate * _GAIN:
            self.enough, self._is_looking = inf, False
            self._rate, self._rate_at, self._n_flat = rate, size, 0
        else:
            self._n_flat += 1
        self.is_holding = self._n_flat > 0
        if self._n_flat >= _FLAT_ROUNDS:
            self.enough = max(1.0, self._rate_at * _MARGIN)
            self._n_flat, self.is_holding, self._is_looking = 0, False, False


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
    _after: float = inf
    """Window after it."""
    _least: float = 1.0
    """Least size at which it can have happened."""
    _rounds: _Rounds = field(default_factory=_Rounds)

    def record_success(self, seconds: float, now: float, *, in_flight: int) -> None:
        """Record a successful call; the window grows if it was full."""
        last = self.round_trip_s
        self.round_trip_s = last + _SMOOTHING * (seconds - last) if last else seconds
        is_full = in_flight + 1 >= self.limit
        rounds = self._rounds
        if self._is_free:
            rounds.record(seconds, now, self.limit, is_full=is_full)
        if is_full and not (self._is_free and rounds.is_holding):
            grown = inf if self._before == inf else max(self.window, self._cubic(now))
            self.window = min(grown, self.window + 1, MAX_WINDOW, max(self._ceiling, 1.0))
        if self._is_free:
            self.window = min(self.window, rounds.enough)

    @property
    def _is_free(self) -> bool:
        """Whether the endpoint has neither said how much it takes, nor that it is too much."""
        return self._ceiling == inf and self._before == inf

    def record_throttling(self, now: float) -> None:
        """Cut the window of a busy endpoint, once a round trip.

        Calls of one burst that are refused are so many more than the endpoint serves; slow start
        may have doubled the window by then, so that is the most that it is cut by.
        """
        trip_s = max(self.round_trip_s, _MIN_ROUND_TRIP_S)
        since_s = now - self._cut_at
        if since_s < trip_s:
            if since_s < trip_s * _BURST and self._before - 1 >= self._least:
                self._before -= 1
                self.window = self._after = max(1.0, self.window - 1)
            return
        self._before, self._least = self.window, self.window / 2
        self._cut_at = now
        cut = self.window * (_NEXT_CUT if since_s < _SOON * trip_s else _CUT)
        self.window = self._after = max(1.0, min(cut, int(self.window) - 1.0))

    def restart(self) -> None:
        """Start over with a few calls, after an outage."""
        self.window = max(1.0, min(self.window, INITIAL_WINDOW))
        self._before, self._rounds = inf, _Rounds()

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
        back = (max(0.0, top - self._after) / _STEEPNESS) ** (1 / 3)
        hold = max(back, _HOLD / top)
        if trips < hold:
            return float(top + _STEEPNESS * min(0.0, trips - back) ** 3)
        return float(top + _STEEPNESS * (trips - hold) ** 3)
