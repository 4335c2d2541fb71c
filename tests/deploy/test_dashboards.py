"""Dashboards show what is measured, all of it, under the names that it has."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from daskmr.status import DIMENSIONS, METRICS, NAMESPACE, Metric, Operation, Prometheus
from daskmr.status._metrics import Measurement

FOLDER = Path(__file__).parents[2] / "deploy" / "dashboards"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def committed(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


def test_the_files_are_what_the_table_says(generate: ModuleType) -> None:
    assert committed("cloudwatch.json") == generate.cloudwatch()
    assert committed("grafana.json") == generate.grafana()


def test_every_metric_has_a_panel(generate: ModuleType) -> None:
    assert {metric for _, metric, _ in generate.PANELS} == set(METRICS)


def test_grafana_asks_for_series_that_are_served() -> None:
    prometheus = Prometheus()
    for operation in Operation:
        values = dict.fromkeys(Metric, 1.0)
        prometheus.record(Measurement(operation=operation, values=values, model_name="m"))
    served = set(re.findall(r"^(\w+)\{", prometheus.text().decode(), re.MULTILINE))
    asked = {
        name
        for panel in committed("grafana.json")["panels"]
        for target in panel["targets"]
        for name in re.findall(r"(daskmr_\w+)", target["expr"])
    }
    assert len(asked) == len(METRICS)
    assert asked <= served


def test_cloudwatch_searches_for_sets_of_dimensions_that_are_written() -> None:
    widgets = committed("cloudwatch.json")["widgets"]
    searches = [
        each[0]["expression"]
        for widget in widgets
        for each in widget["properties"].get("metrics", ())
    ]
    assert len(searches) > len(METRICS)
    for search in searches:
        found = re.fullmatch(
            r"SEARCH\('\{(.*)\} MetricName=\"(\w+)\" Operation=\"(\w+)\"', '(Sum|Average)', 60\)",
            search,
        )
        assert found is not None, search
        namespace, operation_name, *dimensions = found[1].split(",")
        assert (namespace, operation_name) == (f'"{NAMESPACE}"', "Operation")
        assert Metric(found[2]) in METRICS
        assert tuple(dimensions) in DIMENSIONS[Operation(found[3])]


def test_panels_do_not_overlap() -> None:
    places = [
        (widget["x"] // 12, widget["y"] // 6) for widget in committed("cloudwatch.json")["widgets"]
    ]
    assert len(set(places)) == len(places)
