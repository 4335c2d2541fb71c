"""The store without the parts of POSIX that Windows and macOS lack."""

import json
import os
import socket
import subprocess
import sys
import textwrap
import time
import uuid
from pathlib import Path

import psutil
import pytest

from daskmr.store.lease import NAME, Lease, is_gone
from daskmr.store.object_store import FolderStore

HIDE = """
import builtins, os, signal, sys, types

OURS = {"daskmr", "filelock"}  # other packages have their own ways on other systems
imported, readlink = builtins.__import__, os.readlink


def caller(depth):
    return sys._getframe(depth + 1).f_globals.get("__name__", "").partition(".")[0]


def import_(name, globals=None, *more, **options):
    if name == "fcntl" and (globals or {}).get("__name__", "").partition(".")[0] in OURS:
        raise ModuleNotFoundError(name)
    return imported(name, globals, *more, **options)


def hidden(name, value):
    def get(_module):
        if caller(1) in OURS:
            raise AttributeError(name)
        return value

    return property(get)


def hide(module, *names):
    properties = {name: hidden(name, getattr(module, name)) for name in names}
    module.__class__ = type("Hidden", (types.ModuleType,), properties)


def is_ours():
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "").partition(".")[0]
        if name in OURS or name == "psutil":
            return name != "psutil"
        frame = frame.f_back
    return False


def audit(event, args):
    if event == "open" and str(args[0]).startswith("/proc/") and is_ours():
        raise FileNotFoundError(args[0])


def read(path, *args, **options):
    if str(path).startswith("/proc/") and is_ours():
        raise FileNotFoundError(path)
    return readlink(path, *args, **options)


builtins.__import__ = import_
hide(os, "fork", "getuid", "link", "register_at_fork")
hide(signal, "pthread_sigmask")
sys.addaudithook(audit)
os.readlink = read
"""
USE = """
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import daskmr.store
from daskmr.errors import BusyError
from daskmr.store import JobFolder
from daskmr.store.lease import NAME, Lease, is_gone

folder = JobFolder.at(sys.argv[1], "job")
assert not folder.begin({"image": "a"}, {})
assert folder.begin({"image": "a"}, {})
objects = folder.objects
contents = [f"writer {n}".encode() for n in range(16)]
with ThreadPoolExecutor(16) as pool:
    won = list(pool.map(lambda content: objects.create("x", content), contents))
    assert sum(won) == 1 and objects.read("x") == contents[won.index(True)]
    won = list(pool.map(lambda c: objects.swap("x", c, expected=objects.read("x")), contents))
    assert any(won)
source = Path(sys.argv[1]) / "source"
source.write_bytes(b"result")
assert objects.read(folder.add_result(source, "0" * 64)) == b"result"

lease = Lease(objects)
lease.acquire()
record = json.loads(objects.read(NAME))
machine, host, pid, start = record["process"]
assert pid == str(os.getpid()) and float(start) > 0
assert not is_gone(record)
child = subprocess.Popen([sys.executable, "-c", "pass"])
assert child.wait() == 0
assert is_gone({"process": [machine, host, str(child.pid), start]})  # ended
assert is_gone({"process": [machine, host, pid, "1.0"]})  # the number has another owner now
assert not is_gone({"process": ["other", host, str(child.pid), start]})
lease.release()
print("used")
"""


def test_the_store_works_without_fcntl_proc_hard_links_and_user_ids(tmp_path: Path) -> None:
    code = textwrap.dedent(HIDE + USE)
    done = subprocess.run(
        [sys.executable, "-W", "ignore:only soft file lock", "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("used\n", 0), done.stderr


def written(path: Path) -> dict[str, object]:
    fields: dict[str, object] = json.loads((path / NAME).read_text())
    return fields


def old_identity(pid: int) -> list[str]:
    """The identity of a process as daskmr wrote it before it used psutil."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    space = str(Path("/proc/self/ns/pid").readlink())
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return [boot, space, str(pid), text.rpartition(")")[2].split()[19]]


@pytest.mark.skipif(not psutil.LINUX, reason="older versions named processes on Linux only")
def test_leases_of_older_versions_name_processes_alike(tmp_path: Path) -> None:
    Lease(FolderStore(str(tmp_path))).acquire()
    assert written(tmp_path)["process"] == old_identity(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        old = {"process": old_identity(child.pid)}
        assert not is_gone(old)
        child.kill()
        end = time.monotonic() + 10
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert is_gone(old)  # killed, and not yet waited for
    assert is_gone(old)


@pytest.mark.skipif(not psutil.LINUX, reason="older versions named processes on Linux only")
def test_a_process_number_that_was_given_again_is_another_process() -> None:
    boot, space, pid, start = old_identity(os.getpid())
    assert is_gone({"process": [boot, space, pid, str(int(start) - 1)]})
    assert not is_gone({"process": [boot, space, pid, start]})


def test_processes_of_other_machines_are_never_known_to_be_gone() -> None:
    other = [str(uuid.uuid4()), "pid:[1]", "1", "1"]
    assert not is_gone({"process": other})
    assert not is_gone({"process": [f"{uuid.getnode() ^ 1:012x}", socket.gethostname(), "1", "1"]})
    assert not is_gone({"process": []})  # written by an older version on another system
    assert not is_gone({})
