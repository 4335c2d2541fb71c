"""A kind of cluster: one whose scheduler wrote its address to a file, as on many HPC systems."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daskmr.errors import ClusterError
from daskmr.registry import plugin


@plugin
class FileCluster:
    """The cluster of ``dask scheduler --scheduler-file FILE``."""

    name: str
    """Path of the file."""

    @contextmanager
    def client(self, *, max_workers: int) -> Iterator[Any]:
        """Yield a client of the cluster, which is left as it is."""
        from distributed import Client

        del max_workers  # the cluster runs already, and is not ours to scale
        if not Path(self.name).is_file():
            msg = f"file:{self.name}: no such scheduler file"
            raise ClusterError(msg)
        try:
            client = Client(scheduler_file=self.name, set_as_default=False)
        except (OSError, ValueError, KeyError) as error:
            msg = f"file:{self.name}: {error}"
            raise ClusterError(msg) from error
        with client:
            yield client
