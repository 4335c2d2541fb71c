"""Two drivers of one job at the same time: one of them runs it, and there is one result."""

import io
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from daskmr.testing.images import write_image
from tests.chaos.checker import Checker, Feature, published
from tests.chaos.faults import TILE
from tests.chaos.launcher import Launcher
from tests.chaos.snapshot import Stored, snapshot

JOB = "race"
SIDE = 6
_VOLUME = 3
_PARAMETER = f"CustomAttributes=flood_volume={_VOLUME}"
_REFUSED = "is being run by"
_LEAD_S = 0.4


@dataclass
class Races:
    """Many such pairs, with a model that never answers the same twice.

    Parameters
    ----------
    folder
        Where everything is.
    scheduler
        Address of the Dask scheduler that all drivers use; "local" for a cluster each.
    seed
        Start of the random numbers.
    """

    folder: Path
    scheduler: str
    seed: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def run(self, n_races: int) -> dict[str, Any]:
        """So many races; figures."""
        drawn = random.Random(self.seed)  # noqa: S311 - moments, not secrets
        greys = np.arange(SIDE**2, dtype=np.uint16).reshape(SIDE, SIDE)
        pixels = np.kron(greys, np.ones((TILE, TILE), np.uint16))[None]
        self.scene = write_image(self.folder / "scene.tif", pixels)
        with Launcher(self.folder) as launcher:
            for number in range(n_races):
                folder = self.folder / f"race-{number}"
                folder.mkdir()
                statuses = self._race(launcher, folder, drawn.uniform(0.0, _LEAD_S))
                found = list(self._wrong(folder, statuses, launcher.log))
                self.wrong += [f"race {number}: {what}" for what in found]
                launcher.log.unlink()
                if not found:
                    shutil.rmtree(folder)
        return {
            "races": n_races,
            "ends": dict(self.ends),
            "wrong": len(self.wrong),
            "notes": self.wrong[:10],
        }

    def _race(self, launcher: Launcher, folder: Path, lead_s: float) -> list[int]:
        """Exit statuses of two drivers, the second of which starts so much later."""
        words = [
            "run", str(self.scene), "--model", "flood", "--param", _PARAMETER,
            "--store", str(folder / "store"), "--job-id", JOB, "--out", str(folder / "out"),
            "--scheduler", self.scheduler, "--tile-size", str(TILE), "--overlap", "0",
            "--tile-format", "NPY", "--no-skip-nodata", "--merge", "none",
        ]  # fmt: skip
        first = launcher.start(words)
        time.sleep(lead_s)
        second = launcher.start(words)
        return [launcher.wait(first), launcher.wait(second)]

    def _wrong(self, folder: Path, statuses: list[int], log: Path) -> Iterator[str]:
        """Everything that is not as after one run."""
        said = log.read_text(encoding="utf-8", errors="replace")
        n_refused = said.count(_REFUSED)
        self.ends[f"{statuses.count(0)} succeeded, {n_refused} refused"] += 1
        if statuses.count(0) + n_refused != len(statuses) or 0 not in statuses:
            yield f"exit statuses {statuses}: {said[-500:]}"
        stored = snapshot(str(folder / "store" / "jobs" / JOB))
        out = snapshot(str(folder / "out"))
        names = sorted(name for name in stored if name.startswith("manifest"))
        if names != ["manifest.json"]:
            yield f"manifests {names}"
            return
        manifest = json.loads(stored["manifest.json"].content)
        checker = Checker(calls=[], folder=stored, out=out, shape=(SIDE, SIDE))
        if checker.torn(manifest) or checker.unaccounted():
            yield f"results {checker.notes}"
        yield from _features(manifest, stored, {**stored, **out})


def _features(
    manifest: Mapping[str, Any], stored: Mapping[str, Stored], everywhere: Mapping[str, Stored]
) -> Iterator[str]:
    """Yield results that do not hold what the parts hold, each feature once."""
    parts = Counter(
        feature
        for name, part in stored.items()
        if name.startswith("regions/") and name.endswith(".parquet")
        for feature in _part(part)
    )
    if parts.total() != _VOLUME * SIDE**2:
        yield f"{parts.total()} features in the parts"
    for name in manifest["results"]:
        is_table = name.endswith(".parquet") and not name.startswith("tiles-")
        if is_table and Counter(published(everywhere[name])) != parts:
            yield f"{name} holds other features than the parts"


def _part(stored: Stored) -> list[Feature]:
    import pyarrow.parquet as pq

    names = ["label", "x_min", "y_min", "x_max", "y_max"]
    table = pq.read_table(io.BytesIO(stored.content), columns=names)
    labels, *sides = (table.column(name).to_pylist() for name in names)
    return list(zip(labels, zip(*sides, strict=True), strict=True))
