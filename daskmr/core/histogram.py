"""Histogram of positive values in buckets of equal ratio: small, and a sum of others."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from daskmr.core.arrays import Floats

_STEPS = 16
"""Buckets for each doubling of a value."""


@dataclass(frozen=True, slots=True)
class LogHistogram:
    """Counts of values by bucket; bucket k holds values above ``2 ** ((k - 1) / 16)``."""

    counts: Mapping[int, int] = field(default_factory=dict)
    """Number of values by bucket, each up to ``2 ** (k / 16)``."""

    @classmethod
    def of(cls, values: Floats) -> "LogHistogram":
        """Return the histogram of positive values of any shape."""
        buckets, counts = np.unique(
            np.ceil(_STEPS * np.log2(values)).astype(int), return_counts=True
        )
        return cls(dict(zip(buckets.tolist(), counts.tolist(), strict=True)))

    def __add__(self, other: "LogHistogram") -> "LogHistogram":
        return LogHistogram(Counter(self.counts) + Counter(other.counts))

    @property
    def n(self) -> int:
        """Number of values."""
        return sum(self.counts.values())

    def percentile(self, part: float) -> float:
        """Return a bound that a part of all values do not exceed, within 5 % of the least.

        Parameters
        ----------
        part
            From 0 to 1.

        Returns
        -------
        float
            Upper bound of a bucket; 0 without any value.

        Examples
        --------
        >>> values = LogHistogram.of(np.array([1.0] * 19 + [31.0]))
        >>> values.percentile(0.5), values.percentile(1.0)
        (1.0, 32.0)
        """
        left = math.ceil(part * self.n)
        for bucket, n in sorted(self.counts.items()):
            left -= n
            if left <= 0:
                return float(2 ** (bucket / _STEPS))
        return 0.0


def bucket_of(value: float) -> int:
    """Return the bucket of a positive value."""
    return math.ceil(_STEPS * math.log2(value))
