"""Dashboards from the table of metrics: ``python deploy/dashboards/generate.py``.

Writes cloudwatch.json and grafana.json beside this file; a test holds them to the table.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from daskmr.status import DIMENSIONS, METRICS, NAMESPACE, Kind, Metric, Operation

HERE = Path(__file__).parent
REGION = "${AWS::Region}"
"""CloudFormation puts the region in."""
WIDTH, HEIGHT = 12, 6
GRAFANA_WIDTH, GRAFANA_HEIGHT = 12, 8
LOGS = "${LogGroup}"

Panel = tuple[str, Metric, tuple[Operation, ...]]
PANELS: tuple[Panel, ...] = (
    ("Images that ended", Metric.INVOCATIONS, (Operation.IMAGE,)),
    ("Time of an image", Metric.DURATION, (Operation.IMAGE,)),
    ("Calls of models", Metric.INVOCATIONS, (Operation.MODEL,)),
    ("Time of a call", Metric.DURATION, (Operation.MODEL,)),
    (
        "Failures",
        Metric.ERRORS,
        (Operation.IMAGE, Operation.REGION, Operation.TILE, Operation.MODEL),
    ),
    ("Calls tried again", Metric.RETRIES, (Operation.MODEL,)),
    ("Jobs that waited for capacity", Metric.THROTTLES, (Operation.SCHEDULING,)),
    ("Part of an endpoint's capacity in use", Metric.UTILIZATION, (Operation.SCHEDULING,)),
    ("Requests taken and not ended", Metric.BUFFERED, (Operation.SCHEDULING,)),
    ("Requests that wait to be started", Metric.VISIBLE, (Operation.SCHEDULING,)),
)
"""Title, metric and operations of each panel; every metric has one."""


def cloudwatch() -> dict[str, Any]:
    """Return the body of a CloudWatch dashboard; ``${...}`` is for CloudFormation's Sub."""
    widgets = [
        _widget(number, title, {"metrics": list(_searches(metric, operations)), **_told(metric)})
        for number, (title, metric, operations) in enumerate(PANELS)
    ]
    query = "fields @timestamp, image_id, status, reason | filter message = 'StatusMonitorUpdate'"
    table = {
        "query": f"SOURCE '{LOGS}' | {query} | sort @timestamp desc | limit 50",
        "region": REGION,
        "view": "table",
    }
    return {"widgets": [*widgets, _widget(len(widgets), "Images", table, kind="log")]}


def _searches(metric: Metric, operations: tuple[Operation, ...]) -> Iterator[list[dict[str, str]]]:
    """Every value of a metric, whatever model and format it is of."""
    statistic = "Average" if METRICS[metric].kind is not Kind.COUNTER else "Sum"
    for operation in operations:
        for dimensions in DIMENSIONS[operation]:
            schema = ",".join((f'"{NAMESPACE}"', "Operation", *dimensions))
            wanted = f'{{{schema}}} MetricName="{metric}" Operation="{operation}"'
            yield [{"expression": f"SEARCH('{wanted}', '{statistic}', 60)"}]


def _told(metric: Metric) -> dict[str, Any]:
    return {
        "view": "timeSeries",
        "region": REGION,
        "yAxis": {"left": {"label": METRICS[metric].unit, "showUnits": False, "min": 0}},
    }


def _widget(
    number: int, title: str, properties: dict[str, Any], *, kind: str = "metric"
) -> dict[str, Any]:
    row, column = divmod(number, 2)
    place = {"x": column * WIDTH, "y": row * HEIGHT, "width": WIDTH, "height": HEIGHT}
    return {"type": kind, **place, "properties": {"title": title, **properties}}


def grafana() -> dict[str, Any]:
    """Return a dashboard of Grafana on what Prometheus collects."""
    panels = [_panel(number, said) for number, said in enumerate(PANELS)]
    source = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    return {
        "title": "daskmr",
        "uid": "daskmr",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source]},
        "panels": panels,
    }


def _panel(number: int, said: Panel) -> dict[str, Any]:
    title, metric, operations = said
    row, column = divmod(number, 2)
    spec = METRICS[metric]
    source = {"type": "prometheus", "uid": "${source}"}
    unit = {"Seconds": "s", "Percent": "percent"}.get(spec.unit, "short")
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "description": spec.meaning,
        "datasource": source,
        "gridPos": {
            "x": column * GRAFANA_WIDTH,
            "y": row * GRAFANA_HEIGHT,
            "w": GRAFANA_WIDTH,
            "h": GRAFANA_HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": letter, "datasource": source, "expr": expression, "legendFormat": legend}
            for letter, expression, legend in _expressions(metric, operations)
        ],
    }


def _expressions(
    metric: Metric, operations: tuple[Operation, ...]
) -> Iterator[tuple[str, str, str]]:
    """refId, PromQL and legend of each curve."""
    spec = METRICS[metric]
    of = f'{{operation=~"{"|".join(operations)}"}}'
    by = "operation, model_name"
    legend = "{{operation}} {{model_name}}"
    if spec.kind is Kind.COUNTER:
        yield "A", f"sum by ({by}) (increase({spec.prometheus}_total{of}[5m]))", legend
    elif spec.kind is Kind.GAUGE:
        yield "A", f"max by ({by}) ({spec.prometheus}{of})", legend
    else:
        for letter, share in (("A", 0.5), ("B", 0.99)):
            buckets = f"sum by (le, {by}) (rate({spec.prometheus}_bucket{of}[5m]))"
            told = f"{legend} p{share * 100:.0f}"
            yield letter, f"histogram_quantile({share}, {buckets})", told


def text(made: dict[str, Any]) -> str:
    """As it is kept in a file."""
    return json.dumps(made, indent=2) + "\n"


if __name__ == "__main__":
    (HERE / "cloudwatch.json").write_text(text(cloudwatch()))
    (HERE / "grafana.json").write_text(text(grafana()))
