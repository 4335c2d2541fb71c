"""Clusters under a name or behind TLS, and clusters that would fall asleep."""

import sys
import time
from copy import deepcopy
from typing import Any

import dask
import pytest

from daskmr.clusters import named
from daskmr.clusters.coiled import CoiledCluster
from daskmr.clusters.gateway import GatewayCluster
from daskmr.clusters.kubernetes import KubernetesCluster
from daskmr.errors import ClusterError, UnknownNameError
from daskmr.pipeline.cluster import awake, connect, is_made_for_a_job


def test_a_kind_and_a_name_are_told_from_an_address() -> None:
    for address in ("local", "tcp://127.0.0.1:8786", "tls://a.example:8786", "127.0.0.1:8786"):
        assert named(address) is None
    found = [named(place) for place in ("gateway:a.01", "coiled:mine", "kubernetes:here/mine")]
    assert found == [
        GatewayCluster(name="a.01"),
        CoiledCluster(name="mine"),
        KubernetesCluster(name="here/mine"),
    ]
    assert is_made_for_a_job("coiled:new")
    assert not is_made_for_a_job("coiled:mine")
    assert not is_made_for_a_job(None)


def test_what_is_no_cluster_is_refused_by_name() -> None:
    with pytest.raises(UnknownNameError, match="unknown cluster 'gatewy'; known: coiled, gateway"):
        named("gatewy:x")
    with pytest.raises(ClusterError, match="'gateway:' has no name after the colon"):
        named("gateway:")


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
    from daskmr.pipeline.cluster import trust

    before = deepcopy(dask.config.config)
    try:
        trust("ca", "ca.pem")
        trust("key", "key.pem")
        assert dask.config.get("distributed.comm.tls.ca-file") == "ca.pem"
        assert dask.config.get("distributed.comm.tls.client.key") == "key.pem"
        assert dask.config.get("distributed.comm.require-encryption") is True
    finally:
        dask.config.config.clear()
        dask.config.config.update(before)
