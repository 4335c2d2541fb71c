"""Dask clusters as users start them: a scheduler and workers, each a process of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

_START_S = 60.0


@contextmanager
def bare_cluster(folder: Path, *, n_workers: int, options: Sequence[str] = ()) -> Iterator[str]:
    """Yield a ``dask scheduler`` and some ``dask worker`` on loopback; the scheduler's address.

    Parameters
    ----------
    folder
        Where they leave their files.
    n_workers
        Worker processes of two threads.
    options
        Given to all of them, such as ``--tls-ca-file``.
    """
    scheduler_file = folder / "scheduler.json"
    with ExitStack() as stack:
        quiet = ["--no-dashboard"]
        stack.enter_context(
            _process(folder, "scheduler", "--host", "127.0.0.1", "--port", "0",
                     "--scheduler-file", scheduler_file, *quiet, *options)
        )  # fmt: skip
        address = _address(scheduler_file)
        for _ in range(n_workers):
            stack.enter_context(
                _process(folder, "worker", address, "--nthreads", "2", "--host", "127.0.0.1",
                         "--local-directory", folder, *quiet, *options)
            )  # fmt: skip
        yield address


@contextmanager
def _process(folder: Path, kind: str, *words: object) -> Iterator[None]:
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *map(str, words)]
    with (folder / f"{kind}.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own words
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _address(scheduler_file: Path) -> str:
    """Return the address that a scheduler writes once it listens."""
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        try:
            return str(json.loads(scheduler_file.read_text())["address"])
        except (OSError, ValueError):
            time.sleep(0.1)
    msg = "no scheduler came up"
    raise TimeoutError(msg)
