"""The metrics, in one table: what is counted, in which unit, of what, and under which names.

Namespace, names, units and dimensions are Model Runner's, so that its dashboards and alarms go on
working. Nobody who measures knows where the figures go; renderings do.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite
from time import monotonic
from typing import Protocol

from daskmr.core.events import bounded
from daskmr.status._redaction import redacted

NAMESPACE = "OSML/ModelRunner"
"""Where CloudWatch keeps them."""
MAX_MODELS = 500
"""Most models that one process tells apart; later ones are ``other``."""
_MAX_BYTES = 250
log = logging.getLogger(__name__)


class Metric(StrEnum):
    """What is measured."""

    DURATION = "Duration"
    INVOCATIONS = "Invocations"
    ERRORS = "Errors"
    THROTTLES = "Throttles"
    RETRIES = "Retries"
    UTILIZATION = "Utilization"
    BUFFERED = "ApproximateNumberOfRequestsBuffered"
    VISIBLE = "ApproximateNumberOfRequestsVisible"


class Kind(StrEnum):
    """How values of a metric add up."""

    COUNTER = "counter"
    """They are added."""
    GAUGE = "gauge"
    """The last one holds."""
    HISTOGRAM = "histogram"
    """They are sorted into ranges."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One row of the table."""

    unit: str
    """CloudWatch's name of the unit."""
    kind: Kind
    """How values add up."""
    prometheus: str
    """Its name there; counters get ``_total`` at the end."""
    meaning: str
    """One sentence."""
    every_s: float = 0.0
    """Least seconds between two values that CloudWatch is told."""


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
        every_s=60.0,
    ),
    Metric.VISIBLE: Spec(
        "Count",
        Kind.GAUGE,
        "daskmr_requests_visible",
        "Requests taken from the queue that wait to be started.",
        every_s=60.0,
    ),
}
"""Every metric."""


class Operation(StrEnum):
    """What is measured of."""

    IMAGE = "ImageProcessing"
    REGION = "RegionProcessing"
    TILE_GENERATION = "TileGeneration"
    TILE = "TileProcessing"
    MODEL = "ModelInvocation"
    REFINEMENT = "FeatureRefinement"
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
    Operation.REFINEMENT: ((),),
    Operation.STORAGE: ((),),
    Operation.AGGREGATION: ((),),
    Operation.SELECTION: ((),),
    Operation.DISSEMINATION: ((),),
    Operation.SCHEDULING: ((), (MODEL_NAME,)),
}
"""Sets of dimensions beside ``Operation`` under which CloudWatch finds the values of an operation;
those of a name that was not given are left out."""
UNKNOWN = "unknown"
"""Model or format of which nothing was said, where it is the only way to find a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Some values of one operation."""

    operation: Operation
    """What was done."""
    values: Mapping[Metric, float]
    """Finite values in the units of `METRICS`."""
    model_name: str = ""
    """Model or endpoint; empty where it does not matter."""
    input_format: str = ""
    """Format of the image (``NITF``, ``TIFF``); empty where it does not matter."""

    def dimension_sets(self) -> list[dict[str, str]]:
        """Each set of dimensions under which the values are found, with its values."""
        given = {MODEL_NAME: self.model_name, INPUT_FORMAT: self.input_format}
        sets = DIMENSIONS[self.operation]
        told = [names for names in sets if all(given[n] for n in names)] or [sets[0]]
        return [
            {"Operation": str(self.operation), **{n: given[n] or UNKNOWN for n in names}}
            for names in told
        ]


class Rendering(Protocol):
    """Where measurements go."""

    def record(self, said: Measurement) -> None:
        """Take one measurement; raises OSError or ValueError when nobody reads it."""


@dataclass
class Meter:
    """What is measured with; whatever happens to the figures, the work goes on."""

    renderings: tuple[Rendering, ...] = ()
    """Where the figures go."""
    _models: set[str] = field(default_factory=set)

    def record(
        self,
        operation: Operation,
        values: Mapping[Metric, float],
        *,
        model_name: str = "",
        input_format: str = "",
    ) -> None:
        """Tell some values of an operation; values that are no numbers are left out."""
        said = Measurement(
            operation=operation,
            values={metric: float(v) for metric, v in values.items() if isfinite(v)},
            model_name=self._known(_name(model_name)),
            input_format=_name(input_format),
        )
        for rendering in self.renderings if said.values else ():
            try:
                rendering.record(said)
            except (OSError, ValueError) as error:
                log.debug("a metric was lost: %s", error)

    @contextmanager
    def timed(
        self, operation: Operation, *, model_name: str = "", input_format: str = ""
    ) -> Iterator[None]:
        """Measure a block: that it was done, how long it took, and whether it raised."""
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

    def _known(self, model: str) -> str:
        """The name of a model, unless requests have named too many: each is a series for ever."""
        if len(self._models) < MAX_MODELS:
            self._models.add(model)
        return model if model in self._models else "other"


def _name(text: str) -> str:
    """A name that CloudWatch takes: ASCII, without control characters and secrets, not too long."""
    plain = bounded(redacted(text), _MAX_BYTES).encode("ascii", "replace").decode()
    return plain.strip().removeprefix(":")
