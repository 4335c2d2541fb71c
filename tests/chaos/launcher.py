"""The command line in forks of a process that has imported everything: a run begins at once.

Each fork is a process and a session of its own, which can be killed like any other.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.chaos.processes import module_environment


@dataclass
class Launcher:
    """Starts runs, and tells how they ended.

    Parameters
    ----------
    folder
        Where they are run; what they say is kept there, in ``launcher.log``.
    """

    folder: Path
    _process: "subprocess.Popen[str] | None" = None
    _running: set[int] = field(default_factory=set)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.launcher"],
            cwd=self.folder,
            env=module_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and whatever it has started."""
        for pid in self._running:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        assert self._process is not None
        self._process.communicate()

    @property
    def log(self) -> Path:
        """File of all that was said."""
        return self.folder / "launcher.log"

    def start(self, words: Sequence[str]) -> int:
        """Start ``daskmr`` with arguments; the process, which leads a group of that number."""
        pid = int(self._ask({"run": list(words), "log": str(self.log)}))
        self._running.add(pid)
        return pid

    def wait(self, pid: int) -> int:
        """Exit status of a run once it has ended, negative when a signal ended it."""
        status = int(self._ask({"wait": pid}))
        self._running.remove(pid)
        return status

    def run(self, words: Sequence[str]) -> int:
        """Exit status of a run."""
        return self.wait(self.start(words))

    def _ask(self, said: dict[str, Any]) -> str:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(said) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            msg = f"the launcher has ended; see {self.log}"
            raise RuntimeError(msg)
        return answer


def _fork(words: Sequence[str], log: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        _redirect(log)
        status = _run(words)
    finally:
        sys.stderr.flush()
        os._exit(status)


def _redirect(log: str) -> None:
    target = os.open(log, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(target, 1)
    os.dup2(target, 2)


def _run(words: Sequence[str]) -> int:
    import traceback

    from daskmr.cli import main as command

    sys.argv = ["daskmr", *words]
    try:
        command()
    except SystemExit as end:
        sys.stdout.flush()
        return int(end.code or 0)
    except BaseException:  # noqa: BLE001 - what Python does at the end of a process
        traceback.print_exc()
        return 1
    return 0


def _preload() -> None:
    """Import what a run imports on its way."""
    import importlib

    for name in (
        "daskmr.cli", "daskmr.pipeline.run", "daskmr.lifecycle.job_spec", "daskmr.sinks",
        "distributed", "dask.array", "pyarrow.parquet", "pyogrio", "rioxarray", "rasterio",
    ):  # fmt: skip
        importlib.import_module(name)


def main() -> None:
    """Fork and wait as told on standard input, one JSON object a line."""
    _preload()
    while line := sys.stdin.readline():
        said = json.loads(line)
        if "run" in said:
            answer = _fork(said["run"], said["log"])
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(said["wait"], 0)[1])
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
