"""The servers of tests end with all connections, so that no later test is told of them."""

import gc
import socket
import sys
import threading
import warnings
from typing import Any
from urllib.parse import urlsplit

import pytest

from daskmr.testing.servers import EMPTY, saying, serving


def knock(port: int, stop: threading.Event) -> None:
    """Connect and hang up, again and again."""
    while not stop.is_set():
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return


def test_no_connection_outlives_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    leaks: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", leaks.append)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for _ in range(3):
            stop = threading.Event()
            with serving(saying(EMPTY)) as server:
                port = urlsplit(server.url).port or 0
                threads = [threading.Thread(target=knock, args=(port, stop)) for _ in range(6)]
                for thread in threads:
                    thread.start()
                stop.wait(0.02)
            stop.set()
            for thread in threads:
                thread.join()
            gc.collect()
    assert [leak.exc_value for leak in leaks] == []
