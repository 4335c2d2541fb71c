"""Errors that Dask logs during a test fail it, unless it announces them."""

import re
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).with_name("conftest.py")
TESTS = '''
import subprocess
import sys

import pytest
from distributed import Client, LocalCluster

PROGRAM = """
if __name__ == "__main__":
    from distributed import Client, LocalCluster
    with LocalCluster(n_workers=1, host="127.0.0.1", dashboard_address=None) as made:
        with Client(made) as client:
            client.submit(divmod, 1, 0).exception()
"""


def fail(client):
    assert isinstance(client.submit(divmod, 1, 0).exception(), ZeroDivisionError)


def test_of_a_session(client):
    fail(client)


@pytest.mark.worker_errors("ZeroDivisionError", "no such thing")
def test_of_a_session_announced(client):
    fail(client)


@pytest.mark.worker_errors("KeyError")
def test_of_a_session_with_another_announced(client):
    fail(client)


def test_of_a_session_without_errors(client):
    assert client.submit(divmod, 1, 1).result() == (1, 0)


def test_of_threads():
    with LocalCluster(processes=False, dashboard_address=None) as made:
        with Client(made, set_as_default=False) as client:
            fail(client)


def test_of_a_program(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    subprocess.run([sys.executable, tmp_path / "program.py"], capture_output=True, check=True)


def test_that_fails(client):
    fail(client)
    assert False
'''


def test_unannounced_errors_fail_the_test_that_caused_them(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text())
    (tmp_path / "test_inner.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    worker_errors: as here\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-rN", "-p", "no:cacheprovider", tmp_path],
        cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    outcomes: dict[str, list[str]] = {}
    for name, outcome in re.findall(r"^test_inner\.py::(\w+) (\w+)", done.stdout, re.MULTILINE):
        outcomes.setdefault(name, []).append(outcome)
    assert outcomes == {
        "test_of_a_session": ["PASSED", "ERROR"],
        "test_of_a_session_announced": ["PASSED"],
        "test_of_a_session_with_another_announced": ["PASSED", "ERROR"],
        "test_of_a_session_without_errors": ["PASSED"],
        "test_of_threads": ["PASSED", "ERROR"],
        "test_of_a_program": ["PASSED", "ERROR"],
        "test_that_fails": ["FAILED", "ERROR"],
    }, done.stdout + done.stderr
    text = "1 errors of Dask that no worker_errors mark of the test announces"
    assert done.stdout.count(text) == 5
    assert "ZeroDivisionError" in done.stdout
    assert done.returncode == 1
