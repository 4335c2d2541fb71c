"""``python -m benchmarks [NAME ...]``: run them, print a table, write benchmarks/results/*.json."""

import json
import os
import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import (
    capacity,
    encoding,
    endpoint,
    geolocation,
    merge_memory,
    merge_quality,
    merge_speed,
    planning,
    reading,
    service,
)
from benchmarks.figure import Figure

ALL = {
    "planning": planning.figures,
    "merging": merge_speed.figures,
    "merge_quality": merge_quality.figures,
    "reading": reading.figures,
    "endpoint": endpoint.figures,
    "capacity": capacity.figures,
    "encoding": encoding.figures,
    "geolocation": geolocation.figures,
    "service": service.figures,
}
LONG = {"merge_memory": merge_memory.figures}
"""Only when they are named: these take ten minutes."""


def main() -> None:
    """Run the benchmarks named on the command line, or all."""
    names = sys.argv[1:] or list(ALL)
    found: list[Figure] = []
    print(f"{'benchmark':<58}{'value':>10}  {'budget':<12}")
    for name in names:
        for figure in (ALL | LONG)[name]():
            found.append(figure)
            mark = "" if figure.holds else "  MISSED"
            print(f"{figure.name:<58}{figure.value:>10.3f}  {figure.budget:<12}{mark}", flush=True)
            print(f"    {figure.detail}", flush=True)
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    content = {"machine": machine, "figures": [asdict(figure) for figure in found]}
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    (folder / f"{stamp}.json").write_text(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
