"""Circuit breaker of an endpoint: when calls pause during an outage, and when one probes."""

from dataclasses import dataclass
from math import inf

FAILURES = 10
"""Consecutive failures that open the breaker."""
PROBE_EVERY_S = 2.0
"""Minimum seconds between probes of one endpoint, over the whole cluster."""
_MIN_SILENCE_S, _MAX_SILENCE_S = 0.1, 5.0


@dataclass
class Breaker:
    """Circuit breaker: while it is open, calls wait and a single probe goes out now and then.

    It opens after consecutive failures over about the duration of a call, since calls that were
    sent before an outage still succeed. A fault of the model (HTTP 500) counts only once the
    endpoint has answered any call: a model that fails every tile is broken, not unavailable.

    Our own, since it is a pure function of the time it is passed, and spreads its probes over the
    processes of a cluster; pybreaker and its like read the clock and know one process.
    """

    peers: int = 1
    """Processes that call the same endpoint and share the probes."""
    last_success: float = -inf
    """Time of the last success."""
    opened_at: float = inf
    """Time of opening; infinite while closed."""
    _failures: int = 0
    _probe_at: float = inf
    _probing: bool = False

    @property
    def is_open(self) -> bool:
        """True while calls have to wait."""
        return self.opened_at < inf

    def record_success(self, now: float) -> bool:
        """Record an answer of the endpoint; return True if that ended an outage."""
        was_open = self.is_open
        self.last_success = now
        self._failures, self._probing = 0, False
        self.opened_at = self._probe_at = inf
        return was_open

    def record_failure(
        self, now: float, *, round_trip_s: float, uniform: float, is_model_fault: bool
    ) -> None:
        """Record that the endpoint did not answer, or was too busy to.

        Parameters
        ----------
        now
            Seconds of a monotonic clock.
        round_trip_s
            Seconds of a successful call.
        uniform
            A random number, 0 to 1.
        is_model_fault
            True if the model may have failed, not the server.
        """
        if self.is_open:
            self._schedule(now, uniform)
            return
        if is_model_fault and self.last_success == -inf:
            return
        self._failures += 1
        silence = min(max(round_trip_s, _MIN_SILENCE_S), _MAX_SILENCE_S)
        if self._failures >= FAILURES and now - self.last_success >= silence:
            self.opened_at = now
            self._schedule(now, uniform)

    def may_probe(self, now: float) -> bool:
        """Return True if the caller must probe: it then has to call the endpoint."""
        if self._probing or now < self._probe_at:
            return False
        self._probing = True
        return True

    def cancel_probe(self, now: float, uniform: float) -> None:
        """Schedule another probe after one that ended without an outcome."""
        if self.is_open:
            self._schedule(now, uniform)

    def wait_s(self, now: float) -> float:
        """Return the seconds until `may_probe` may be true."""
        return PROBE_EVERY_S if self._probing else max(0.0, self._probe_at - now)

    def record_peers(self, alive_s: float, now: float) -> bool:
        """Record the age of the last answer to any process; return True if it ended the outage."""
        return self.is_open and now - alive_s > self.opened_at and self.record_success(now)

    def _schedule(self, now: float, uniform: float) -> None:
        self._probing = False
        self._probe_at = now + PROBE_EVERY_S * max(1, self.peers) * (1 + uniform / 4)
