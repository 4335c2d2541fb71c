"""Metrics as lines of CloudWatch's Embedded Metric Format, taken from the log without any call."""

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, time
from typing import Any, TextIO

from daskmr.status._metrics import METRICS, NAMESPACE, Measurement, Metric


def emf(said: Measurement, time_ms: int) -> dict[str, Any]:
    """A document of the Embedded Metric Format.

    Parameters
    ----------
    time_ms
        Milliseconds since 1970 (UTC).
    """
    sets = said.dimension_sets()
    values = {name: value for dimensions in sets for name, value in dimensions.items()}
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(dimensions) for dimensions in sets],
        "Metrics": [{"Name": str(m), "Unit": METRICS[m].unit} for m in said.values],
    }
    return {
        "_aws": {"Timestamp": time_ms, "CloudWatchMetrics": [directive]},
        **values,
        **{str(metric): value for metric, value in said.values.items()},
    }


@dataclass
class Emf:
    """Writes one line for each measurement."""

    stream: TextIO = field(default_factory=lambda: sys.stdout)
    """Where the log goes."""
    clock: Callable[[], float] = time
    """Seconds since 1970 (UTC)."""
    ticks: Callable[[], float] = monotonic
    """Seconds of a clock that never goes back."""
    _told: dict[Metric, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, said: Measurement) -> None:
        """Write a line, unless all its values were told a moment ago."""
        with self._lock:
            due = {metric: value for metric, value in said.values.items() if self._is_due(metric)}
            if not due:
                return
            told = Measurement(
                operation=said.operation,
                values=due,
                model_name=said.model_name,
                input_format=said.input_format,
            )
            line = json.dumps(emf(told, int(self.clock() * 1000)), allow_nan=False)
            self.stream.write(f"{line}\n")
            self.stream.flush()

    def _is_due(self, metric: Metric) -> bool:
        every, now = METRICS[metric].every_s, self.ticks()
        if every and now < self._told.get(metric, -every) + every:
            return False
        self._told[metric] = now
        return True
