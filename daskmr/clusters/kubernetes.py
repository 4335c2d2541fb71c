"""Clusters that the Dask operator keeps on Kubernetes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from daskmr.clusters.base import refused
from daskmr.registry import plugin


@plugin
class KubernetesCluster:
    """A ``DaskCluster`` resource of the Dask operator; it is neither made nor ended here.

    Cluster and credentials are those of the current context of kubectl, or of the pod.
    """

    name: str
    """``NAME``, or ``NAMESPACE/NAME``."""

    def options(self) -> dict[str, Any]:
        """Arguments of ``KubeCluster.from_name``.

        Examples
        --------
        >>> KubernetesCluster(name="imagery/mr").options()
        {'name': 'mr', 'namespace': 'imagery', 'shutdown_on_close': False, 'quiet': True}
        """
        namespace, _, name = self.name.rpartition("/")
        said = {"namespace": namespace} if namespace else {}
        return {"name": name, **said, "shutdown_on_close": False, "quiet": True}

    @contextmanager
    def client(self, *, max_workers: int) -> Iterator[Any]:
        """A client of the cluster; see `daskmr.clusters.base.NamedCluster`."""
        place = f"kubernetes:{self.name}"
        with refused(place, "kubernetes"):
            from dask_kubernetes.operator import KubeCluster
            from kr8s import APITimeoutError, NotFoundError, ServerError
        with refused(place, "kubernetes", APITimeoutError, NotFoundError, ServerError):
            cluster = KubeCluster.from_name(**self.options())
        with cluster, cluster.get_client() as client:
            yield client
