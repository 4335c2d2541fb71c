"""Shares of one endpoint's capacity: calls that each process may have in flight.

A `ShareBook` lives where all processes can reach it (see `daskmr.dispatch.capacity_client`). Each
reports about once a second the calls that it has in flight and waiting, and receives its share.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from math import inf
from typing import Any

OPERATION = "daskmr_shares"
"""Name of the scheduler's remote procedure that exchanges reports for grants."""
EXPIRE_S = 5.0
"""Seconds without a report after which a process is removed."""
SETTLE_S = 2.5
"""Seconds from the first report in which no process gets more than an equal part, unless all
reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One process's use of one endpoint."""

    capacity: int | None
    """Calls that the endpoint can serve at once; None when the process does not know."""
    share: int | None
    """Calls that the process may have in flight now."""
    in_flight: int
    """Calls in flight."""
    waiting: int
    """Calls that wait for a slot."""
    alive_s: float
    """Seconds since the endpoint last answered the process; infinite when it never did."""
    processes: int = 1
    """Processes that were planned to call the endpoint."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for the wire."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The reply to a report."""

    share: int | None
    """Calls that the process may have in flight; None when the endpoint's capacity is unknown."""
    peers: int
    """Processes that call this endpoint, this one included."""
    alive_s: float
    """Seconds since the endpoint last answered any of them; infinite when it never did."""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for the wire."""
        return asdict(self)


@dataclass
class _Caller:
    report: Report
    share: int
    reported_at: float
    since: int


@dataclass
class ShareBook:
    """The reports and shares of the processes that call one endpoint."""

    _entries: dict[str, _Caller] = field(default_factory=dict)
    _joined: int = 0
    _started_at: float = inf

    def exchange(self, process: str, report: Report, now: float) -> Grant:
        """Record a report and return the process's share.

        Shares never add up to more than the capacity: what one process has to give up, another
        gets only after the first has received its smaller share, and its excess calls have ended.

        Parameters
        ----------
        process
            Name of the process.
        report
            Its report.
        now
            Seconds of a monotonic clock.
        """
        self._expire(now)
        self._started_at = min(self._started_at, now)
        if process not in self._entries:
            self._joined += 1
            self._entries[process] = _Caller(report, 0, now, self._joined)
        entry = self._entries[process]
        entry.report, entry.reported_at, entry.share = report, now, report.share or 0
        share = self._share(process, now)
        entry.share = share if share is not None else 0
        return Grant(
            share=share,
            peers=len(self._entries),
            alive_s=min(e.report.alive_s + now - e.reported_at for e in self._entries.values()),
        )

    def leave(self, process: str) -> None:
        """Remove a process that has no more calls."""
        self._entries.pop(process, None)

    def __len__(self) -> int:
        return len(self._entries)

    def _share(self, process: str, now: float) -> int | None:
        known = [e.report.capacity for e in self._entries.values() if e.report.capacity is not None]
        if not known:
            return None
        capacity = min(known)
        demands = {
            name: e.report.in_flight + e.report.waiting
            for name, e in sorted(self._entries.items(), key=lambda item: item[1].since)
        }
        fair = fair_shares(demands, capacity, turn=int(now))[process]
        others = sum(
            max(e.share, e.report.in_flight) for name, e in self._entries.items() if name != process
        )
        share = max(0, min(fair, capacity - others))
        expected = max(e.report.processes for e in self._entries.values())
        is_settling = len(self._entries) < expected and now - self._started_at < SETTLE_S
        return min(share, max(1, capacity // expected)) if is_settling else share

    def _expire(self, now: float) -> None:
        for name in [n for n, e in self._entries.items() if now - e.reported_at > EXPIRE_S]:
            del self._entries[name]


def fair_shares(demands: Mapping[str, int], capacity: int, *, turn: int = 0) -> dict[str, int]:
    """Return max-min fair integer shares of a capacity.

    A process with a larger demand never gets less than another, but for one indivisible call that
    rotates; what is left over is spread evenly, so that a process can begin at once.

    Parameters
    ----------
    demands
        Demand of each process, in calls.
    capacity
        Calls to share.
    turn
        Number that rotates the indivisible rest among the processes.

    Examples
    --------
    >>> fair_shares({"a": 2, "b": 40, "c": 40}, 32)
    {'a': 2, 'b': 15, 'c': 15}
    >>> fair_shares({"a": 0, "b": 0}, 5)
    {'a': 3, 'b': 2}
    """
    level = _level(demands.values(), capacity)
    shares = {name: min(demand, level) for name, demand in demands.items()}
    unsatisfied = [name for name, demand in demands.items() if demand > level]
    rest = capacity - sum(shares.values())
    each, rest = (0, rest) if unsatisfied else divmod(rest, len(demands))
    for position, name in enumerate(_rotate(unsatisfied or list(demands), turn)):
        shares[name] += each + (position < rest)
    return shares


def _level(demands: Collection[int], capacity: int) -> int:
    """Return the highest level at which the sum of the capped demands fits."""
    low, high = 0, max(demands)
    while low < high:
        middle = (low + high + 1) // 2
        fits = sum(min(demand, middle) for demand in demands) <= capacity
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def _rotate(names: list[str], turn: int) -> list[str]:
    start = turn % len(names)
    return names[start:] + names[:start]
