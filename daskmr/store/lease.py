"""One driver for each job: a lease that is held by beating, and lost by falling silent.

No clock is compared between machines: a lease has run out when whoever wants it has seen it
unchanged for long enough, by an own monotonic clock. Where its holder was a process of this very
machine, the machine knows whether it is gone.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daskmr.errors import BusyError, StoreError
from daskmr.store.places import Place

NAME = "lease.json"
BEAT_S = 5.0
"""Seconds between beats."""
EXPIRES_S = 20.0
"""Seconds without a beat after which a lease may be taken over."""


@dataclass
class Lease:
    """The right to run one job.

    Parameters
    ----------
    place
        The job's folder.
    clock, sleep
        Monotonic seconds, and waiting; given by tests.
    """

    place: Place
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    owner: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    epoch: int = 0
    """How often the job has changed hands."""
    _nonce: str = field(default_factory=lambda: uuid.uuid4().hex)
    _beat: int = 0
    _seen: bytes = b""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _watched: bytes = b""
    _since: float = 0.0
    lost: bool = False
    """Whether somebody else has taken it over."""

    def acquire(self) -> None:
        """Take the lease: at once when nobody holds it, else once its holder has fallen silent.

        Raises
        ------
        BusyError
            When its holder is alive.
        """
        while not self.attempt():
            self.sleep(BEAT_S / 5)

    def attempt(self) -> bool:
        """Take the lease if it can be had now; call again a little later when it cannot.

        Raises
        ------
        BusyError
            When its holder was seen to be alive.
        """
        if not self._watched:
            if self._create():
                return True
            self._watched, self._since = self._read(), self.clock()
        else:
            now = self._read()
            if now != self._watched and not json.loads(now).get("released"):
                msg = f"{self.place.url}: the job is being run by {json.loads(now)['owner']}"
                raise BusyError(msg)
            self._watched = now
        held = json.loads(self._watched)
        is_free = held.get("released") or is_gone(held) or self.clock() - self._since >= EXPIRES_S
        return bool(is_free) and self._take(self._watched, int(held["epoch"]))

    def keep(self) -> None:
        """Beat in a thread until `release`."""
        self._thread = threading.Thread(target=self._beating, name="daskmr-lease", daemon=True)
        self._thread.start()

    def beat(self) -> bool:
        """Say that the holder is alive; False when the lease is lost."""
        self._beat += 1
        content = self._content()
        if self.place.swap(NAME, content, seen=self._seen):
            self._seen = content
            return True
        self.lost = self._read() != content
        if not self.lost:
            self._seen = content
        return not self.lost

    def release(self) -> None:
        """Let the next one begin at once."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if not self.lost:
            self.place.swap(NAME, self._content(released=True), seen=self._seen)

    def _create(self) -> bool:
        content = self._content()
        if self.place.create(NAME, content):
            self._seen = content
            return True
        return False

    def _take(self, watched: bytes, epoch: int) -> bool:
        self.epoch = epoch + 1
        content = self._content()
        if self.place.swap(NAME, content, seen=watched):
            self._seen = content
            return True
        return False

    def _read(self) -> bytes:
        found = self.place.read(NAME)
        if found is None:
            msg = f"{self.place.url}/{NAME}: gone"
            raise StoreError(msg)
        return found

    def _content(self, *, released: bool = False) -> bytes:
        said = {
            "owner": self.owner,
            "process": _process(os.getpid()),
            "epoch": self.epoch,
            "beat": self._beat,
            "nonce": self._nonce,
        }
        return json.dumps(said | ({"released": True} if released else {})).encode()

    def _beating(self) -> None:
        while not self._stop.wait(BEAT_S):
            try:
                if not self.beat():
                    return
            except StoreError:  # a store that is away: the next beat may reach it
                continue


def is_gone(held: Mapping[str, Any]) -> bool:
    """Whether the holder of a lease is known to have ended: only of this machine can that be said.

    Parameters
    ----------
    held
        Content of a lease.
    """
    said = held.get("process")
    if not said or said[:2] != _process(os.getpid())[:2]:
        return False
    return bool(said != _process(int(said[2])))


def _process(pid: int) -> list[str]:
    """What names a process of Linux for ever: boot, process namespace, number, time of start."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # another system: only silence tells
        return []
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [boot, space, str(pid), ""]
    state, _, rest = told.rpartition(")")[2].strip().partition(" ")
    return [boot, space, str(pid), "" if state in "ZX" else rest.split()[18]]
