"""Clusters under a name or behind TLS, and clusters that would fall asleep."""

import sys
import time
from copy import deepcopy
from typing import Any

import dask
import pytest

from daskmr.clusters import named_cluster
from daskmr.clusters.coiled import CoiledCluster
from daskmr.clusters.gateway import GatewayCluster
from daskmr.clusters.kubernetes import KubernetesCluster
from daskmr.dispatch.cluster import awake, connect
from daskmr.dispatch.cluster_arguments import starts_anew
from daskmr.errors import ClusterError, UnknownNameError


def test_a_kind_and_a_name_are_told_from_an_address() -> None:
    for address in ("local", "tcp://127.0.0.1:8786", "tls://a.example:8786", "127.0.0.1:8786"):
        assert named_cluster(address) is None
    found = [
        named_cluster(place) for place in ("gateway:a.01", "coiled:mine", "kubernetes:here/mine")
    ]
    assert found == [
        GatewayCluster(name="a.01"),
        CoiledCluster(name="mine"),
        KubernetesCluster(name="here/mine"),
    ]
    assert starts_anew("coiled:new")
    assert not starts_anew("coiled:mine")
    assert not starts_anew(None)


def test_what_is_no_cluster_is_refused_by_name() -> None:
    with pytest.raises(UnknownNameError, match="unknown cluster 'gatewy'; known: coiled, gateway"):
        named_cluster("gatewy:x")
    with pytest.raises(ClusterError, match="'gateway:' has no name after the colon"):
        named_cluster("gateway:")


@pytest.mark.parametrize(
    ("place", "package"),
    [
        ("gateway:x", "dask_gateway"),
        ("coiled:x", "coiled"),
        ("kubernetes:x", "dask_kubernetes.operator"),
    ],
)
def test_a_missing_package_is_named_with_what_brings_it(
    monkeypatch: pytest.MonkeyPatch, place: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    kind = place.partition(":")[0]
    refusal = pytest.raises(ClusterError, match=rf"{place}: install daskmr\[{kind}\]")
    with refusal, connect(scheduler=place):
        pass


def sleepy() -> Any:
    """A cluster that ends after a second without tasks."""
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
    )  # fmt: skip


IDLE = {"distributed.scheduler.idle-timeout": "1s", "daskmr.keep-alive": 0.2}


def test_a_cluster_stays_while_it_is_kept_awake() -> None:
    from distributed import Client

    with (
        dask.config.set(IDLE),
        sleepy() as cluster,
        Client(cluster, set_as_default=False) as client,
        awake(client),
    ):
        time.sleep(4)
        assert cluster.scheduler.status.name == "running"


def test_options_of_a_named_cluster_keep_it_below_a_maximum() -> None:
    assert CoiledCluster(name="new").options(5) == {
        "name": None, "n_workers": [1, 5], "shutdown_on_close": True,
        "idle_timeout": "20 minutes", "show_widget": False,
    }  # fmt: skip
    assert CoiledCluster(name="mine").options(5)["shutdown_on_close"] is False


def test_tls_of_a_person_is_asked_for() -> None:
    from daskmr.dispatch.cluster import trust_tls

    before = deepcopy(dask.config.config)
    try:
        trust_tls("ca", "ca.pem")
        trust_tls("key", "key.pem")
        assert dask.config.get("distributed.comm.tls.ca-file") == "ca.pem"
        assert dask.config.get("distributed.comm.tls.client.key") == "key.pem"
        assert dask.config.get("distributed.comm.require-encryption") is True
    finally:
        dask.config.config.clear()
        dask.config.config.update(before)
