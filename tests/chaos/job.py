"""One job whose processes are killed until it has ended all the same."""

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from daskmr.testing.images import write_image
from tests.chaos.checker import Checker, CheckResult
from tests.chaos.faults import TILE, FaultPlan
from tests.chaos.killer import Kill, Killer, planned
from tests.chaos.processes import DriverProcess, Service
from tests.chaos.server import calls
from tests.chaos.snapshot import snapshot

RATES = {
    "http_500": 0.04, "http_503": 0.04, "reset": 0.03, "cut_off": 0.03, "garbage": 0.02,
    "slow": 0.02,
}  # fmt: skip
_TICK_S = 0.05
_LIMIT_S, _LIMIT_PER_KILL_S = 120.0, 30.0
_MOST_ODD = 5
_ENDED = frozenset({0, 3})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one job."""

    seed: int
    kills: Counter[str]
    """Kills that hit, by kind."""
    findings: CheckResult
    """What the checker found."""
    odd: Sequence[str]
    """Ends of drivers that nobody had killed, hangs, wrong ends after SIGTERM."""
    n_starts: int
    """Drivers that it took."""
    n_regions: int
    """Parts of the result."""
    wall_s: float

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong; calls made twice are judged over many jobs."""
        return not any(self.findings.faults.values()) and not self.odd

    def line(self) -> str:
        """Return one line for people."""
        bad = {name: n for name, n in self.findings.faults.items() if n}
        kills = sum(self.kills.values())
        told = (
            "ok" if self.is_good else f"FAILED {bad} {list(self.odd)} {list(self.findings.notes)}"
        )
        return (
            f"seed {self.seed}: {kills} kills, {self.n_starts} drivers, {self.n_regions} regions, "
            f"{self.findings.n_tiles} tiles, {self.findings.extra_percent:.1f} % extra, "
            f"{self.wall_s:.0f} s: {told}"
        )


@dataclass
class ChaosJob:
    """One job; everything that happens to it follows from the seed, but for the exact moments.

    Parameters
    ----------
    seed
        Start of all random numbers.
    folder
        Where its files are.
    n_kills
        Kills that are planned; one that comes too late hits nobody.
    bucket
        ``s3://`` URL of the store; None for a folder.
    endpoint
        URL of the S3 server.
    latency_s
        Seconds that the model takes for a tile.
    sides
        Rows and columns of tiles, of which two are drawn.
    """

    seed: int
    folder: Path
    n_kills: int
    bucket: str | None = None
    endpoint: str | None = None
    latency_s: float = 0.15
    sides: Sequence[int] = (14, 15, 16)
    kills: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Draw the job and its faults."""
        self.random = random.Random(self.seed)  # noqa: S311 - faults, not secrets
        self.shape = self.random.choice(self.sides), self.random.choice(self.sides)
        self.faults = FaultPlan(
            seed=self.seed,
            n_tiles=self.shape[0] * self.shape[1],
            n_refused=self.random.choice([0, 0, 1, 3]),
            latency_s=self.latency_s,
            rates=RATES,
        )
        self.merge = self.random.choice(["none", "nms"])
        self.plan: list[Kill] = planned(self.random, self.n_kills)
        self.job_id = f"chaos-{self.seed}"
        self.log = self.folder / "calls.jsonl"
        place = self.bucket or str(self.folder)
        self.store, self.out = f"{place}/store", f"{place}/out-{self.seed}"

    def run(self) -> Outcome:
        """Run it to its end, and check it."""
        started = time.monotonic()
        with self.running() as (driver, model):
            status = self._kept_alive(driver, model)
            found = self.checker()
            return Outcome(
                seed=self.seed,
                kills=self.kills,
                findings=found.check(status),
                odd=self.odd,
                n_starts=driver.n_starts,
                n_regions=len(found.parts),
                wall_s=time.monotonic() - started,
            )

    @contextmanager
    def running(self) -> Iterator[tuple[DriverProcess, Service]]:
        """Yield the first driver, and the model server."""
        self.folder.mkdir(parents=True, exist_ok=True)
        scene = self.folder / "scene.tif"
        if not scene.exists():
            greys = np.arange(self.faults.n_tiles, dtype=np.uint16).reshape(self.shape)
            write_image(scene, np.kron(greys, np.ones((TILE, TILE), np.uint16))[None])
        arguments = ["--log", self.log, "--seed", self.seed, "--faults", self.faults]
        with Service("tests.chaos.server", arguments) as model:
            words = self._words(scene, f"{model.url}/invocations")
            with DriverProcess(words, self.folder, environment(self.endpoint)) as driver:
                yield driver, model

    def checker(self) -> Checker:
        """Return the job as it is now."""
        return Checker(
            calls=calls(self.log),
            folder=snapshot(f"{self.store}/jobs/{self.job_id}", endpoint=self.endpoint),
            out=snapshot(self.out, endpoint=self.endpoint),
            shape=self.shape,
            is_bucket=self.bucket is not None,
        )

    def _words(self, scene: Path, model: str) -> list[str]:
        return [
            "run", str(scene), "--model", model, "--store", self.store, "--job-id", self.job_id,
            "--out", self.out, "--workers", "2", "--concurrency", "8", "--tile-size", str(TILE),
            "--overlap", "0", "--tile-format", "NPY", "--no-skip-nodata", "--merge", self.merge,
        ]  # fmt: skip

    def _kept_alive(self, driver: DriverProcess, model: Service) -> int:
        """Exit status of the driver that ended the job; -1 when none did."""
        killer = Killer(driver, model, self.random)
        waiting, due_at = list(self.plan), None
        end = time.monotonic() + _LIMIT_S + _LIMIT_PER_KILL_S * self.n_kills
        while time.monotonic() < end:
            status = driver.poll()
            if status in _ENDED:
                return int(status)
            if status is not None and not self._restarted(driver, status):
                return status
            if waiting and due_at is None and self._progress() >= waiting[0].progress:
                due_at = time.monotonic() + waiting[0].delay_s
            if due_at is not None and time.monotonic() >= due_at and self._struck(killer, waiting):
                due_at = None
            time.sleep(_TICK_S)
        self.odd.append(f"hangs: the driver {driver.pid} has not ended the job in time")
        return -1

    def _progress(self) -> float:
        """Return calls of the model, as a share of the tiles."""
        if not self.log.exists():
            return 0.0
        return self.log.read_bytes().count(b"\n") / self.faults.n_tiles

    def _struck(self, killer: Killer, waiting: list[Kill]) -> bool:
        victim = waiting[0].victim
        try:
            has_hit = killer.strike(victim)
        except (TimeoutError, ValueError) as error:
            self.odd.append(str(error))
            has_hit = True
        if has_hit:
            self.kills[str(victim)] += 1
            del waiting[0]
        return has_hit

    def _restarted(self, driver: DriverProcess, status: int) -> bool:
        """Start a driver again that ended by itself and early, but not for ever."""
        last = driver.said.read_text(encoding="utf-8", errors="replace").splitlines()[-1]
        self.odd.append(f"a driver ended with {status}: {last}")
        if len(self.odd) >= _MOST_ODD:
            return False
        driver.start()
        return True


def environment(endpoint: str | None) -> Mapping[str, str]:
    """What makes all clients of S3 find a server on loopback."""
    if endpoint is None:
        return {}
    return {
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        **credentials(),
    }


def credentials() -> dict[str, Any]:
    """Those of the environment, else any."""
    import os

    names = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    return {name: os.environ.get(name, value) for name, value in names.items()}
