"""AWS on loopback, a model over HTTP, and the service as its own process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from daskmr import aws
from daskmr.testing.numbered import numbered, write_numbered
from daskmr.testing.servers import Served, serving

REGION = "us-east-1"
_NUMBERS = count()
PARTS = ("s3", "master", "volume", "filer")


@dataclass
class World:
    """Queues, buckets, streams and topics; a folder of images; a model; a store."""

    url: str
    s3: str
    folder: Path
    model: Served
    processes: list["subprocess.Popen[str]"] = field(default_factory=list)
    _clients: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        number = f"{os.getpid()}-{next(_NUMBERS)}"
        sqs = self.client("sqs")
        self.queue = sqs.create_queue(QueueName=f"images-{number}")["QueueUrl"]
        self.dead = sqs.create_queue(QueueName=f"dead-{number}")["QueueUrl"]
        self.bucket = f"results-{number}"
        self.client("s3").create_bucket(Bucket=self.bucket)
        self.stream = f"features-{number}"
        self.client("kinesis").create_stream(StreamName=self.stream, ShardCount=1)
        self.topic = self.client("sns").create_topic(Name=f"status-{number}")["TopicArn"]
        self.events = sqs.create_queue(QueueName=f"events-{number}")["QueueUrl"]
        self.client("sns").subscribe(
            TopicArn=self.topic,
            Protocol="sqs",
            Endpoint=sqs.get_queue_attributes(QueueUrl=self.events, AttributeNames=["QueueArn"])[
                "Attributes"
            ]["QueueArn"],
        )
        self.image = write_numbered(self.folder / "images" / "scene.tif", 4)
        self.store = str(self.folder / "store")

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service, region_name=REGION, endpoint_url=self.s3 if service == "s3" else self.url
            )
        return self._clients[service]

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for made in self._clients.values():
            made.close()

    def request(self, job: str, **more: Any) -> dict[str, Any]:
        """A request of Model Runner for the scene, with results in the bucket."""
        return {
            "jobId": job,
            "imageUrls": [self.image],
            "imageProcessor": {"name": self.model.url, "type": "HTTP_ENDPOINT"},
            "imageProcessorTileSize": 32,
            "imageProcessorTileOverlap": 0,
            "imageProcessorTileFormat": "GTIFF",
            "outputs": [{"type": "S3", "bucket": self.bucket, "prefix": "out"}],
            **more,
        }

    def send(self, *requests: Any) -> None:
        for request in requests:
            body = request if isinstance(request, str) else json.dumps(request)
            self.client("sqs").send_message(QueueUrl=self.queue, MessageBody=body)

    def listen(self, *options: str, **environment: str) -> "subprocess.Popen[str]":
        """Start the service."""
        host = self.model.url.removeprefix("http://").partition("/")[0]
        command = [
            sys.executable, "-m", "daskmr", "listen", "--queue", self.queue, "--dlq", self.dead,
            "--store", self.store, "--workers", "1", "--status-topic", self.topic,
            "--allow-image", str(self.folder / "images"), "--allow-output", f"s3://{self.bucket}",
            "--allow-output", f"kinesis:{self.stream}", "--allow-model", host, *options,
        ]  # fmt: skip
        log = (self.folder / f"listener-{len(self.processes)}.log").open("w")
        with log:
            process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT,
                text=True, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def run_once(self, *options: str, **environment: str) -> str:
        """Let the service do all there is; what it logged."""
        process = self.listen("--once", *options, **environment)
        process.wait(120)
        log = self.log(self.processes.index(process))
        assert process.returncode == 0, log
        return log

    def log(self, number: int) -> str:
        return (self.folder / f"listener-{number}.log").read_text()

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """All messages of a queue, which are gone then."""
        found: list[dict[str, Any]] = []
        while True:
            batch = self.client("sqs").receive_message(
                QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
            ).get("Messages", [])  # fmt: skip
            if not batch:
                return found
            for message in batch:
                self.client("sqs").delete_message(
                    QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"]
                )
            found += batch

    def said(self) -> list[dict[str, str]]:
        """Attributes of all events of the topic."""
        bodies = [json.loads(message["Body"]) for message in self.messages(self.events)]
        return [
            {name: held["Value"] for name, held in body["MessageAttributes"].items()}
            | {"Message": body["Message"]}
            for body in bodies
        ]

    def labels(self, job: str) -> list[int]:
        """Numbers of the tiles whose features stand in a result, sorted."""
        content = self.client("s3").get_object(Bucket=self.bucket, Key=f"out/{job}.geojson")
        found = json.loads(content["Body"].read())["features"]
        return sorted(int(f["properties"]["featureClasses"][0]["iri"]) for f in found)

    def has_ended(self, job: str) -> bool:
        """Whether a request has come to its end."""
        return (Path(self.store) / "requests" / job / "ended.json").exists()

    def is_left(self, queue: str) -> int:
        """Messages of a queue that are not deleted."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)
        return sum(int(found["Attributes"][name]) for name in names)


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What a condition gives as soon as it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    msg = "it never came true"
    raise AssertionError(msg)


def free_port() -> int:
    """A port of loopback that nobody listens on at present."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def stop(process: "subprocess.Popen[str]") -> int:
    """End a service in good order; its exit status."""
    process.send_signal(signal.SIGTERM)
    return process.wait(60)


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an AWS of its own process; empty where DASKMR_MINISTACK names no such program."""
    program = os.environ.get("DASKMR_MINISTACK", "")
    if not program:
        yield ""
        return
    port = free_port()
    settings = {"BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1", "GATEWAY_PORT": str(port)}
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("ministack") / "log"
    with (
        log.open("w") as file,
        subprocess.Popen(
            [program], env={**os.environ, **settings}, stdout=file, stderr=file
        ) as run,
    ):
        until(lambda: answers(f"{url}/_ministack/health"))
        yield url
        run.kill()


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an S3 that checks signatures; empty where DASKMR_WEED names no such program."""
    program = os.environ.get("DASKMR_WEED", "")
    if not program:
        yield ""
        return
    folder = tmp_path_factory.mktemp("weed")
    ports = [free_port() for _ in range(8)]
    names = [f"{part}.port{kind}" for kind in ("", ".grpc") for part in PARTS]
    user = {
        "name": "test",
        "credentials": [{"accessKey": "test", "secretKey": "test"}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [user]}))
    words = [
        program, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-s3",
        *(f"-{name}={port}" for name, port in zip(names, ports, strict=True)),
        f"-s3.config={folder}/s3.json", "-s3.iam=false", "-master.volumeSizeLimitMB=64",
        "-volume.max=500",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{ports[0]}"
    with (
        (folder / "log").open("w") as file,
        subprocess.Popen(words, stdout=file, stderr=file) as run,
    ):
        until(lambda: answers(f"{url}/healthz"))
        yield url
        run.kill()  # asked to end, it takes its time


def answers(url: str) -> bool:
    """Whether a server is well."""
    try:
        return httpx.get(url).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
def world(
    ministack: str, seaweed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """Everything the service needs, on loopback: real counterparts where there are any."""
    server = None
    if not ministack:
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        ministack = "http://{}:{}".format(*server.get_host_and_port())
    yield from a_world(ministack, seaweed, tmp_path, monkeypatch)
    if server is not None:
        server.stop()


@pytest.fixture
def moto_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The same with an AWS of this process, which may be at several addresses."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    yield from a_world(url, "", tmp_path, monkeypatch)
    server.stop()


def a_world(url: str, s3: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name, value in {
        "AWS_ENDPOINT_URL": url,
        **({"AWS_ENDPOINT_URL_S3": s3} if s3 else {}),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    aws.close()
    (folder / "images").mkdir()
    with serving(numbered(0.01)) as model:
        made = World(url=url, s3=s3 or url, folder=folder, model=model)
        yield made
        made.close()
    aws.close()
