"""Dask clusters by name (``KIND:NAME``) instead of by address.

`base` defines them; every other module is one kind.
"""

from daskmr.clusters.base import NamedCluster
from daskmr.errors import ClusterError
from daskmr.registry import Registry

__all__ = ["CLUSTERS", "named_cluster"]

CLUSTERS: Registry[NamedCluster] = Registry(
    kind="cluster",
    builtin={
        "gateway": "daskmr.clusters.gateway:GatewayCluster",
        "coiled": "daskmr.clusters.coiled:CoiledCluster",
        "kubernetes": "daskmr.clusters.kubernetes:KubernetesCluster",
    },
)


def named_cluster(scheduler: str) -> NamedCluster | None:
    """Return the cluster of ``KIND:NAME``; None for an address or ``local``.

    Parameters
    ----------
    scheduler
        ``gateway:NAME``, ``coiled:NAME``, ``kubernetes:NAME``, or a kind of a plug-in; the name
        ``new`` creates a cluster for the job, if the kind can.

    Raises
    ------
    UnknownNameError
        If no kind has that name.
    ClusterError
        If the name is missing.

    Examples
    --------
    >>> named_cluster("tcp://127.0.0.1:8786"), named_cluster("local")
    (None, None)
    >>> named_cluster("gateway:new")
    GatewayCluster(name='new')
    """
    kind, colon, name = scheduler.partition(":")
    if not colon or name.startswith("//") or name.isdecimal():
        return None
    if not name:
        msg = f"scheduler: {scheduler!r} has no name after the colon"
        raise ClusterError(msg)
    return CLUSTERS.build(kind, {"name": name})
