"""What work took, as metrics and lines of the timeline under Model Runner's names."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from daskmr.core.report import TileStatus
from daskmr.status import TIMELINE, Meter, Metric, Operation
from daskmr.worker.task import ModelCall, RegionSummary

log = logging.getLogger(__name__)
_OF_TILES = {
    Operation.TILE_GENERATION: ("read", "encode"),
    Operation.MODEL: ("infer",),
    Operation.TILE: ("read", "encode", "wait", "infer", "decode"),
}
_TIMELINE = {
    Operation.AGGREGATION: "Aggregating features...",
    Operation.SELECTION: "Consolidating duplicate features caused by tiling...",
    Operation.DISSEMINATION: "Writing features to outputs...",
}


def model_name(model: Any) -> str:
    """Return the model's name for metrics: of a SageMaker endpoint, its bare name.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> model_name(SimpleNamespace(name="sagemaker://ships/blue"))
    'ships'
    """
    name = str(model.name)
    scheme, _, rest = name.partition("://")
    return rest.partition("/")[0] if scheme.startswith("sagemaker") else name


def measure_region(meter: Meter, call: ModelCall, summary: RegionSummary) -> None:
    """Record the durations and counts of a region, and of its tiles on average."""
    about = {"model_name": model_name(call.model), "input_format": call.info.format}
    times = summary.effort.times
    n_failed = summary.outcomes.get(str(TileStatus.FAILED), 0)
    if "region" in times:
        values = {Metric.DURATION: times["region"].total_s, Metric.INVOCATIONS: 1.0}
        values |= {Metric.ERRORS: 1.0} if n_failed else {}
        meter.record(Operation.REGION, values, **about)
    for operation, stages in _OF_TILES.items():
        seconds = sum(times[stage].total_s for stage in stages if stage in times)
        n = max((times[stage].n for stage in stages if stage in times), default=0)
        if n:
            values = {Metric.DURATION: seconds / n, Metric.INVOCATIONS: float(n)}
            is_whole = operation is not Operation.TILE_GENERATION
            values |= {Metric.ERRORS: float(n_failed)} if n_failed and is_whole else {}
            if operation is Operation.MODEL and summary.n_retries:
                values[Metric.RETRIES] = float(summary.n_retries)
            meter.record(operation, values, **about)
    if summary.n_features:
        meter.record(Operation.STORAGE, {Metric.INVOCATIONS: 1.0})


@contextmanager
def stage(meter: Meter, operation: Operation, *, job_id: str) -> Iterator[None]:
    """Measure a stage of a whole job, and log its start on the timeline."""
    log.info(_TIMELINE[operation], extra={"daskmr": {"job_id": job_id, "tag": TIMELINE}})
    with meter.timed(operation):
        yield
