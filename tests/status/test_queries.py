"""Queries of Logs Insights that the documentation gives, run over the log of real jobs."""

import io
import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest

import daskmr
from daskmr.status import JsonHandler
from daskmr.testing.images import write_image

ROOT = Path(__file__).parents[2]
ANCESTOR = 'fields @timestamp, message, job_id, region_id | filter tag like "TIMELINE EVENT"'
"""The query of Model Runner's README."""
Records = list[dict[str, Any]]


def queries() -> list[str]:
    """All queries of the pages, one line each."""
    found = []
    for page in ("operations.md", "service.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        for block in re.findall(r"```\n((?:fields|filter).*?)```", text, re.DOTALL):
            found += re.split(r"\n(?=fields|filter)", re.sub(r"\n\|", " |", block.strip()))
    return found


def run_query(query: str, records: Records) -> Records:
    """What a query of the forms on the pages selects."""
    rows = [{"@timestamp": record["time"], **record} for record in records]
    shown: list[str] = []
    for clause in map(str.strip, query.split("|")):
        verb, _, rest = clause.partition(" ")
        if verb == "fields":
            shown = [name.strip() for name in rest.split(",")]
        elif verb == "filter":
            tests = re.findall(r'(\S+) (=|like) "([^"]*)"', rest)
            assert " and ".join(f'{n} {op} "{v}"' for n, op, v in tests) == rest
            for name, op, value in tests:
                rows = [r for r in rows if _matches(str(r.get(name, "")), op, value)]
        elif verb == "stats":
            column, name, key = re.fullmatch(r"sum\((\w+)\) as (\w+) by (\w+)", rest).groups()  # type: ignore[union-attr]
            sums: dict[str, int] = defaultdict(int)
            for row in rows:
                sums[row[key]] += row[column]
            rows = [{key: each, name: n} for each, n in sums.items()]
        else:
            assert verb == "sort"
    return [{name: row.get(name) for name in shown} for row in rows] if shown else rows


def _matches(text: str, op: str, value: str) -> bool:
    return text == value if op == "=" else value in text


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The JSON log of daskmr."""
    stream = io.StringIO()
    handler, logger = JsonHandler(stream), logging.getLogger("daskmr")
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(before)


@pytest.fixture
def records(log: io.StringIO, tmp_path: Path, client: Any) -> Records:
    """Records of two jobs of several regions, in threads and on a cluster, with trouble."""
    pixels = np.ones((1, 600, 64), np.uint8)
    pixels[0, 70, 1] = 7
    image = str(write_image(tmp_path / "x.tif", pixels))

    def model(tile: Any) -> dict[str, Any]:
        if (tile == 7).any():
            msg = "no"
            raise ValueError(msg)
        return {"boxes": [[1, 1, 5, 5]], "scores": [0.5]}

    def progress(_state: Any) -> None:
        msg = "the bar is closed"
        raise OSError(msg)

    options: dict[str, Any] = {"tile_size": 32, "overlap": 0, "on_progress": progress}
    with dask.config.set({"daskmr.status": {"log": {}}}):
        for name, how in {"JOB": {"scheduler": "threads"}, "harbour": {"client": client}}.items():
            with pytest.warns(UserWarning, match="1 of 38 tiles failed"):
                daskmr.run(image, model, job_id=name, **how, **options)
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_every_record_of_a_job_has_its_name_and_that_of_its_region(records: Records) -> None:
    assert {record["job_id"] for record in records} == {"JOB", "harbour"}
    assert any(record["level"] == "WARNING" for record in records)  # of the progress callback
    ended = [record for record in records if record["message"] == "region ended"]
    assert len(ended) > 4
    for record in ended:
        assert record["region_id"] == record["region"]
        assert record["succeeded"] + record["failed"] + record["skipped"] > 0


def test_every_documented_query_finds_its_records(records: Records) -> None:
    documented = queries()
    assert len(documented) == 5
    found = {query: run_query(query, records) for query in [*documented, ANCESTOR]}
    about_scheduling = [query for query in found if "SCHEDULER EVENT" in query]
    assert len(about_scheduling) == 1  # of a listener, which none of these jobs has
    for query, rows in found.items():
        assert rows or query in about_scheduling, query
    (failures,) = [rows for query, rows in found.items() if "stats" in query]
    assert failures == [
        {"job_id": "JOB", "failed_tiles": 1},
        {"job_id": "harbour", "failed_tiles": 1},
    ]
    regions = {row["region_id"] for row in run_query('filter region_id like "r"', records)}
    assert {row.get("region_id") for row in run_query(ANCESTOR.split("|")[1], records)} >= regions
