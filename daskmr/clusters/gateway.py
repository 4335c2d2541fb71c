"""Clusters behind a dask-gateway server."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from daskmr.clusters.base import NEW, translate_errors
from daskmr.registry import plugin


@plugin
class GatewayCluster:
    """A cluster of a dask-gateway server: a running one, or ``new`` for one that ends with the job.

    The ``gateway`` section of `dask.config` sets address, proxy and authentication, and its
    ``cluster.options`` the options of a new cluster.
    """

    name: str
    """Name of the cluster in ``Gateway().list_clusters()``; or ``new``."""

    @contextmanager
    def client(self, *, max_workers: int) -> Iterator[Any]:
        """Yield a client of the cluster; see `daskmr.clusters.base.NamedCluster`."""
        scheduler = f"gateway:{self.name}"
        with translate_errors(scheduler, "gateway"):
            from aiohttp import ClientError
            from dask_gateway import Gateway, GatewayClusterError, GatewayServerError
        errors = (ClientError, GatewayClusterError, GatewayServerError)
        with translate_errors(scheduler, "gateway", *errors):
            gateway = Gateway()
        with gateway:
            with translate_errors(scheduler, "gateway", *errors):
                cluster = self._cluster(gateway, max_workers)
            try:
                with translate_errors(scheduler, "gateway", *errors):
                    client = cluster.get_client(set_as_default=False)
                with client:
                    yield client
            finally:
                cluster.close(shutdown=self.name == NEW)

    def _cluster(self, gateway: Any, max_workers: int) -> Any:
        if self.name != NEW:
            return gateway.connect(self.name)
        cluster = gateway.new_cluster(shutdown_on_close=True)
        cluster.adapt(minimum=1, maximum=max_workers)
        return cluster
