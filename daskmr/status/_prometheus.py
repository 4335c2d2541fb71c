"""Metrics for Prometheus: read from the listener, and from Dask's workers beside their own."""

from functools import cache
from typing import Any

from daskmr.errors import RequestError
from daskmr.status._metrics import METRICS, Kind, Measurement, Metric

LABELS = ("operation", "model_name", "input_format")
"""Labels of every metric; empty where they do not matter."""
BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    120, 300, 600, 1800, 3600, 14400,
)  # fmt: skip
"""Upper ends of the ranges of durations, seconds: from one tile to a whole image."""


class Prometheus:
    """Keeps every metric in a registry.

    Parameters
    ----------
    registry
        A registry of prometheus_client, such as its default one, which Dask's workers serve; None
        for one of our own. A registry takes one instance only.

    Raises
    ------
    RequestError
        When prometheus_client is not installed.
    """

    content_type = "text/plain; version=0.0.4; charset=utf-8"
    """What `text` is."""

    def __init__(self, registry: Any = None) -> None:
        try:
            import prometheus_client as client
        except ImportError as error:
            msg = "metrics: prometheus_client is not installed; install daskmr[service]"
            raise RequestError(msg) from error
        self.registry = client.CollectorRegistry() if registry is None else registry
        made: dict[Metric, Any] = {}
        for metric, spec in METRICS.items():
            where: dict[str, Any] = {"registry": self.registry}
            if spec.kind is Kind.HISTOGRAM:
                made[metric] = client.Histogram(
                    spec.prometheus, spec.meaning, LABELS, buckets=BUCKETS, **where
                )
            elif spec.kind is Kind.COUNTER:
                made[metric] = client.Counter(spec.prometheus, spec.meaning, LABELS, **where)
            else:
                made[metric] = client.Gauge(spec.prometheus, spec.meaning, LABELS, **where)
        self._metrics = made

    def record(self, said: Measurement) -> None:
        """Add one measurement."""
        labels = (str(said.operation), said.model_name, said.input_format)
        for metric, value in said.values.items():
            series = self._metrics[metric].labels(*labels)
            kind = METRICS[metric].kind
            if kind is Kind.HISTOGRAM:
                series.observe(value)
            elif kind is Kind.COUNTER:
                series.inc(value)
            else:
                series.set(value)

    def text(self) -> bytes:
        """All values, as Prometheus reads them from ``/metrics``."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)


@cache
def of_process() -> Prometheus:
    """The metrics in the default registry, one for each process: what Dask's workers serve."""
    from prometheus_client import REGISTRY

    return Prometheus(REGISTRY)
