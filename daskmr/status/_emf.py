"""Metrics as lines of CloudWatch's Embedded Metric Format, extracted from the log without calls."""

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import monotonic, time
from typing import Any, TextIO

from daskmr.status._metrics import METRICS, NAMESPACE, Measurement, Metric


def emf(measurement: Measurement, time_ms: int) -> dict[str, Any]:
    """Return a document of the Embedded Metric Format.

    Parameters
    ----------
    measurement
        Values and dimensions.
    time_ms
        Milliseconds since 1970 (UTC).
    """
    sets = measurement.dimension_sets()
    values = {name: value for dimensions in sets for name, value in dimensions.items()}
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(dimensions) for dimensions in sets],
        "Metrics": [{"Name": str(m), "Unit": METRICS[m].unit} for m in measurement.values],
    }
    return {
        "_aws": {"Timestamp": time_ms, "CloudWatchMetrics": [directive]},
        **values,
        **{str(metric): value for metric, value in measurement.values.items()},
    }


@dataclass
class Emf:
    """Writes one line for each measurement."""

    stream: TextIO = field(default_factory=lambda: sys.stdout)
    """Stream of the log."""
    clock: Callable[[], float] = time
    """Seconds since 1970 (UTC)."""
    ticks: Callable[[], float] = monotonic
    """Monotonic seconds."""
    _written_at: dict[Metric, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, measurement: Measurement) -> None:
        """Write a line of the values whose minimal interval has passed."""
        with self._lock:
            values = measurement.values.items()
            due = {metric: value for metric, value in values if self._is_due(metric)}
            if not due:
                return
            document = emf(replace(measurement, values=due), int(self.clock() * 1000))
            line = json.dumps(document, allow_nan=False)
            self.stream.write(f"{line}\n")
            self.stream.flush()

    def _is_due(self, metric: Metric) -> bool:
        interval_s, now = METRICS[metric].interval_s, self.ticks()
        if interval_s and now < self._written_at.get(metric, -interval_s) + interval_s:
            return False
        self._written_at[metric] = now
        return True
