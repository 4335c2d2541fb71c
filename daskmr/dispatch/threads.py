"""Regions in threads of this process, or in the calling thread alone; needs no Dask cluster."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

import numpy as np

from daskmr.core.grid import Region, RegionGrid
from daskmr.dispatch.graph import ArrayBlock
from daskmr.dispatch.preflight import check_job
from daskmr.dispatch.progress import Ticker, Tracker
from daskmr.image.base import Source
from daskmr.lifecycle.open_job import OpenJob
from daskmr.planning.execution import all_slots
from daskmr.worker.isolation import run_alone
from daskmr.worker.region import process_region
from daskmr.worker.task import JobContext, RegionSummary

_Task = tuple["Future[RegionSummary]", Callable[[], RegionSummary]]


class ThreadWorkers:
    """Threads of this process; see `daskmr.dispatch.workers.RegionWorkers`.

    Parameters
    ----------
    n_threads
        How many regions run at once; 0 runs one at a time in the thread that calls `drive`.
    """

    dashboard = ""
    can_reconnect = False

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._serve, name=f"daskmr-region-{number}", daemon=True)
            for number in range(n_threads)
        ]

    @property
    def place(self) -> str:
        """Where they run, for people."""
        return f"{self.n_threads} threads of this process" if self.n_threads else "this thread"

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Wait for regions that run; a stopped job lets them end after the tile that they are at.

        A second Ctrl-C ends this wait, and the threads end with the process.
        """
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def n_processes(self) -> int:
        """Return 1: this process."""
        return 1

    def coordinate(self) -> bool:
        """Return False: one process has nobody to share with."""
        return False

    def check(self, job: JobContext) -> None:
        """Raise before the first tile if no tile of a job could succeed; see `check_job`."""
        with ThreadPoolExecutor(1) as pool:  # the loop of a notebook runs in this thread
            name = pool.submit(check_job, job).result()
        job.parts.check(name)

    @contextmanager
    def executor(
        self, job: OpenJob, context: JobContext, tracker: Tracker
    ) -> Iterator["ThreadExecutor"]:
        """Yield the executor of a job's regions."""
        source = job.plan.image.source
        yield ThreadExecutor(
            job=context,
            source_of=(lambda _: source) if source else _ArrayRegions(context, job.plan.data.data),
            tracker=tracker,
            tasks=self._tasks,
            n_threads=self.n_threads or 1,
            part=job.execution.slots,
        )

    def drive(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a dispatcher on a loop of its own; without threads its regions run here meanwhile."""
        with _loop() as loop:
            driver = asyncio.run_coroutine_threadsafe(work, loop)
            try:
                if not self.n_threads:
                    driver.add_done_callback(lambda _: self._tasks.put(None))
                    while (task := self._tasks.get()) is not None:
                        _run(*task)
                driver.result()
            except BaseException:
                driver.cancel()
                raise

    def _serve(self) -> None:
        """Run tasks in a thread of ours until there are no more."""
        while (task := self._tasks.get()) is not None:
            try:
                _run(*task)
            except BaseException as error:  # noqa: BLE001 - a model that calls sys.exit, say
                task[0].set_exception(RuntimeError(f"{type(error).__name__}: {error}"))


def _run(future: "Future[RegionSummary]", act: Callable[[], RegionSummary]) -> None:
    """Run a task; only what ends the process, such as Ctrl-C, is raised."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(act())
    except Exception as error:  # noqa: BLE001 - the dispatcher decides
        future.set_exception(error)


@dataclass(frozen=True, kw_only=True)
class ThreadExecutor:
    """Executor of regions; see `daskmr.dispatch.dispatcher.Executor`."""

    job: JobContext
    """The job."""
    source_of: Callable[[Region], Source]
    """Returns where the pixels of a region come from."""
    tracker: Tracker
    """Hears of tiles that have ended."""
    tasks: "SimpleQueue[_Task | None]"
    """Takes regions to run."""
    n_threads: int
    """Regions at once."""
    part: Callable[[int], int] = all_slots
    """Of so many threads, those that the job may fill."""

    async def slots(self) -> int:
        """Return the threads that the job may fill."""
        return self.part(self.n_threads)

    async def run(self, region: Region, attempt: int, *, alone: bool) -> RegionSummary:
        """Run one region."""
        del attempt
        future: Future[RegionSummary] = Future()
        self.tasks.put((future, lambda: self._run(region, alone=alone)))
        return await asyncio.wrap_future(future)

    def _run(self, region: Region, *, alone: bool) -> RegionSummary:
        run = run_alone if alone else self._in_thread
        return run(self.job, region, self.source_of(region))

    def _in_thread(self, job: JobContext, region: Region, source: Source) -> RegionSummary:
        tick = Ticker(job.job_id, lambda _, counts: self.tracker.event((0.0, counts)))
        return process_region(job, region, source, tick=tick)


@dataclass(frozen=True)
class _ArrayRegions:
    """Computes the pixels of a region from an array that cannot be opened again."""

    job: JobContext
    data: Any
    """dask.array.Array, shape (band, y, x): the grid's window of the image."""

    def __call__(self, region: Region) -> ArrayBlock:
        regions: RegionGrid = self.job.regions
        window, whole = regions.grid.region_window(region), regions.grid.window
        row, col = window.row - whole.row, window.col - whole.col
        part = self.data[:, row : row + window.height, col : col + window.width]
        pixels = np.asarray(part.compute(scheduler="synchronous"))
        return ArrayBlock(self.job.info, window, pixels)


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Yield an event loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="daskmr-dispatcher", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        asyncio.run_coroutine_threadsafe(_finish(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _finish() -> None:
    """Cancel what still runs on this loop, and wait for it."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()
