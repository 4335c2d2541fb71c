"""A real dask-gateway server on loopback: jobs through it have the same result as here."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest

import daskmr
from daskmr.errors import ClusterError
from daskmr.testing.images import HALF_METRE, UTM, write_image

pytestmark = pytest.mark.deploy

OURS = Path(__file__).parents[2] / "deploy" / "gateway" / "dask_gateway_config.py"
CONFIG = """
load_subconfig("{ours}")
c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.DaskGateway.address = "127.0.0.1:{api}"
c.Proxy.address = "127.0.0.1:{http}"
c.Proxy.tcp_address = "127.0.0.1:{tcp}"
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.SimpleAuthenticator"
c.SimpleAuthenticator.password = "loopback"
c.UnsafeLocalBackend.clusters_directory = "{folder}"
c.ClusterConfig.scheduler_cmd = ["{python}", "-m", "distributed.cli.dask_scheduler"]
c.ClusterConfig.worker_cmd = ["{python}", "-m", "distributed.cli.dask_worker"]
"""


def free_ports(n: int) -> list[int]:
    found = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [server.getsockname()[1] for server in found]
    for server in found:
        server.close()
    return ports


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Settings of `dask.config` that lead to a running server."""
    pytest.importorskip("dask_gateway")
    server = os.environ.get("DASKMR_GATEWAY")
    if not server:
        pytest.skip("DASKMR_GATEWAY names no dask-gateway-server")
    folder = tmp_path_factory.mktemp("gateway")
    api, http, tcp = free_ports(3)
    config = CONFIG.format(
        api=api, http=http, tcp=tcp, folder=folder, python=sys.executable, ours=OURS
    )
    (folder / "config.py").write_text(config)
    path = f"{Path(server).parent}:{os.environ['PATH']}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [server, "-f", str(folder / "config.py")], cwd=folder, stdout=log, stderr=log,
            env={**os.environ, "PATH": path}, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(http, folder / "log")
        yield {
            "gateway.address": f"http://127.0.0.1:{http}",
            "gateway.proxy-address": f"tls://127.0.0.1:{tcp}",
            "gateway.auth.type": "basic",
            "gateway.auth.kwargs": {"username": "me", "password": "loopback"},
        }
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def wait_for(port: int, log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(log.read_text())


@pytest.fixture
def scene(tmp_path: Path) -> str:
    pixels = np.random.default_rng(3).integers(0, 255, (1, 200, 300), dtype=np.uint8)
    return str(write_image(tmp_path / "x.tif", pixels, crs=UTM, transform=HALF_METRE))


def features(path: Path) -> list[Any]:
    found: list[Any] = json.loads(path.read_text())["features"]
    for feature in found:
        del feature["properties"]["inferenceMetadata"]["inferenceDT"]
    return found


def test_a_job_through_a_gateway_has_the_same_result(
    gateway: dict[str, Any], scene: str, tmp_path: Path
) -> None:
    from dask_gateway import Gateway

    options: dict[str, Any] = {"tile_size": 64, "overlap": 16, "job_id": "j"}
    daskmr.run(scene, "centerpoint", out=str(tmp_path / "near"), workers=1, **options)
    near = features(tmp_path / "near" / "j.geojson")
    assert len(near) > 3
    with dask.config.set(gateway):
        far = {"out": str(tmp_path / "far"), **options}
        daskmr.run(scene, "centerpoint", scheduler="gateway:new", workers=2, **far)
        assert features(tmp_path / "far" / "j.geojson") == near
        with Gateway() as known:
            assert known.list_clusters() == []
            with known.new_cluster(worker_cores=1, worker_memory=2) as mine:
                mine.scale(1)
                named = {"out": str(tmp_path / "named"), **options}
                daskmr.run(scene, "centerpoint", scheduler=f"gateway:{mine.name}", **named)
                assert features(tmp_path / "named" / "j.geojson") == near
                assert [cluster.name for cluster in known.list_clusters()] == [mine.name]


def test_what_a_gateway_objects_to_is_one_error(gateway: dict[str, Any], scene: str) -> None:
    with dask.config.set(gateway):
        with pytest.raises(ClusterError, match="gateway:nobody: "):
            daskmr.run(scene, "centerpoint", scheduler="gateway:nobody")
        wrong = {"gateway.auth.kwargs": {"username": "me", "password": "wrong"}}
        with dask.config.set(wrong), pytest.raises(ClusterError, match="gateway:new: "):
            daskmr.run(scene, "centerpoint", scheduler="gateway:new")


def test_arguments_of_the_other_kinds_exist() -> None:
    from inspect import signature

    from daskmr.clusters.coiled import CoiledCluster, software
    from daskmr.clusters.kubernetes import KubernetesCluster

    coiled = pytest.importorskip("coiled")
    assert set(CoiledCluster(name="x").options(2)) <= set(signature(coiled.Cluster).parameters)
    assert set(software()) <= set(signature(coiled.create_software_environment).parameters)
    operator = pytest.importorskip("dask_kubernetes.operator")
    known = set(signature(operator.KubeCluster.__init__).parameters)
    assert set(KubernetesCluster(name="a/b").options()) <= known
