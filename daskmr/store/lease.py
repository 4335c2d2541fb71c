"""The lease that gives a job to one driver: renewed by a heartbeat, lost without one.

No clocks of different machines are compared: a lease has expired when the driver that wants it has
read it unchanged for long enough, by its own monotonic clock. If the holder was a process of the
same machine, that machine knows if it still exists.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from daskmr.errors import BusyError, StoreError
from daskmr.store.object_store import ObjectStore

NAME = "lease.json"
BEAT_S = 5.0
"""Seconds between heartbeats."""
EXPIRES_S = 20.0
"""Seconds without a heartbeat after which a lease may be taken over."""


@dataclass
class Lease:
    """The exclusive right to run one job.

    Parameters
    ----------
    objects
        The job's folder.
    clock, sleep
        Monotonic seconds, and waiting; replaced in tests.
    """

    objects: ObjectStore
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    owner: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    epoch: int = 0
    """Number of times that the job changed its driver."""
    _nonce: str = field(default_factory=lambda: uuid.uuid4().hex)
    _beat: int = 0
    _written: bytes = b""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _watched: bytes = b""
    _since: float = 0.0
    lost: bool = False
    """True if another driver has taken the lease over."""

    def acquire(self) -> None:
        """Acquire the lease: at once if it is free, else when its holder's heartbeat stopped.

        Raises
        ------
        BusyError
            If its holder is alive.
        """
        while not self.attempt():
            self.sleep(BEAT_S / 5)

    def attempt(self) -> bool:
        """Acquire the lease if that is possible now; call again later after False.

        Raises
        ------
        BusyError
            If the holder's heartbeat was observed.
        """
        if not self._watched:
            if self._create():
                return True
            self._watched, self._since = self._read(), self.clock()
        else:
            content = self._read()
            if content != self._watched and not json.loads(content).get("released"):
                msg = f"{self.objects.url}: the job is being run by {json.loads(content)['owner']}"
                raise BusyError(msg)
            self._watched = content
        lease = json.loads(self._watched)
        is_expired = self.clock() - self._since >= EXPIRES_S
        is_free = lease.get("released") or is_gone(lease) or is_expired
        return bool(is_free) and self._take_over(self._watched, int(lease["epoch"]))

    def keep(self) -> None:
        """Start a thread that renews the lease until `release`."""
        self._thread = threading.Thread(target=self._keep, name="daskmr-lease", daemon=True)
        self._thread.start()

    def beat(self) -> bool:
        """Renew the lease; return False if it is lost."""
        self._beat += 1
        content = self._content()
        if self.objects.swap(NAME, content, expected=self._written):
            self._written = content
            return True
        self.lost = self._read() != content
        if not self.lost:
            self._written = content
        return not self.lost

    def release(self) -> None:
        """Stop renewing and free the lease for the next driver."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if not self.lost:
            self.objects.swap(NAME, self._content(released=True), expected=self._written)

    def _create(self) -> bool:
        content = self._content()
        if self.objects.create(NAME, content):
            self._written = content
            return True
        return False

    def _take_over(self, watched: bytes, epoch: int) -> bool:
        self.epoch = epoch + 1
        content = self._content()
        if self.objects.swap(NAME, content, expected=watched):
            self._written = content
            return True
        return False

    def _read(self) -> bytes:
        content = self.objects.read(NAME)
        if content is None:
            msg = f"{self.objects.url}/{NAME}: gone"
            raise StoreError(msg)
        return content

    def _content(self, *, released: bool = False) -> bytes:
        fields = {
            "owner": self.owner,
            "process": _process(os.getpid()),
            "epoch": self.epoch,
            "beat": self._beat,
            "nonce": self._nonce,
        }
        return json.dumps(fields | ({"released": True} if released else {})).encode()

    def _keep(self) -> None:
        while not self._stop.wait(BEAT_S):
            try:
                if not self.beat():
                    return
            except StoreError:  # the store is unavailable: the next heartbeat may reach it
                continue


def is_gone(lease: Mapping[str, Any]) -> bool:
    """Return True if the holder was a process of this machine and has ended.

    Parameters
    ----------
    lease
        Content of a lease.
    """
    process = lease.get("process")
    if not process or tuple(process[:2]) != _machine():
        return False
    try:
        return bool(process != _process(int(process[2])))
    except psutil.AccessDenied:  # it exists, and belongs to another user
        return False


def _process(pid: int) -> list[str]:
    """Return what identifies a process for ever: machine, process namespace, number, start time.

    The start time is empty for a process that does not exist any more.
    """
    return [*_machine(), str(pid), _start_time(pid)]


@cache
def _machine() -> tuple[str, str]:
    """Return names of this machine and of the process namespace.

    Linux has an id of each boot and of the namespace, which no library reads. Elsewhere, they are
    the network card and the host name; start times distinguish the boots.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return boot, str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return f"{uuid.getnode():012x}", socket.gethostname()


def _start_time(pid: int) -> str:
    """Return the start time of a process, in the clock of the system that is never set.

    On Linux these are the ticks since boot of ``/proc/PID/stat``, which older versions wrote into
    leases: psutil adds the boot time to them, which is taken off again, since it changes with the
    clock. Other systems keep the time itself.
    """
    try:
        boot_s = psutil.boot_time() if psutil.LINUX else 0.0  # before the process: psutil caches it
        process = psutil.Process(pid)
        if process.status() in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}:
            return ""
        start_s = process.create_time()
    except psutil.NoSuchProcess:
        return ""
    if psutil.LINUX:
        return str(round((start_s - boot_s) * os.sysconf("SC_CLK_TCK")))
    return repr(start_s)
