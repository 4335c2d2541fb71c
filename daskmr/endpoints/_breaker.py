"""When to stop asking an endpoint that does not answer anybody, and when to ask again."""

from dataclasses import dataclass
from math import inf

FAILURES = 10
"""Failures in a row that open the breaker."""
PROBE_EVERY_S = 2.0
"""Least seconds between probes of one endpoint, over the whole cluster."""
_LEAST_SILENCE_S, _MOST_SILENCE_S = 0.1, 5.0


@dataclass
class Breaker:
    """Open: nobody is asked, but for one probe now and then; pure: the time is always given.

    It opens after failures in a row for about as long as a call takes, since calls that were sent
    before an outage still come back well. A fault of the model (HTTP 500) counts only once the
    endpoint has answered anything: a model that fails every tile is broken, not away.
    """

    peers: int = 1
    """Processes that ask the same endpoint, so that they share the probes."""
    last_success: float = -inf
    """When a call last came back well."""
    opened_at: float = inf
    """Since when it is open; infinite while closed."""
    _failures: int = 0
    _probe_at: float = inf
    _probing: bool = False

    @property
    def is_open(self) -> bool:
        """Whether calls have to wait."""
        return self.opened_at < inf

    def succeeded(self, now: float) -> bool:
        """The endpoint answered; True when that ended an outage."""
        was_open = self.is_open
        self.last_success = now
        self._failures, self._probing = 0, False
        self.opened_at = self._probe_at = inf
        return was_open

    def failed(self, now: float, *, round_trip_s: float, uniform: float, fault: bool) -> None:
        """The endpoint did not answer, or was too busy to.

        Parameters
        ----------
        now
            Seconds of a monotonic clock.
        round_trip_s
            Seconds of a call that succeeds.
        uniform
            A random number, 0 to 1.
        fault
            Whether the model may be to blame, not the server.
        """
        if self.is_open:
            self._schedule(now, uniform)
            return
        if fault and self.last_success == -inf:
            return
        self._failures += 1
        silence = min(max(round_trip_s, _LEAST_SILENCE_S), _MOST_SILENCE_S)
        if self._failures >= FAILURES and now - self.last_success >= silence:
            self.opened_at = now
            self._schedule(now, uniform)

    def may_probe(self, now: float) -> bool:
        """Whether the one who asks shall be the probe; whoever is told so must call."""
        if self._probing or now < self._probe_at:
            return False
        self._probing = True
        return True

    def abandoned(self, now: float, uniform: float) -> None:
        """A probe ended without any outcome."""
        if self.is_open:
            self._schedule(now, uniform)

    def wait_s(self, now: float) -> float:
        """Seconds until it is worth asking again."""
        return PROBE_EVERY_S if self._probing else max(0.0, self._probe_at - now)

    def heard(self, alive_s: float, now: float) -> bool:
        """Another process was answered that many seconds ago; True when that ended the outage."""
        return self.is_open and now - alive_s > self.opened_at and self.succeeded(now)

    def _schedule(self, now: float, uniform: float) -> None:
        self._probing = False
        self._probe_at = now + PROBE_EVERY_S * max(1, self.peers) * (1 + uniform / 4)
