"""The table of metrics, and the meter that records their values.

Namespace, names, units and dimensions are Model Runner's, so that its dashboards and alarms go on
working. Code that measures knows the `Meter` only; its renderings write to Prometheus or
CloudWatch.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite
from time import monotonic
from typing import Protocol

from daskmr.core.events import bound_text
from daskmr.status._contained import contained
from daskmr.status._redaction import redact

NAMESPACE = "OSML/ModelRunner"
"""Namespace of the metrics in CloudWatch."""
MAX_MODELS = 500
"""Maximal number of model names of one process; later ones become ``other``."""
_MAX_BYTES = 250


class Metric(StrEnum):
    """Names of the metrics."""

    DURATION = "Duration"
    INVOCATIONS = "Invocations"
    ERRORS = "Errors"
    THROTTLES = "Throttles"
    RETRIES = "Retries"
    UTILIZATION = "Utilization"
    BUFFERED = "ApproximateNumberOfRequestsBuffered"
    VISIBLE = "ApproximateNumberOfRequestsVisible"


class Kind(StrEnum):
    """Kind of a metric."""

    COUNTER = "counter"
    """Values are added."""
    GAUGE = "gauge"
    """The last value counts."""
    HISTOGRAM = "histogram"
    """Values are counted by ranges."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One row of the table."""

    unit: str
    """CloudWatch's name of the unit."""
    kind: Kind
    """Kind of the metric."""
    prometheus: str
    """Name in Prometheus; counters get ``_total`` at the end."""
    meaning: str
    """Description of one sentence."""
    interval_s: float = 0.0
    """Minimal seconds between two values for CloudWatch."""


METRICS: Mapping[Metric, Spec] = {
    Metric.DURATION: Spec(
        "Seconds", Kind.HISTOGRAM, "daskmr_duration_seconds", "Time of an operation, end to end."
    ),
    Metric.INVOCATIONS: Spec(
        "Count", Kind.COUNTER, "daskmr_invocations", "How often an operation was done."
    ),
    Metric.ERRORS: Spec("Count", Kind.COUNTER, "daskmr_errors", "How often an operation failed."),
    Metric.THROTTLES: Spec(
        "Count", Kind.COUNTER, "daskmr_throttles", "How often an operation had to wait."
    ),
    Metric.RETRIES: Spec(
        "Count", Kind.COUNTER, "daskmr_retries", "How often an operation was tried again."
    ),
    Metric.UTILIZATION: Spec(
        "Percent", Kind.GAUGE, "daskmr_utilization_percent", "Part of a capacity that is in use."
    ),
    Metric.BUFFERED: Spec(
        "Count",
        Kind.GAUGE,
        "daskmr_requests_buffered",
        "Requests taken from the queue that have not ended.",
        interval_s=60.0,
    ),
    Metric.VISIBLE: Spec(
        "Count",
        Kind.GAUGE,
        "daskmr_requests_visible",
        "Requests taken from the queue that wait to be started.",
        interval_s=60.0,
    ),
}
"""Every metric."""


class Operation(StrEnum):
    """Names of the operations that are measured."""

    IMAGE = "ImageProcessing"
    REGION = "RegionProcessing"
    TILE_GENERATION = "TileGeneration"
    TILE = "TileProcessing"
    MODEL = "ModelInvocation"
    STORAGE = "FeatureStorage"
    AGGREGATION = "FeatureAggregation"
    SELECTION = "FeatureSelection"
    DISSEMINATION = "FeatureDissemination"
    SCHEDULING = "Scheduling"


MODEL_NAME, INPUT_FORMAT = "ModelName", "InputFormat"
DIMENSIONS: Mapping[Operation, tuple[tuple[str, ...], ...]] = {
    Operation.IMAGE: ((MODEL_NAME, INPUT_FORMAT),),
    Operation.REGION: ((MODEL_NAME, INPUT_FORMAT),),
    Operation.TILE_GENERATION: ((INPUT_FORMAT,),),
    Operation.TILE: ((MODEL_NAME,),),
    Operation.MODEL: ((MODEL_NAME,),),
    Operation.STORAGE: ((),),
    Operation.AGGREGATION: ((),),
    Operation.SELECTION: ((),),
    Operation.DISSEMINATION: ((),),
    Operation.SCHEDULING: ((), (MODEL_NAME,)),
}
"""Sets of dimensions beside ``Operation`` of each operation in CloudWatch; a set with a dimension
without value is left out."""
UNKNOWN = "unknown"
"""Value of a dimension without value, if no other set remains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Some values of one operation."""

    operation: Operation
    """The operation."""
    values: Mapping[Metric, float]
    """Finite values in the units of `METRICS`."""
    model_name: str = ""
    """Model or endpoint; empty if the operation has none."""
    input_format: str = ""
    """Format of the image (``NITF``, ``TIFF``); empty if the operation has none."""

    def dimension_sets(self) -> list[dict[str, str]]:
        """Return each set of dimensions of the values, by name."""
        dimensions = {MODEL_NAME: self.model_name, INPUT_FORMAT: self.input_format}
        sets = DIMENSIONS[self.operation]
        complete = [names for names in sets if all(dimensions[n] for n in names)] or [sets[0]]
        return [
            {"Operation": str(self.operation), **{n: dimensions[n] or UNKNOWN for n in names}}
            for names in complete
        ]


class Rendering(Protocol):
    """Destination of measurements."""

    def record(self, measurement: Measurement) -> None:
        """Take one measurement; what it raises is contained."""


@dataclass
class Meter:
    """Records measurements; an error of a rendering never reaches the caller."""

    renderings: tuple[Rendering, ...] = ()
    """Destinations of the measurements."""
    _models: set[str] = field(default_factory=set)

    def record(
        self,
        operation: Operation,
        values: Mapping[Metric, float],
        *,
        model_name: str = "",
        input_format: str = "",
    ) -> None:
        """Record values of an operation; values that are not finite are left out."""
        measurement = Measurement(
            operation=operation,
            values={metric: float(v) for metric, v in values.items() if isfinite(v)},
            model_name=self._bounded_name(_name(model_name)),
            input_format=_name(input_format),
        )
        for rendering in self.renderings if measurement.values else ():
            with contained(f"{type(rendering).__name__} metrics"):
                rendering.record(measurement)

    @contextmanager
    def timed(
        self, operation: Operation, *, model_name: str = "", input_format: str = ""
    ) -> Iterator[None]:
        """Record the duration, the invocation and the error of a block."""
        began, n_errors = monotonic(), 1
        try:
            yield
            n_errors = 0
        finally:
            values: dict[Metric, float] = {
                Metric.DURATION: monotonic() - began,
                Metric.INVOCATIONS: 1,
            }
            if n_errors:
                values[Metric.ERRORS] = n_errors
            self.record(operation, values, model_name=model_name, input_format=input_format)

    def _bounded_name(self, model: str) -> str:
        """Return the name of a model, or ``other`` after too many: each is a series for ever."""
        if len(self._models) < MAX_MODELS:
            self._models.add(model)
        return model if model in self._models else "other"


def _name(text: str) -> str:
    """Return a valid name for CloudWatch: bounded ASCII without control characters and secrets."""
    plain = bound_text(redact(text), _MAX_BYTES).encode("ascii", "replace").decode()
    return plain.strip().removeprefix(":")
