"""The cluster of the service: connected once, and again when it went away."""

import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from daskmr.errors import ClusterError
from daskmr.pipeline.cluster import Connection, connect


@dataclass
class Crew:
    """One Dask client for all jobs; thread-safe."""

    scheduler: str | None = None
    """Address of a scheduler; None for a cluster of our own."""
    workers: int | None = None
    """Processes of a cluster of our own."""
    _stack: ExitStack = field(default_factory=ExitStack)
    _connection: Connection | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_there(self) -> bool:
        """Whether there is a connection, as far as is known."""
        found = self._connection
        return found is not None and found.client.status == "running"

    def client(self) -> Any:
        """A client that is connected.

        Raises
        ------
        ClusterError
            When nobody answers.
        """
        with self._lock:
            if not self.is_there:
                self._leave()
                self._connection = self._stack.enter_context(
                    connect(scheduler=self.scheduler, workers=self.workers)
                )
            if self._connection is None:
                msg = "no Dask cluster"
                raise ClusterError(msg)
            return self._connection.client

    def tend(self) -> None:
        """Replace workers of a cluster of our own that did not come back by themselves."""
        with self._lock:
            if self._connection is not None and self.is_there:
                self._connection.tend()

    def close(self) -> None:
        """Leave the cluster; one of our own ends."""
        with self._lock:
            self._leave()

    def _leave(self) -> None:
        stack, self._stack, self._connection = self._stack, ExitStack(), None
        try:
            stack.close()
        except (OSError, TimeoutError) as error:
            msg = f"the cluster that went away could not be left: {error}"
            raise ClusterError(msg) from error
