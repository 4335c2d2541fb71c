"""Clusters of Coiled."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from daskmr.clusters.base import NEW, translate_errors
from daskmr.registry import plugin


@plugin
class CoiledCluster:
    """A cluster of Coiled: the running one of a name, or a new one with it.

    Its software is copied from this environment (package sync), or set by ``coiled.software`` of
    `dask.config`.
    """

    name: str
    """Name of the cluster; ``new`` for one that ends with the job."""

    def options(self, max_workers: int) -> dict[str, Any]:
        """Return the arguments of ``coiled.Cluster``."""
        is_new = self.name == NEW
        return {
            "name": None if is_new else self.name,
            "n_workers": [1, max_workers],
            "shutdown_on_close": is_new,
            "idle_timeout": "20 minutes",
            "show_widget": False,
        }

    @contextmanager
    def client(self, *, max_workers: int) -> Iterator[Any]:
        """Yield a client of the cluster; see `daskmr.clusters.base.NamedCluster`."""
        scheduler = f"coiled:{self.name}"
        with translate_errors(scheduler, "coiled"):
            import coiled
            from coiled.errors import ClusterCreationError
        with translate_errors(scheduler, "coiled", ClusterCreationError):
            cluster = coiled.Cluster(**self.options(max_workers))
        with cluster, cluster.get_client() as client:
            yield client


def software(name: str = "daskmr") -> dict[str, Any]:
    """Return the arguments of ``coiled.create_software_environment`` for workers that run jobs.

    Examples
    --------
    >>> software()["name"], software()["pip"][0].partition("==")[0]
    ('daskmr', 'daskmr')
    """
    from importlib.metadata import version

    versions = {package: version(package) for package in ("daskmr", "dask", "distributed")}
    return {"name": name, "pip": [f"{package}=={number}" for package, number in versions.items()]}
