"""Pixels and time by stage of the work: small values that can be added."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from daskmr.core.histogram import LogHistogram, bucket_of

_LEAST_S = 1e-6


@dataclass(frozen=True, slots=True)
class Times:
    """Histogram of durations, with their sum."""

    total_s: float = 0.0
    """Sum, in seconds."""
    histogram: LogHistogram = field(default_factory=LogHistogram)
    """Of the durations in microseconds."""

    def __add__(self, other: "Times") -> "Times":
        return Times(self.total_s + other.total_s, self.histogram + other.histogram)

    @property
    def n(self) -> int:
        """Number of durations."""
        return self.histogram.n

    def percentile(self, part: float) -> float:
        """Return the duration that a part of all do not exceed, in seconds; 0 without any.

        Examples
        --------
        >>> times = Stopwatch()
        >>> for _ in range(19):
        ...     times.add("read", 0.1)
        >>> times.add("read", 3.0)
        >>> round(times.times["read"].percentile(0.5), 2)
        0.1
        """
        return _LEAST_S * self.histogram.percentile(part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Pixels and time of a region, or of a whole job."""

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
        """Return plain JSON values."""
        return {
            "pixels": self.n_pixels,
            "times": {
                name: {
                    "total_s": t.total_s,
                    "buckets": {str(k): n for k, n in t.histogram.counts.items()},
                }
                for name, t in self.times.items()
            },
        }

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return the effort of values of `as_dict`."""
        return cls(
            n_pixels=values.get("pixels", 0),
            times={
                name: Times(
                    t["total_s"], LogHistogram({int(k): n for k, n in t["buckets"].items()})
                )
                for name, t in values.get("times", {}).items()
            },
        )


class Stopwatch:
    """Measures stages in one thread."""

    def __init__(self) -> None:
        self._totals: dict[str, float] = {}
        self._buckets: dict[str, Counter[int]] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Add one duration of a stage."""
        self._totals[stage] = self._totals.get(stage, 0.0) + seconds
        bucket = bucket_of(max(seconds, _LEAST_S) / _LEAST_S)
        self._buckets.setdefault(stage, Counter())[bucket] += 1

    @property
    def times(self) -> dict[str, Times]:
        """Measured durations, by stage."""
        return {
            name: Times(total, LogHistogram(dict(self._buckets[name])))
            for name, total in self._totals.items()
        }
