"""Locks around models in process: one call at a time in this process, or on this machine."""

import hashlib
import os
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock

_POLL_S = 0.002
_LOCKS: "defaultdict[str, threading.Lock]" = defaultdict(threading.Lock)


@contextmanager
def model_lock(name: str, model: object) -> Iterator[None]:
    """Hold the locks that a call of a model needs.

    Without attributes a model is called by one thread of a process at a time. One with a true
    attribute ``thread_safe`` is called by all threads at once. One with a false attribute
    ``process_safe`` is called by one process of this machine at a time: a model that fills the
    memory of a GPU needs it.

    Parameters
    ----------
    name
        Name of the model; models of one name share a lock.
    model
        Object that may have the attributes.
    """
    is_process_safe = bool(getattr(model, "process_safe", True))
    is_thread_safe = bool(getattr(model, "thread_safe", False)) and is_process_safe
    threads = nullcontext() if is_thread_safe else _LOCKS[name]
    processes = nullcontext() if is_process_safe else _machine_lock(name)
    with threads, processes:
        yield


@contextmanager
def _machine_lock(name: str) -> Iterator[None]:
    """Hold a file lock among all processes of this user; it ends with the block or the process."""
    digest = hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).hexdigest()
    user = os.getuid() if hasattr(os, "getuid") else ""  # other systems have a folder a user
    path = Path(tempfile.gettempdir()) / f"daskmr-{user}-{digest}.lock"
    with FileLock(path, mode=0o600, poll_interval=_POLL_S):
        yield
