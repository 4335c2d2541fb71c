"""Kills while results are written and published, with a reader that looks on all the time.

A reader sees no result or the whole result, whenever it looks and whoever is killed.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from daskmr.testing.images import write_image
from tests.chaos.faults import TILE
from tests.chaos.launcher import Launcher

JOB = "publication"
_POLL_S = 0.01
_KILLS_PER_STORE = 4
_N_CALIBRATIONS = 2
Told = Mapping[str, Any]
"""``bytes`` and ``sha256`` of a result."""


@dataclass
class Reader:
    """Looks at everything that has a final name, a hundred times a second, while the block runs.

    Parameters
    ----------
    job, out
        The job's folder, and where its results were asked for.
    whole
        What each result is when it is whole, by its name.
    """

    job: Path
    out: Path
    whole: Mapping[str, Told]
    n_looks: int = 0
    torn: list[str] = field(default_factory=list)
    _hashes: dict[Path, tuple[tuple[int, ...], Told]] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._looking)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()
        self.look()

    def look(self) -> None:
        """Check all results that are there, and that those of the manifest are."""
        self.n_looks += 1
        named = self._named()
        for folder in (self.job, self.out):
            for path in folder.glob("*.*"):
                if path.suffix in {".parquet", ".geojson"} and not path.name.startswith("."):
                    self._check(path)
        for name, told in named.items():
            path = (self.job if (self.job / name).exists() else self.out) / name
            if not path.exists() or self._told(path) != told:
                self.torn.append(f"{name} is not what the manifest says")

    def _looking(self) -> None:
        while not self._stop.wait(_POLL_S):
            self.look()

    def _named(self) -> Mapping[str, Told]:
        """Return the results of the manifest; none without one."""
        try:
            content = (self.job / "manifest.json").read_bytes()
        except FileNotFoundError:
            return {}
        try:
            found: Mapping[str, Told] = json.loads(content)["results"]
        except (ValueError, KeyError) as error:
            self.torn.append(f"manifest.json: {error}: {content[:80]!r}")
            return {}
        return found

    def _check(self, path: Path) -> None:
        told = self._told(path)
        if told != self.whole.get(path.name):
            self.torn.append(f"{path.name}: {told['bytes']} bytes")

    def _told(self, path: Path) -> Told:
        """Length and hash of a file, read again whenever it is another one or was written to."""
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            version = (about.st_ino, about.st_size, about.st_mtime_ns)
            if path not in self._hashes or self._hashes[path][0] != version:
                content = file.read()
                told = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                self._hashes[path] = version, told
        return self._hashes[path][1]


@dataclass
class PublicationKills:
    """A job whose regions are all committed, published by processes that are killed.

    Parameters
    ----------
    folder
        Where everything is.
    seed
        Start of the random numbers.
    side
        Rows and columns of tiles, with a hundred features each.
    """

    folder: Path
    seed: int = 0
    side: int = 10
    kills: Counter[str] = field(default_factory=Counter)
    torn: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    n_looks: int = 0

    def run(self, n_kills: int) -> dict[str, Any]:
        """Kill so many publishing processes; figures."""
        self.random = random.Random(self.seed)  # noqa: S311 - moments, not secrets
        with Launcher(self.folder) as self.launcher:
            self._prepare()
            number = 0
            while sum(self.kills.values()) < n_kills:
                self._tried(number, n_kills)
                number += 1
        return {
            "kills": sum(self.kills.values()),
            "kills_by_moment": dict(self.kills),
            "stores": number,
            "looks": self.n_looks,
            "torn": len(self.torn),
            "wrong": len(self.wrong),
            "notes": [*self.torn, *self.wrong][:10],
        }

    def _prepare(self) -> None:
        """Run the job once, and measure how long its publication takes."""
        greys = np.arange(self.side**2, dtype=np.uint16).reshape(self.side, self.side)
        pixels = np.kron(greys, np.ones((TILE, TILE), np.uint16))[None]
        self.scene = write_image(self.folder / "scene.tif", pixels)
        first = self.folder / "first"
        assert self.launcher.run(self._words(first)) == 0, self.launcher.log.read_text()
        self.done = first / "store" / "jobs" / JOB
        self.manifest = _wherever(json.loads((self.done / "manifest.json").read_text()))
        spans = [self._span(self._fresh(f"span-{i}")) for i in range(_N_CALIBRATIONS)]
        self.span = min(start for start, _ in spans), max(end for _, end in spans)

    def _words(self, folder: Path) -> list[str]:
        return [
            "run", str(self.scene), "--model", "flood", "--store", str(folder / "store"),
            "--job-id", JOB, "--out", str(folder / "out"), "--workers", "1", "--tile-format", "NPY",
            "--tile-size", str(TILE), "--overlap", "0", "--no-skip-nodata", "--merge", "none",
        ]  # fmt: skip

    def _fresh(self, name: str) -> Path:
        """Return a store in which all regions are committed, and nothing is published."""
        job = self.folder / name / "store" / "jobs" / JOB
        (job / "regions").mkdir(parents=True)
        (self.folder / name / "out").mkdir()
        for path in [self.done / "request.json", *(self.done / "regions").glob("*.parquet")]:
            os.link(path, job / path.relative_to(self.done))
        return self.folder / name

    def _span(self, folder: Path) -> tuple[float, float]:
        """Return seconds from the lease to the first result, and to the end."""
        pid = self.launcher.start(self._words(folder))
        begun = self._held(folder, pid)
        while not list((folder / "out").glob(f"{JOB}*")) and _is_alive(pid):
            time.sleep(_POLL_S / 5)
        first = time.monotonic() - begun
        assert self.launcher.wait(pid) == 0, self.launcher.log.read_text()
        return first, time.monotonic() - begun

    def _held(self, folder: Path, pid: int) -> float:
        """Monotonic seconds at which a process has taken the lease."""
        lease = folder / "store" / "jobs" / JOB / "lease.json"
        while not (lease.exists() and f':{pid}"' in lease.read_text()) and _is_alive(pid):
            time.sleep(_POLL_S / 5)
        return time.monotonic()

    def _tried(self, number: int, n_kills: int) -> None:
        """A few kills in one store, then a run to the end."""
        folder = self._fresh(f"try-{number}")
        job = folder / "store" / "jobs" / JOB
        reader = Reader(job, folder / "out", self.manifest["results"])
        with reader:
            for _ in range(min(_KILLS_PER_STORE, n_kills - sum(self.kills.values()))):
                self._killed(folder)
                if (job / "manifest.json").exists():
                    break
            status = self.launcher.run(self._words(folder))
        self.n_looks += reader.n_looks
        self.torn += [f"store {number}: {what}" for what in reader.torn]
        found = _wherever(json.loads((job / "manifest.json").read_text()))
        if status or found != self.manifest or (job / "manifests").exists():
            self.wrong.append(f"store {number}: exit status {status}, manifest {found}")
        shutil.rmtree(folder)

    def _killed(self, folder: Path) -> None:
        """One kill at a random moment from a little before the first result to the end."""
        at = time.time()
        pid = self.launcher.start(self._words(folder))
        begun = self._held(folder, pid)
        start, end = self.span
        moment = begun + self.random.uniform(0.95 * start, end)
        while time.monotonic() < moment and _is_alive(pid):
            time.sleep(_POLL_S / 5)
        os.kill(pid, signal.SIGKILL)
        if self.launcher.wait(pid) != -signal.SIGKILL:
            return  # it had ended
        written = {p.name for p in folder.rglob("*.*") if p.is_file() and p.stat().st_mtime > at}
        results = written & {*self.manifest["results"], "report.json"}
        when = "among the results" if results else "before the first result"
        self.kills["after the manifest" if "manifest.json" in written else when] += 1


def _wherever(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest without the folder that results were delivered to."""
    deliveries = [{**said, "to": ""} for said in manifest["deliveries"]]
    return {**manifest, "deliveries": deliveries}


def _is_alive(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
