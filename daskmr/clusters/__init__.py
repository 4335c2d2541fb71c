"""Dask clusters that have a name: where a job runs when it is not given an address."""

from daskmr.clusters.base import NamedCluster
from daskmr.errors import ClusterError
from daskmr.registry import Registry

__all__ = ["CLUSTERS", "named"]

CLUSTERS: Registry[NamedCluster] = Registry(
    kind="cluster",
    builtin={
        "gateway": "daskmr.clusters.gateway:GatewayCluster",
        "coiled": "daskmr.clusters.coiled:CoiledCluster",
        "kubernetes": "daskmr.clusters.kubernetes:KubernetesCluster",
    },
)


def named(place: str) -> NamedCluster | None:
    """The cluster that ``KIND:NAME`` means; None for an address or ``local``.

    Parameters
    ----------
    place
        ``gateway:NAME``, ``coiled:NAME``, ``kubernetes:NAME``, or a kind that a plug-in brings;
        ``new`` for a name where the kind can make a cluster for the job.

    Raises
    ------
    UnknownNameError
        When no kind has that name.
    ClusterError
        When there is no name.

    Examples
    --------
    >>> named("tcp://127.0.0.1:8786"), named("local")
    (None, None)
    >>> named("gateway:new")
    GatewayCluster(name='new')
    """
    kind, colon, name = place.partition(":")
    if not colon or name.startswith("//") or name.isdecimal():
        return None
    if not name:
        msg = f"scheduler: {place!r} has no name after the colon"
        raise ClusterError(msg)
    return CLUSTERS.build(kind, {"name": name})
