"""Whose turn it is with a model in this process, or on this machine."""

import hashlib
import os
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

_LOCKS: "defaultdict[str, threading.Lock]" = defaultdict(threading.Lock)


@contextmanager
def in_turn(name: str, model: object) -> Iterator[None]:
    """One call at a time in this process, unless the model says that it need not be.

    A model with a true attribute ``thread_safe`` is called by all threads at once. One whose
    attribute ``process_safe`` is false is called by one process of this machine at a time, as a
    model that fills the memory of a GPU wants it.

    Parameters
    ----------
    name
        Name of the model; models of one name take turns.
    model
        What may have the attributes.
    """
    is_process_safe = bool(getattr(model, "process_safe", True))
    is_thread_safe = bool(getattr(model, "thread_safe", False)) and is_process_safe
    threads = nullcontext() if is_thread_safe else _LOCKS[name]
    processes = nullcontext() if is_process_safe else _alone_on_machine(name)
    with threads, processes:
        yield


@contextmanager
def _alone_on_machine(name: str) -> Iterator[None]:
    """Until the block ends, or the process does, no other process of this user gets in."""
    import fcntl

    digest = hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).hexdigest()
    path = Path(tempfile.gettempdir()) / f"daskmr-{os.getuid()}-{digest}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
