"""What work took: pixels and time by stage, small and additive, whatever was done."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

_STEPS = 8
"""Buckets for each doubling of a time: what is read off them is right within 5 %."""
_LEAST_S = 1e-6


@dataclass(frozen=True, slots=True)
class Times:
    """Many durations: their sum, and how many there were of which length."""

    total_s: float = 0.0
    """Sum, in seconds."""
    buckets: Mapping[int, int] = field(default_factory=dict)
    """Durations by bucket; bucket k is around ``2 ** (k / 8)`` microseconds."""

    def __add__(self, other: "Times") -> "Times":
        return Times(self.total_s + other.total_s, Counter(self.buckets) + Counter(other.buckets))

    @property
    def n(self) -> int:
        """How many."""
        return sum(self.buckets.values())

    def percentile(self, part: float) -> float:
        """Duration that a part of all do not exceed, in seconds; 0 without any.

        Examples
        --------
        >>> times = Stopwatch()
        >>> for _ in range(19):
        ...     times.add("read", 0.1)
        >>> times.add("read", 3.0)
        >>> round(times.times["read"].percentile(0.5), 2)
        0.1
        """
        left = math.ceil(part * self.n)
        for bucket, n in sorted(self.buckets.items()):
            left -= n
            if left <= 0:
                return _LEAST_S * float(2 ** (bucket / _STEPS))
        return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a region, or a whole job, took."""

    n_pixels: int = 0
    """Pixels of the tiles that were sent to the model."""
    times: Mapping[str, Times] = field(default_factory=dict)
    """By stage: ``read``, ``encode``, ``wait``, ``infer`` and ``decode`` of tiles, ``region`` of
    whole regions."""

    def __add__(self, other: "Effort") -> "Effort":
        names = {**self.times, **other.times}
        none = Times()
        return Effort(
            n_pixels=self.n_pixels + other.n_pixels,
            times={n: self.times.get(n, none) + other.times.get(n, none) for n in names},
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "pixels": self.n_pixels,
            "times": {
                name: {"total_s": t.total_s, "buckets": {str(k): n for k, n in t.buckets.items()}}
                for name, t in self.times.items()
            },
        }

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """The effort that `as_dict` told of."""
        return cls(
            n_pixels=said.get("pixels", 0),
            times={
                name: Times(t["total_s"], {int(k): n for k, n in t["buckets"].items()})
                for name, t in said.get("times", {}).items()
            },
        )


class Stopwatch:
    """Measures stages in one thread."""

    def __init__(self) -> None:
        self._totals: dict[str, float] = {}
        self._buckets: dict[str, Counter[int]] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Take one duration of a stage."""
        self._totals[stage] = self._totals.get(stage, 0.0) + seconds
        bucket = round(_STEPS * math.log2(max(seconds, _LEAST_S) / _LEAST_S))
        self._buckets.setdefault(stage, Counter())[bucket] += 1

    @property
    def times(self) -> dict[str, Times]:
        """What was measured, by stage."""
        return {
            name: Times(total, dict(self._buckets[name])) for name, total in self._totals.items()
        }
