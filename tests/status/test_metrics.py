import io
import json
import math
import subprocess
import sys
import textwrap
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from daskmr.status import METRICS, Emf, Meter, Metric, Operation, Prometheus
from daskmr.status._metrics import DIMENSIONS

UNITS = {
    "Duration": "Seconds",
    "Invocations": "Count",
    "Errors": "Count",
    "Throttles": "Count",
    "Retries": "Count",
    "Utilization": "Percent",
    "ApproximateNumberOfRequestsBuffered": "Count",
    "ApproximateNumberOfRequestsVisible": "Count",
}


def documents(stream: io.StringIO) -> list[dict[str, Any]]:
    return [checked(json.loads(line)) for line in stream.getvalue().splitlines()]


def checked(document: dict[str, Any]) -> dict[str, Any]:
    """A document, if it is one of the Embedded Metric Format's."""
    meta = document["_aws"]
    assert set(meta) == {"Timestamp", "CloudWatchMetrics"}
    assert type(meta["Timestamp"]) is int
    assert meta["CloudWatchMetrics"]
    for directive in meta["CloudWatchMetrics"]:
        assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
        assert 1 <= len(directive["Namespace"]) <= 1024
        assert directive["Dimensions"]
        for names in directive["Dimensions"]:
            assert 1 <= len(names) <= 30
            for name in names:
                value = document[name]
                assert type(value) is str
                assert value.strip()
                assert len(value) <= 1024
                assert value.isascii()
                assert value.isprintable()
                assert not value.startswith(":")
        assert 1 <= len(directive["Metrics"]) <= 100
        for metric in directive["Metrics"]:
            assert set(metric) == {"Name", "Unit"}
            assert math.isfinite(document[metric["Name"]])
            assert metric["Unit"] == UNITS[metric["Name"]]
    return document


def values(prometheus: Prometheus) -> dict[tuple[str, str, str, str], float]:
    """All samples, by name and labels."""
    return {
        (s.name, s.labels["operation"], s.labels["model_name"], s.labels["input_format"]): s.value
        for family in text_string_to_metric_families(prometheus.text().decode())
        for s in family.samples
        if "le" not in s.labels and not s.name.endswith("_created")
    }


def test_the_table_is_that_of_model_runner() -> None:
    assert {str(metric): spec.unit for metric, spec in METRICS.items()} == UNITS
    assert set(METRICS) == set(Metric)
    assert set(DIMENSIONS) == set(Operation)
    assert [str(operation) for operation in Operation] == [
        "ImageProcessing", "RegionProcessing", "TileGeneration", "TileProcessing",
        "ModelInvocation", "FeatureStorage", "FeatureAggregation",
        "FeatureSelection", "FeatureDissemination", "Scheduling",
    ]  # fmt: skip


def test_a_line_is_an_embedded_metric() -> None:
    stream = io.StringIO()
    meter = Meter((Emf(stream, clock=lambda: 1_700_000_000.25),))
    meter.record(
        Operation.IMAGE,
        {Metric.DURATION: 1.5, Metric.INVOCATIONS: 1},
        model_name="aircraft",
        input_format="NITF",
    )
    assert documents(stream) == [
        {
            "_aws": {
                "Timestamp": 1_700_000_000_250,
                "CloudWatchMetrics": [
                    {
                        "Namespace": "OSML/ModelRunner",
                        "Dimensions": [["Operation", "ModelName", "InputFormat"]],
                        "Metrics": [
                            {"Name": "Duration", "Unit": "Seconds"},
                            {"Name": "Invocations", "Unit": "Count"},
                        ],
                    }
                ],
            },
            "Operation": "ImageProcessing",
            "ModelName": "aircraft",
            "InputFormat": "NITF",
            "Duration": 1.5,
            "Invocations": 1.0,
        }
    ]


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (Operation.IMAGE, [["Operation", "ModelName", "InputFormat"]]),
        (Operation.REGION, [["Operation", "ModelName", "InputFormat"]]),
        (Operation.TILE_GENERATION, [["Operation", "InputFormat"]]),
        (Operation.TILE, [["Operation", "ModelName"]]),
        (Operation.MODEL, [["Operation", "ModelName"]]),
        (Operation.AGGREGATION, [["Operation"]]),
        (Operation.SCHEDULING, [["Operation"], ["Operation", "ModelName"]]),
    ],
)
def test_dimensions_are_those_that_dashboards_search_for(
    operation: Operation, expected: list[list[str]]
) -> None:
    stream = io.StringIO()
    Meter((Emf(stream),)).record(operation, {Metric.ERRORS: 1}, model_name="m", input_format="TIFF")
    (found,) = documents(stream)
    assert found["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == expected


def test_scheduling_without_a_model_has_one_dimension() -> None:
    stream = io.StringIO()
    Meter((Emf(stream),)).record(Operation.SCHEDULING, {Metric.DURATION: 0.1})
    (found,) = documents(stream)
    assert found["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Operation"]]


def test_a_model_that_is_not_known_is_a_dimension_still() -> None:
    stream = io.StringIO()
    Meter((Emf(stream),)).record(Operation.IMAGE, {Metric.ERRORS: 1}, input_format="NITF")
    (found,) = documents(stream)
    assert (found["ModelName"], found["InputFormat"]) == ("unknown", "NITF")


def test_both_renderings_tell_the_same() -> None:
    stream, prometheus = io.StringIO(), Prometheus()
    meter = Meter((Emf(stream), prometheus))
    for n in range(1, 5):
        about = {"model_name": f"m{n % 2}", "input_format": "TIFF"}
        meter.record(Operation.REGION, {Metric.DURATION: n, Metric.INVOCATIONS: 1}, **about)
    meter.record(Operation.MODEL, {Metric.RETRIES: 3, Metric.THROTTLES: 2}, model_name="m1")
    meter.record(Operation.SCHEDULING, {Metric.UTILIZATION: 80})
    meter.record(Operation.SCHEDULING, {Metric.UTILIZATION: 40})
    found = values(prometheus)
    region = ("RegionProcessing", "m1", "TIFF")
    assert found["daskmr_invocations_total", *region] == 2
    assert found["daskmr_duration_seconds_sum", *region] == 4
    assert found["daskmr_duration_seconds_count", *region] == 2
    assert found["daskmr_retries_total", "ModelInvocation", "m1", ""] == 3
    assert found["daskmr_throttles_total", "ModelInvocation", "m1", ""] == 2
    assert found["daskmr_utilization_percent", "Scheduling", "", ""] == 40
    told = documents(stream)
    assert sum(d["Duration"] for d in told if d.get("ModelName") == "m1" and "Duration" in d) == 4
    assert [d["Utilization"] for d in told if "Utilization" in d] == [80, 40]


def test_a_block_is_measured_also_when_it_raises() -> None:
    prometheus = Prometheus()
    meter = Meter((prometheus,))
    with meter.timed(Operation.AGGREGATION):
        time.sleep(0.02)
    with pytest.raises(KeyError), meter.timed(Operation.AGGREGATION):
        raise KeyError
    found = values(prometheus)
    about = ("FeatureAggregation", "", "")
    assert found["daskmr_invocations_total", *about] == 2
    assert found["daskmr_errors_total", *about] == 1
    assert 0.02 <= found["daskmr_duration_seconds_sum", *about] < 5


def test_what_is_buffered_is_told_once_a_minute() -> None:
    stream, prometheus, now = io.StringIO(), Prometheus(), [100.0]
    meter = Meter((Emf(stream, ticks=lambda: now[0]), prometheus))
    for n in range(13):
        now[0] = 100.0 + 10 * n
        meter.record(Operation.SCHEDULING, {Metric.BUFFERED: n, Metric.VISIBLE: n // 2})
    told = documents(stream)
    assert [d["ApproximateNumberOfRequestsBuffered"] for d in told] == [0, 6, 12]
    assert [d["ApproximateNumberOfRequestsVisible"] for d in told] == [0, 3, 6]
    assert values(prometheus)["daskmr_requests_buffered", "Scheduling", "", ""] == 12


def test_a_metric_that_is_held_back_keeps_no_other_back() -> None:
    stream = io.StringIO()
    meter = Meter((Emf(stream),))
    for _ in range(2):
        meter.record(Operation.SCHEDULING, {Metric.BUFFERED: 1, Metric.DURATION: 0.5})
    assert [sorted(d.keys() & UNITS.keys()) for d in documents(stream)] == [
        ["ApproximateNumberOfRequestsBuffered", "Duration"],
        ["Duration"],
    ]


@given(
    st.sampled_from(Operation),
    st.dictionaries(st.sampled_from(Metric), st.floats(), max_size=8),
    st.text(st.characters(codec=None), max_size=400),
    st.text(st.characters(codec=None), max_size=400),
)
def test_whatever_is_measured_is_an_embedded_metric(
    operation: Operation, measured: dict[Metric, float], model: str, kind: str
) -> None:
    stream, prometheus = io.StringIO(), Prometheus()
    Meter((Emf(stream), prometheus)).record(
        operation, measured, model_name=model, input_format=kind
    )
    finite = {str(metric): v for metric, v in measured.items() if math.isfinite(v)}
    for document in documents(stream):
        assert {name: document[name] for name in UNITS if name in document} == finite
    assert len(documents(stream)) == bool(finite)
    assert list(text_string_to_metric_families(prometheus.text().decode()))


def test_a_secret_in_the_name_of_a_model_is_not_told() -> None:
    stream, prometheus = io.StringIO(), Prometheus()
    url = "https://me:hunter2canary@host/invocations"
    Meter((Emf(stream), prometheus)).record(Operation.MODEL, {Metric.ERRORS: 1}, model_name=url)
    assert "canary" not in stream.getvalue() + prometheus.text().decode()
    assert documents(stream)[0]["ModelName"] == "https://[redacted]@host/invocations"


def test_too_many_models_are_one() -> None:
    prometheus = Prometheus()
    meter = Meter((prometheus,))
    for n in range(600):
        meter.record(Operation.MODEL, {Metric.INVOCATIONS: 1}, model_name=f"m{n}")
    found = {key[2]: v for key, v in values(prometheus).items() if key[0].endswith("_total")}
    assert len(found) == 501
    assert (found["m0"], found["m499"], found["other"]) == (1, 1, 100)


def test_a_log_that_is_closed_harms_nobody() -> None:
    stream, prometheus = io.StringIO(), Prometheus()
    stream.close()
    meter = Meter((Emf(stream), prometheus))
    with meter.timed(Operation.STORAGE):
        pass
    assert values(prometheus)["daskmr_invocations_total", "FeatureStorage", "", ""] == 1


def test_two_registries_do_not_know_each_other() -> None:
    one, two = Prometheus(), Prometheus(CollectorRegistry())
    Meter((one,)).record(Operation.STORAGE, {Metric.INVOCATIONS: 1})
    assert not any(name.startswith("daskmr_invocations_total") for name, *_ in values(two))


def test_prometheus_is_imported_when_it_is_used_only() -> None:
    code = textwrap.dedent("""
        import sys
        from daskmr.status import Meter, Operation, Metric, Prometheus, process_metrics
        Meter().record(Operation.IMAGE, {Metric.ERRORS: 1})
        assert not {"prometheus_client", "botocore", "boto3"} & set(sys.modules)
        first = process_metrics()
        assert first is process_metrics()
        from prometheus_client import REGISTRY
        assert first.registry is REGISTRY
    """)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
