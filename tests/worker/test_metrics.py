"""What is told of regions, under Model Runner's names."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from daskmr.core.timings import Effort, Stopwatch
from daskmr.status import Meter, Metric, Operation
from daskmr.status._metrics import Measurement
from daskmr.worker.metrics import measure_region, stage
from daskmr.worker.task import ModelCall, RegionSummary


class Kept:
    """Keeps what was measured."""

    def __init__(self) -> None:
        self.said: list[Measurement] = []

    def record(self, said: Measurement) -> None:
        self.said.append(said)


def summary(**changes: Any) -> RegionSummary:
    watch = Stopwatch()
    for _ in range(4):
        watch.add("read", 0.1)
        watch.add("encode", 0.2)
        watch.add("infer", 1.0)
    watch.add("region", 2.5)
    made = RegionSummary(
        region="0-0",
        outcomes={"SUCCEEDED": 3, "FAILED": 1},
        n_features=7,
        effort=Effort(times=watch.times),
        n_retries=2,
    )
    return replace(made, **changes)


def measured(said: RegionSummary) -> dict[Operation, Measurement]:
    kept = Kept()
    info = SimpleNamespace(format="NITF")
    model = SimpleNamespace(name="sagemaker://ships/blue")
    asking = cast("ModelCall", SimpleNamespace(info=info, model=model))
    measure_region(Meter((kept,)), asking, said)
    return {one.operation: one for one in kept.said}


def test_a_region_and_its_tiles_are_measured_by_model_and_format() -> None:
    found = measured(summary())
    region = found[Operation.REGION]
    assert (region.model_name, region.input_format) == ("ships", "NITF")
    assert region.values == {Metric.DURATION: 2.5, Metric.INVOCATIONS: 1.0, Metric.ERRORS: 1.0}
    model = found[Operation.MODEL].values
    assert model[Metric.INVOCATIONS] == 4.0
    assert model[Metric.DURATION] == 1.0
    assert model[Metric.ERRORS] == 1.0
    assert model[Metric.RETRIES] == 2.0
    made = found[Operation.TILE_GENERATION].values
    assert round(made[Metric.DURATION], 6) == 0.3
    assert Metric.ERRORS not in made


def test_what_did_not_happen_is_not_told() -> None:
    found = measured(summary(outcomes={"SUCCEEDED": 4}, n_retries=0, n_features=0))
    assert Metric.ERRORS not in found[Operation.REGION].values
    assert Metric.RETRIES not in found[Operation.MODEL].values
    assert Operation.STORAGE not in found


def test_a_stage_that_fails_is_an_error_of_it(caplog: Any) -> None:
    kept = Kept()
    caplog.set_level("INFO")
    with pytest.raises(RuntimeError), stage(Meter((kept,)), Operation.SELECTION, job_id="j"):
        raise RuntimeError
    (said,) = kept.said
    assert said.operation is Operation.SELECTION
    assert said.values[Metric.ERRORS] == 1.0
    (record,) = caplog.records
    assert record.message == "Consolidating duplicate features caused by tiling..."
    assert record.daskmr == {"job_id": "j", "tag": "TIMELINE EVENT"}
