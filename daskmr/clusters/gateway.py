"""Clusters behind a dask-gateway server."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from daskmr.clusters.base import NEW, refused
from daskmr.registry import plugin


@plugin
class GatewayCluster:
    """A cluster of a dask-gateway server: one that runs, or ``new`` for one of the job's own.

    Address, proxy and authentication are those of the ``gateway`` section of `dask.config`, options
    of a new cluster those of ``gateway.cluster.options`` there.
    """

    name: str
    """Of the cluster, as ``Gateway().list_clusters()`` tells it; or ``new``."""

    @contextmanager
    def client(self, *, max_workers: int) -> Iterator[Any]:
        """A client of the cluster; see `daskmr.clusters.base.NamedCluster`."""
        place = f"gateway:{self.name}"
        with refused(place, "gateway"):
            from aiohttp import ClientError
            from dask_gateway import Gateway, GatewayClusterError, GatewayServerError
        errors = (ClientError, GatewayClusterError, GatewayServerError)
        with refused(place, "gateway", *errors):
            gateway = Gateway()
        with gateway:
            with refused(place, "gateway", *errors):
                cluster = self._cluster(gateway, max_workers)
            try:
                with refused(place, "gateway", *errors):
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
