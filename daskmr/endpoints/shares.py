"""Who may have how many calls in flight: one endpoint's capacity divided among processes.

A small book, kept where all processes can reach it (see `daskmr.pipeline.coordinator`). Each tells
it about once a second how many calls it has and wants, and is told its share.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from math import inf
from typing import Any

OPERATION = "daskmr_shares"
"""Name under which the keeper of the books answers."""
FORGET_S = 5.0
"""Seconds after which a silent process is taken for gone."""
SETTLE_S = 2.5
"""Seconds from the first report for which nobody gets more, unless all have reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a process says of one endpoint."""

    capacity: int | None
    """Calls that the endpoint stands, as far as the process knows."""
    share: int | None
    """Calls that the process may have in flight at present."""
    in_flight: int
    """Calls that it has."""
    waiting: int
    """Calls that it would make if it could."""
    alive_s: float
    """Seconds since the endpoint last answered it; infinite when it never did."""
    processes: int = 1
    """Processes that are known to have begun with a share."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the wire."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What the process is told."""

    share: int | None
    """Calls that it may have in flight; None when the endpoint's capacity is not known."""
    peers: int
    """Processes that ask this endpoint, this one included."""
    alive_s: float
    """Seconds since the endpoint last answered any of them; infinite when it never did."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the wire."""
        return asdict(self)


@dataclass
class _Entry:
    report: Report
    share: int
    told_at: float
    since: int


@dataclass
class ShareBook:
    """The book of one endpoint's users."""

    _entries: dict[str, _Entry] = field(default_factory=dict)
    _joined: int = 0
    _begun_at: float = inf

    def told(self, process: str, report: Report, now: float) -> Grant:
        """Take a report and answer it.

        Shares never add up to more than the capacity: what one process has to give up, another
        gets only after the first has been told, and its calls beyond the new share have ended.

        Parameters
        ----------
        process
            Name of the process.
        report
            What it says.
        now
            Seconds of a monotonic clock.
        """
        self._forget(now)
        self._begun_at = min(self._begun_at, now)
        if process not in self._entries:
            self._joined += 1
            self._entries[process] = _Entry(report, 0, now, self._joined)
        entry = self._entries[process]
        entry.report, entry.told_at, entry.share = report, now, report.share or 0
        share = self._share(process, now)
        entry.share = share if share is not None else 0
        return Grant(
            share=share,
            peers=len(self._entries),
            alive_s=min(e.report.alive_s + now - e.told_at for e in self._entries.values()),
        )

    def left(self, process: str) -> None:
        """A process has nothing to ask any more."""
        self._entries.pop(process, None)

    def __len__(self) -> int:
        return len(self._entries)

    def _share(self, process: str, now: float) -> int | None:
        known = [e.report.capacity for e in self._entries.values() if e.report.capacity is not None]
        if not known:
            return None
        capacity = min(known)
        wants = {
            name: e.report.in_flight + e.report.waiting
            for name, e in sorted(self._entries.items(), key=lambda item: item[1].since)
        }
        mine = fair_shares(wants, capacity, turn=int(now))[process]
        others = sum(
            max(e.share, e.report.in_flight) for name, e in self._entries.items() if name != process
        )
        share = max(0, min(mine, capacity - others))
        expected = max(e.report.processes for e in self._entries.values())
        is_settling = len(self._entries) < expected and now - self._begun_at < SETTLE_S
        return min(share, self._entries[process].share) if is_settling else share

    def _forget(self, now: float) -> None:
        for name in [n for n, e in self._entries.items() if now - e.told_at > FORGET_S]:
            del self._entries[name]


def fair_shares(wants: Mapping[str, int], capacity: int, *, turn: int = 0) -> dict[str, int]:
    """Max-min fair integer shares of a capacity.

    Nobody who wants more gets less than another, but for one call that goes round by turns; what
    nobody wants is spread evenly, so that a process can begin without asking.

    Parameters
    ----------
    wants
        Calls that each process would have in flight.
    capacity
        What there is to share.
    turn
        Number that moves the indivisible rest on to the next process.

    Examples
    --------
    >>> fair_shares({"a": 2, "b": 40, "c": 40}, 32)
    {'a': 2, 'b': 15, 'c': 15}
    >>> fair_shares({"a": 0, "b": 0}, 5)
    {'a': 3, 'b': 2}
    """
    level = _level(wants.values(), capacity)
    shares = {name: min(want, level) for name, want in wants.items()}
    hungry = [name for name, want in wants.items() if want > level]
    rest = capacity - sum(shares.values())
    each, rest = (0, rest) if hungry else divmod(rest, len(wants))
    for place, name in enumerate(_turned(hungry or list(wants), turn)):
        shares[name] += each + (place < rest)
    return shares


def _level(wants: Collection[int], capacity: int) -> int:
    """The highest level up to which every want can be met."""
    low, high = 0, max(wants)
    while low < high:
        middle = (low + high + 1) // 2
        fits = sum(min(want, middle) for want in wants) <= capacity
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def _turned(names: list[str], turn: int) -> list[str]:
    start = turn % len(names)
    return names[start:] + names[:start]
