"""Clusters of the Dask operator on Kubernetes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from daskmr.clusters.base import translate_errors
from daskmr.registry import plugin


@plugin
class KubernetesCluster:
    """A ``DaskCluster`` resource of the Dask operator; it is neither created nor deleted here.

    Kubernetes cluster and credentials are those of the current context of kubectl, or of the pod.
    """

    name: str
    """``NAME``, or ``NAMESPACE/NAME``."""

    def options(self) -> dict[str, Any]:
        """Return the arguments of ``KubeCluster.from_name``.

        Examples
        --------
        >>> KubernetesCluster(name="imagery/mr").options()
        {'name': 'mr', 'namespace': 'imagery', 'shutdown_on_close': False, 'quiet': True}
        """
        namespace, _, name = self.name.rpartition("/")
        options = {"namespace": namespace} if namespace else {}
        return {"name": name, **options, "shutdown_on_close": False, "quiet": True}

    @contextmanager
    def client(self, *, max_workers: int) -> Iterator[Any]:
        """Yield a client of the cluster; see `daskmr.clusters.base.NamedCluster`."""
        scheduler = f"kubernetes:{self.name}"
        with translate_errors(scheduler, "kubernetes"):
            from dask_kubernetes.operator import KubeCluster
            from httpx import HTTPError
            from kr8s import APITimeoutError, NotFoundError, ServerError
        faults = (APITimeoutError, HTTPError, NotFoundError, ServerError)
        with translate_errors(scheduler, "kubernetes", *faults):
            cluster = KubeCluster.from_name(**self.options())
        with cluster, cluster.get_client() as client:
            yield client
