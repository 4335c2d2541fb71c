"""A world without processes: drivers, workers and a store that fail by seed, in virtual time.

The dispatcher, the retry policy, the lease and the job's folder are the real ones; workers, the
store and the clock are simulated. A whole job with its crashes takes some milliseconds, and a seed
repeats it.
"""

import asyncio
import random
import selectors
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from daskmr.core.grid import Region, RegionGrid, Size, TileGrid, Window
from daskmr.core.timings import Effort
from daskmr.dispatch.dispatcher import Dispatcher
from daskmr.dispatch.retry_policy import RetryPolicy, cause_of
from daskmr.errors import CanceledError, DaskmrError, StoreError, WorkerLostError
from daskmr.store.jobs import JobFolder
from daskmr.store.lease import BEAT_S, Lease
from daskmr.store.object_store import ObjectStore
from daskmr.worker.cancellation import TAKEN_OVER
from daskmr.worker.task import RegionSummary

SIDE, TILES = 3, 3
"""Regions along each side of the image, and tiles of a region."""
LATENCY_S = 0.2
_END_S = 3600.0


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next thing that is due."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Virtual seconds."""
        return self.now


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if not events:
            assert timeout is not None, "no event is due and none can come"
            self._loop.now += timeout
        return events


class KilledError(BaseException):
    """Raised in a driver that was killed."""


@dataclass
class MemoryStore:
    """An object store in memory whose writes fail now and then, before or after they happen."""

    chance: Callable[[float], bool]
    url: str = "memory"
    content: dict[str, bytes] = field(default_factory=dict)
    written_at: dict[str, float] = field(default_factory=dict)
    fault: float = 0.0

    def create(self, name: str, content: bytes) -> bool:
        self._fail("before")
        if name not in self.content:
            self.content[name] = content
            self.written_at[name] = asyncio.get_running_loop().time()
        self._fail("after")
        return self.content[name] == content

    def read(self, name: str) -> bytes | None:
        return self.content.get(name)

    def exists(self, name: str) -> bool:
        return name in self.content

    def swap(self, name: str, content: bytes, *, expected: bytes) -> bool:
        self._fail("before")
        if self.content.get(name) != expected:
            return False
        self.content[name] = content
        self._fail("after")
        return True

    def names(self, prefix: str) -> list[str]:
        return sorted(name for name in self.content if name.startswith(prefix))

    def _fail(self, when: str) -> None:
        if self.chance(self.fault):
            msg = f"the answer of the store was lost {when} the write"
            raise StoreError(msg)


@dataclass
class World:
    """One job in one image; everything that goes wrong with it is drawn from the seed."""

    seed: int
    n_workers: int = 2
    calls: list[tuple[float, str, int]] = field(default_factory=list)
    """Calls of the model: time in virtual seconds, region, number of the driver."""
    kills: Counter[str] = field(default_factory=Counter)
    n_started: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311 - faults, not secrets
        self.objects = MemoryStore(self.chance, fault=self.random.choice([0.0, 0.01, 0.05]))
        self.folder = _folder(self.objects)
        self.poison = {self.random.randrange(SIDE * SIDE)} if self.chance(0.3) else set()
        grid = TileGrid(
            window=Window(row=0, col=0, height=SIDE, width=SIDE * TILES),
            tile=Size.parse(1),
            overlap=Size.parse(0),
        )
        self.regions = list(RegionGrid(grid=grid, tiles_per_side=Size(height=1, width=TILES)))
        self.poisoned = {self.regions[i].id for i in self.poison}

    def chance(self, probability: float) -> bool:
        """Draw True with a probability."""
        return self.random.random() < probability

    def run(self) -> None:
        """Run the job from its first driver to its result."""
        loop = VirtualLoop()
        try:
            loop.run_until_complete(asyncio.wait_for(self._run_drivers(), _END_S))
        finally:
            loop.run_until_complete(_cancel_others())
            loop.close()

    async def _run_drivers(self) -> None:
        """Start drivers one after the other, sometimes two at once, until there is a result."""
        n_kills = self.random.choice([0, 1, 3, 6])
        while not self.objects.exists("manifest.json"):
            drivers = [self._driver() for _ in range(1 + self.chance(0.2))]
            pause = self.random.expovariate(1 / 3.0) if n_kills > 0 else None
            await asyncio.wait([driver.task for driver in drivers], timeout=pause)
            for driver in drivers:
                if not driver.task.done():
                    n_kills -= 1
                    self.kills["driver"] += 1
                    driver.kill(dies_with_workers=self.chance(0.7))
            await asyncio.gather(*(driver.task for driver in drivers), return_exceptions=True)

    def _driver(self) -> "Driver":
        self.n_started += 1
        return Driver(self, self.n_started)


class Driver:
    """One process that runs the job."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number, self.is_dead = world, number, False
        self.pool = Workers(world, self)
        self.lease = Lease(
            cast("ObjectStore", world.objects),
            clock=asyncio.get_running_loop().time,
            owner=f"elsewhere:{number}",
        )
        self.task = asyncio.ensure_future(self._live())

    def kill(self, *, dies_with_workers: bool) -> None:
        """End the driver without a trace, with its own cluster or without."""
        self.is_dead = True
        if dies_with_workers:
            self.pool.end()
        self.task.cancel()

    async def _live(self) -> None:
        beats = asyncio.ensure_future(self._beat())
        try:
            while not self.lease.attempt():
                await asyncio.sleep(BEAT_S / 5)
            if self.lease.epoch:
                self.world.folder.request_stop(self.lease.epoch - 1, TAKEN_OVER)
            await self._run()
            await self._publish()
            self.lease.release()
        except (DaskmrError, KilledError):
            return  # the next one goes on
        finally:
            beats.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            if self.lease._written and not self.world.chance(0.05):  # noqa: SLF001 - has it
                try:
                    if not self.lease.beat():
                        return
                except StoreError:
                    continue

    async def _run(self) -> None:
        folder = self.world.folder
        there = set(folder.part_names())
        missing = [r for r in self.world.regions if r.id not in there]
        attempts = RetryPolicy.of(folder.attempts())
        await Dispatcher(missing, self.pool, self, attempts, patience_s=600.0).run()

    async def _publish(self) -> None:
        """Publish the content of the parts as the result."""
        folder = self.world.folder
        parts = {
            name: folder.objects.read(f"regions/{name}.parquet") for name in folder.part_names()
        }
        await asyncio.sleep(self.world.random.random())
        await self.check()
        contents = {name: (content or b"").decode() for name, content in sorted(parts.items())}
        folder.finish({"by": self.number}, contents)

    async def check(self) -> None:
        if self.is_dead:
            raise KilledError
        if self.lease.lost:
            msg = "taken over"
            raise StoreError(msg)

    async def ended(self, region: Region, summary: RegionSummary) -> None:
        assert self.world.objects.exists(f"regions/{region.id}.parquet"), summary

    async def record_attempt(self, region: Region, number: int, error: Exception) -> None:
        self.world.folder.record_attempt(region.id, number, {"cause": cause_of(error)})

    async def give_up(self, region: Region, reason: str, *, message: str) -> None:
        del message
        self.world.objects.create(f"regions/{region.id}.parquet", reason.encode())


class Workers:
    """The workers of one driver; they die by themselves, by poison, or with it."""

    def __init__(self, world: World, driver: Driver) -> None:
        self.world, self.driver, self.is_over = world, driver, False
        self.running: dict[int, set[asyncio.Task[RegionSummary]]] = {
            number: set() for number in range(world.n_workers)
        }
        self.chaos = asyncio.ensure_future(self._chaos(world.random.choice([0.0, 0.05, 0.2])))

    def end(self) -> None:
        """End all workers at once."""
        self.is_over = True
        self.chaos.cancel()
        for number in self.running:
            self._die(number)

    async def slots(self) -> int:
        return 0 if self.world.chance(0.02) else 2 * len(self.running)

    async def run(self, region: Region, attempt: int, *, alone: bool) -> RegionSummary:
        number = self.world.random.randrange(len(self.running))
        task = asyncio.ensure_future(self._region(region, number, alone=alone))
        self.running[number].add(task)
        task.add_done_callback(self.running[number].discard)
        task.add_done_callback(lambda it: it.cancelled() or it.exception())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                msg = f"{region.id}: worker {number} died in attempt {attempt}"
                raise WorkerLostError(msg) from None
            raise  # the driver is gone, and the worker does not know

    async def _region(self, region: Region, number: int, *, alone: bool) -> RegionSummary:
        world, name = self.world, f"regions/{region.id}.parquet"
        epoch = self.driver.lease.epoch
        for _ in range(TILES):
            if world.folder.stop_reason(epoch):
                msg = "stopped"
                raise CanceledError(msg)
            if world.objects.exists(name):
                break
            world.calls.append((asyncio.get_running_loop().time(), region.id, self.driver.number))
            await asyncio.sleep(LATENCY_S * (0.5 + world.random.random()))
            if region.id in world.poisoned:
                if alone:
                    msg = "its process died"
                    raise WorkerLostError(msg, alone=True)
                world.kills["poison"] += 1
                self._die(number)
                await asyncio.sleep(0)
        if world.chance(0.01):
            msg = "a task that fails"
            raise ValueError(msg)
        world.objects.create(name, f"features of {region.id}".encode())
        return RegionSummary(region=region.id, outcomes={}, n_features=0, effort=Effort())

    async def _chaos(self, rate: float) -> None:
        while rate and not self.is_over:
            await asyncio.sleep(self.world.random.expovariate(rate))
            self.world.kills["worker"] += 1
            self._die(self.world.random.randrange(len(self.running)))

    def _die(self, number: int) -> None:
        for task in list(self.running[number]):
            task.cancel()


async def _cancel_others() -> None:
    """Cancel all other tasks and wait for them."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _folder(objects: MemoryStore) -> JobFolder:
    class MemoryJobFolder(JobFolder):
        __slots__ = ()

        @property
        def objects(self) -> Any:
            return objects

    return MemoryJobFolder(url="memory/jobs/job")
