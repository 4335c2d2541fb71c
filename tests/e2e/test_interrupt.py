"""Ctrl-C or SIGTERM in the middle of a job leaves no process and no half-written file."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.worker_errors("Couldn't gather keys")
"""Whoever fetches results may be killed."""
MODEL = """
import pathlib, time

def slow(tile):
    pathlib.Path(__file__).with_name("started").touch()
    time.sleep(0.5)
"""


def alive(pids: set[int]) -> set[int]:
    """Those of the processes that still run."""
    return {
        pid
        for pid in pids
        if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    }


def wait(condition: object, seconds: float) -> bool:
    """Whether a condition came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_job_that_is_told_to_end_cleans_up(
    image: Path, tmp_path: Path, number: signal.Signals, code: int, word: str
) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    command = [sys.executable, "-m", "daskmr", "run", str(image), "-m", "model:slow"]
    command += ["-o", "out", "--job-id", "x", "--tile-size", "64", "--overlap", "0"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a suite that runs in the background may have been told to ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    try:
        assert wait((tmp_path / "started").exists, 60)
        family = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
        assert len(family) >= 2
        if number is signal.SIGINT:
            os.killpg(process.pid, number)  # a terminal tells all of them
        else:
            process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, err
    assert out == ""
    assert err.splitlines()[-1] == word
    assert "Traceback" not in err
    assert wait(lambda: not alive(family), 15), alive(family)
    assert "\nthe same command goes on where this one was\n" in f"\n{err}"
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {".daskmr"}
