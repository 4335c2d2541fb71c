"""The Dask client of the service, connected again when its cluster went away."""

import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from daskmr.dispatch.cluster import Connection, connect
from daskmr.errors import ClusterError


@dataclass
class ClusterConnection:
    """One Dask client for all jobs; thread-safe."""

    scheduler: str | None = None
    """Address of a Dask scheduler; None starts a local cluster."""
    workers: int | None = None
    """Processes of the local cluster."""
    _stack: ExitStack = field(default_factory=ExitStack)
    _connection: Connection | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_connected(self) -> bool:
        """True if the client is running, as far as this process knows."""
        connection = self._connection
        return connection is not None and connection.client.status == "running"

    def client(self) -> Any:
        """Return a connected client; connect again if the last one was lost.

        Raises
        ------
        ClusterError
            If the scheduler does not answer.
        """
        with self._lock:
            if not self.is_connected:
                self._disconnect()
                self._connection = self._stack.enter_context(
                    connect(scheduler=self.scheduler, workers=self.workers)
                )
            if self._connection is None:
                msg = "no Dask cluster"
                raise ClusterError(msg)
            return self._connection.client

    def tend(self) -> None:
        """Replace workers of a local cluster that ended and were not restarted."""
        with self._lock:
            if self._connection is not None and self.is_connected:
                self._connection.tend()

    def close(self) -> None:
        """Disconnect; a local cluster ends."""
        with self._lock:
            self._disconnect()

    def _disconnect(self) -> None:
        stack, self._stack, self._connection = self._stack, ExitStack(), None
        try:
            stack.close()
        except (OSError, TimeoutError) as error:
            msg = f"the cluster that went away could not be left: {error}"
            raise ClusterError(msg) from error
