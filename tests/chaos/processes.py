"""Processes that are started, killed and started again; none of them outlives who started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

_ROOT = str(Path(__file__).parents[2])
_START_S = 60.0
_TRIES = 5


def module_environment() -> dict[str, str]:
    """Return the environment of a process that runs a module of `tests`, in any folder."""
    paths = [_ROOT, os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@dataclass
class Service:
    """A server that says its port on its standard output and ends with its standard input."""

    module: str
    """What is run with ``python -m``."""
    arguments: Sequence[object] = ()
    """Its arguments, beside the port."""
    port: int = 0
    """Where it listens, for all its lives; 0 before the first."""
    _process: "subprocess.Popen[str] | None" = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, at the port that it had before.

        Raises
        ------
        RuntimeError
            When it does not start.
        """
        words = [sys.executable, "-m", self.module, "--port", self.port, *self.arguments]
        for _ in range(_TRIES):
            self._process = subprocess.Popen(
                list(map(str, words)), env=module_environment(),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert self._process.stdout is not None
            said = self._process.stdout.readline()
            if said:
                self.port = int(said)
                return
            self.kill()
            time.sleep(0.5)
        msg = f"{self.module}: did not start on port {self.port}"
        raise RuntimeError(msg)

    def kill(self) -> None:
        """Kill it; what it was doing is not finished."""
        if self._process is None:
            return
        self._process.kill()
        self._process.communicate()
        self._process = None


@dataclass
class DriverProcess:
    """The command line of one job, which is run again and again."""

    words: Sequence[str]
    """Arguments of ``python -m daskmr``."""
    folder: Path
    """Where it is run; what it says is kept there."""
    environment: Mapping[str, str]
    """Set beside the environment of this process."""
    n_starts: int = 0
    """How often it was started."""
    _process: "subprocess.Popen[bytes] | None" = None
    _groups: list[int] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End all processes of all runs, orphans included."""
        for group in self._groups:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        if self._process is not None:
            self._process.wait(_START_S)

    def start(self) -> None:
        """Run it once more."""
        self.n_starts += 1
        with self.said.open("ab") as file:
            file.write(f"--- start {self.n_starts} at {time.time():.3f}\n".encode())
            file.flush()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "daskmr", *self.words],
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self._groups.append(self._process.pid)

    @property
    def said(self) -> Path:
        """File of all that was said by all runs."""
        return self.folder / "driver.log"

    @property
    def pid(self) -> int:
        """Number of the present process."""
        assert self._process is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Exit status; None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def wait(self, wait_s: float) -> int:
        """Exit status, once it has ended by itself."""
        assert self._process is not None
        return self._process.wait(wait_s)

    def signalled(self, number: signal.Signals, wait_s: float) -> int | None:
        """Exit status after a signal; None when it still runs by then."""
        assert self._process is not None
        self._process.send_signal(number)
        try:
            return self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return None

    def workers(self) -> list[Any]:
        """Processes (`psutil.Process`) of the workers of its own cluster that live at present."""
        import psutil

        found = []
        with suppress(psutil.Error):
            for child in psutil.Process(self.pid).children():
                with suppress(psutil.Error):
                    if any("spawn_main" in word for word in child.cmdline()):
                        found.append(child)
        return found
