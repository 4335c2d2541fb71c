"""Settings for every test."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "daskmr",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),  # the same examples for every change that is judged
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("daskmr")


@pytest.fixture(scope="session")
def imagery() -> Path:
    """Folder of real imagery named by DASKMR_IMAGERY; skips, visibly, without it."""
    folder = os.environ.get("DASKMR_IMAGERY")
    if not folder:
        pytest.skip("DASKMR_IMAGERY names no folder of real imagery")
    return Path(folder)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """Two worker processes of two threads on loopback."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as made:
        yield made


@pytest.fixture
def client(cluster: Any) -> Iterator[Any]:
    """A client of the cluster that is nobody's default."""
    from distributed import Client

    with Client(cluster, set_as_default=False) as made:
        yield made


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an S3 server on loopback, which all readers find, with one ``bucket``."""
    import boto3
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
        "AWS_S3_ENDPOINT": f"{host}:{port}",
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    yield client
    client.close()
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def sagemaker(s3: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """SageMaker on loopback: a control plane, and a runtime whose ``model`` is the built-in server.

    Yields the runtime (`daskmr.testing.gateway.Gateway`).
    """
    import boto3

    from daskmr import aws
    from daskmr.models.server import running
    from daskmr.testing.gateway import sagemaker_runtime

    url = s3.meta.endpoint_url
    with running() as server:
        models = {"model": server, "other": server}
        with sagemaker_runtime(control_plane=url, models=models, s3_endpoint=url) as gateway:
            for service in ("SAGEMAKER", "STS"):
                monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", url)
            monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", gateway.url)
            client = boto3.client("sagemaker")
            for endpoint in client.list_endpoints()["Endpoints"]:
                client.delete_endpoint(EndpointName=endpoint["EndpointName"])
            for config in client.list_endpoint_configs()["EndpointConfigs"]:
                client.delete_endpoint_config(EndpointConfigName=config["EndpointConfigName"])
            client.close()
            aws.close()
            yield gateway
            aws.close()
