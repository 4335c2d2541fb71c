"""What the compose file runs, as processes of this machine: a request in, features out."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from tests.deploy.conftest import parsed

pytestmark = pytest.mark.deploy

FOLDER = Path(__file__).parents[2] / "deploy" / "compose"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yml").read_text())["services"]
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


class Here:
    """The services' commands, with loopback in place of the names of hosts."""

    def __init__(self, services: dict[str, Any], folder: Path, aws: str) -> None:
        self.services, self.folder = services, folder
        self.scheduler, self.model = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self.places = {
            "aws:5000": aws,
            "scheduler:8786": self.scheduler,
            "model:8080": self.model,
            "/setup.py": str(FOLDER / "setup.py"),
            "0.0.0.0:8080": f"127.0.0.1:{free_port()}",
            "0.0.0.0": "127.0.0.1",  # noqa: S104
            "/tmp/dask": str(folder / "dask"),  # noqa: S108
        }
        self.environment = os.environ | {
            name: self.here(value) for name, value in services["listener"]["environment"].items()
        }

    def here(self, word: str) -> str:
        for theirs, ours in self.places.items():
            word = word.replace(theirs, ours)
        return word

    def command(self, name: str, *more: str) -> list[str]:
        said = self.services[name]
        entry: list[str] = said.get("entrypoint", ["daskmr"])
        command: list[str] = said["command"]
        program, *words = [*entry, *command, *more]
        return [str(Path(sys.executable).with_name(program)), *map(self.here, words)]

    @contextmanager
    def running(self, name: str, *more: str) -> Iterator[None]:
        with (self.folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                self.command(name, *more), env=self.environment, cwd=self.folder,
                stdout=log, stderr=log,
            )  # fmt: skip
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)

    def run(self, name: str, *more: str) -> None:
        done = subprocess.run(
            self.command(name, *more), env=self.environment, cwd=self.folder,
            capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def until_it_listens(address: str) -> None:
    host, _, port = address.rpartition(":")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise TimeoutError(address)


def test_a_request_is_answered(services: dict[str, Any], tmp_path: Path) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    here = Here(services, tmp_path, f"{host}:{port}")
    where = {
        "endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1",
        "aws_access_key_id": "standin", "aws_secret_access_key": "standin",
    }  # fmt: skip
    request = {
        "jobId": "first",
        "imageUrls": ["s3://imagery/scene.tif"],
        "imageProcessor": {
            "name": f"http://{here.model}/invocations", "type": "HTTP_ENDPOINT",
        },
        "imageProcessorTileSize": 512,
        "imageProcessorTileOverlap": 64,
        "imageProcessorTileFormat": "GTIFF",
        "outputs": [{"type": "S3", "bucket": "results", "prefix": "first"}],
    }  # fmt: skip
    quiet = ["--no-dashboard"]
    try:
        here.run("setup")
        here.run("setup")
        boto3.client("sqs", **where).send_message(
            QueueUrl=f"http://{host}:{port}/123456789012/requests", MessageBody=json.dumps(request)
        )
        with ExitStack() as stack:
            stack.enter_context(here.running("model", "--port", here.model.rpartition(":")[2]))
            told = ["--port", here.scheduler.rpartition(":")[2], *quiet]
            stack.enter_context(here.running("scheduler", *told))
            until_it_listens(here.scheduler)
            until_it_listens(here.model)
            stack.enter_context(here.running("worker", "--host", "127.0.0.1", *quiet))
            here.run("listener", "--once")
        s3 = boto3.client("s3", **where)
        found = s3.get_object(Bucket="results", Key="first/first.geojson")["Body"].read()
    finally:
        server.stop()
    assert len(json.loads(found)["features"]) == 25  # one in the middle of each tile of 512


def test_only_loopback_is_published(services: dict[str, Any]) -> None:
    for name, said in services.items():
        assert all(port.startswith("127.0.0.1:") for port in said.get("ports", ())), name


def test_containers_are_confined(services: dict[str, Any]) -> None:
    for name in set(services) - {"aws"}:
        assert services[name]["read_only"] is True, name
        assert services[name]["cap_drop"] == ["ALL"], name


def test_commands_are_understood(services: dict[str, Any]) -> None:
    assert parsed(services["listener"]["command"])["models"] == ("model:8080",)
    assert parsed(services["model"]["command"])["name"] == "centerpoint"
