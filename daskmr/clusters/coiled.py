"""Clusters of Coiled."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from daskmr.clusters.base import NEW, refused
from daskmr.registry import plugin


@plugin
class CoiledCluster:
    """A cluster of Coiled: the running one of a name, or one that is made under it.

    Software is what Coiled finds here (package sync), or ``coiled.software`` of `dask.config`.
    """

    name: str
    """Of the cluster; ``new`` for one that ends with the job."""

    def options(self, max_workers: int) -> dict[str, Any]:
        """Arguments of ``coiled.Cluster``."""
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
        """A client of the cluster; see `daskmr.clusters.base.NamedCluster`."""
        place = f"coiled:{self.name}"
        with refused(place, "coiled"):
            import coiled
            from coiled.errors import ClusterCreationError
        with refused(place, "coiled", ClusterCreationError):
            cluster = coiled.Cluster(**self.options(max_workers))
        with cluster, cluster.get_client() as client:
            yield client


def software(name: str = "daskmr") -> dict[str, Any]:
    """Arguments of ``coiled.create_software_environment`` for workers that run jobs.

    Examples
    --------
    >>> software()["name"], software()["pip"][0].partition("==")[0]
    ('daskmr', 'daskmr')
    """
    from importlib.metadata import version

    here = {package: version(package) for package in ("daskmr", "dask", "distributed")}
    return {"name": name, "pip": [f"{package}=={said}" for package, said in here.items()]}
