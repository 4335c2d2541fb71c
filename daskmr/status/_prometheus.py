"""Metrics for Prometheus, scraped from the listener and from Dask's workers beside their own."""

from functools import cache
from typing import Any

from daskmr.errors import RequestError
from daskmr.status._metrics import METRICS, Kind, Measurement, Metric

LABELS = ("operation", "model_name", "input_format")
"""Labels of every metric; empty if an operation has none."""
BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    120, 300, 600, 1800, 3600, 14400,
)  # fmt: skip
"""Upper bounds of the histogram of durations in seconds, from one tile to a whole image."""


class Prometheus:
    """Records measurements in a Prometheus registry.

    Parameters
    ----------
    registry
        A registry of prometheus_client; None for one of our own. A registry takes one instance
        only.
    is_default
        Take prometheus_client's default registry, which Dask's workers serve.

    Raises
    ------
    RequestError
        If prometheus_client is not installed.
    """

    content_type = "text/plain; version=0.0.4; charset=utf-8"
    """Content type of `text`."""

    def __init__(self, registry: Any = None, *, is_default: bool = False) -> None:
        try:
            import prometheus_client as client
        except ImportError as error:
            msg = "metrics: prometheus_client is not installed; install daskmr[service]"
            raise RequestError(msg) from error
        own = client.REGISTRY if is_default else registry
        self.registry = client.CollectorRegistry() if own is None else own
        self._render = client.generate_latest
        metrics: dict[Metric, Any] = {}
        for metric, spec in METRICS.items():
            options: dict[str, Any] = {"registry": self.registry}
            if spec.kind is Kind.HISTOGRAM:
                metrics[metric] = client.Histogram(
                    spec.prometheus, spec.meaning, LABELS, buckets=BUCKETS, **options
                )
            elif spec.kind is Kind.COUNTER:
                metrics[metric] = client.Counter(spec.prometheus, spec.meaning, LABELS, **options)
            else:
                metrics[metric] = client.Gauge(spec.prometheus, spec.meaning, LABELS, **options)
        self._metrics = metrics

    def record(self, measurement: Measurement) -> None:
        """Record one measurement."""
        labels = (str(measurement.operation), measurement.model_name, measurement.input_format)
        for metric, value in measurement.values.items():
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
        rendered: bytes = self._render(self.registry)
        return rendered


@cache
def process_metrics() -> Prometheus:
    """Return the process's metrics in the default registry, which Dask's workers serve.

    Raises
    ------
    RequestError
        When prometheus_client is not installed.
    """
    return Prometheus(is_default=True)
