"""Stacks of a worker of the shared cluster that does not answer any more, for whoever looks for it.

A preload of its workers; `watching` asks for the stacks, which C code writes even when nothing in
the process can run Python.
"""

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time
from typing import Any

FOLDER = "TEST_STACKS_FOLDER"
"""Environment variable of the folder that stacks are written to."""
_LOOK_S = 1.0
_WRITE_S = 2.0


def dask_setup(_worker: Any) -> None:
    """Write the stacks of all threads whenever SIGUSR1 comes."""
    file = (Path(os.environ[FOLDER]) / f"{os.getpid()}.txt").open("w")
    faulthandler.register(signal.SIGUSR1, file=file, all_threads=True)


@contextmanager
def watching(
    cluster: Any, folder: Path, *, silent_s: float = 30.0, tell: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Tell the stacks of each worker that is silent for long; without *tell* on the real stderr."""
    is_over = threading.Event()

    def watch() -> None:
        known: set[int] = set()
        while not is_over.wait(_LOOK_S):
            for worker in list(cluster.scheduler.workers.values()):
                pid = _pid(cluster, worker.name)
                if pid and pid not in known and time() - worker.last_seen > silent_s:
                    known.add(pid)
                    with suppress(OSError):
                        os.kill(pid, signal.SIGUSR1)
                        is_over.wait(_WRITE_S)
                        text = (folder / f"{pid}.txt").read_text()
                        (tell or _print)(f"worker {pid} is silent:\n{text}")

    thread = threading.Thread(target=watch, name="stacks", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _print(text: str) -> None:
    print(text, file=sys.__stderr__, flush=True)


def _pid(cluster: Any, name: Any) -> int | None:
    """Return the process of a worker that a nanny of the cluster started."""
    nanny = cluster.workers.get(name)
    return getattr(nanny, "pid", None)
