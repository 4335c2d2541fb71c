"""How soon the service starts what can be started, and what a small job waits behind a large one.

A listener of its own process, queues of moto, and two model servers, all on loopback. The larger
job has a hundred times the tiles of the small one, and its endpoint is full.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3

from benchmarks.figure import Figure
from daskmr.testing.numbered import numbered, write_numbered
from daskmr.testing.servers import Served, serving
from tests.chaos.processes import Service

_LATENCY_S = 0.5
_SMALL, _LARGE = 4, 40
_REGION = "us-east-1"


class _World:
    """Queues, images, a store, and a listener."""

    def __init__(self, folder: Path, endpoint: str, models: list[Served]) -> None:
        self.folder, self.models = folder, models
        self.environment = {
            "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": _REGION,
        }  # fmt: skip
        os.environ.update(self.environment)
        self.sqs = boto3.client("sqs", endpoint_url=endpoint, region_name=_REGION)
        self.queue = self.sqs.create_queue(QueueName="images")["QueueUrl"]
        s3 = boto3.client("s3", endpoint_url=endpoint, region_name=_REGION)
        s3.create_bucket(Bucket="results")
        (folder / "images").mkdir()
        self.images = {
            side: write_numbered(folder / "images" / f"{side}.tif", side)
            for side in (_SMALL, _LARGE)
        }

    @contextmanager
    def listening(self) -> Iterator[None]:
        hosts = [part for m in self.models for part in ("--allow-model", m.url.split("/")[2])]
        words = [
            sys.executable, "-m", "daskmr", "listen", "--queue", self.queue, "--workers", "2",
            "--store", str(self.folder / "store"), "--allow-image", str(self.folder / "images"),
            "--allow-output", "s3://results", *hosts,
        ]  # fmt: skip
        log = (self.folder / "listener.log").open("w")
        with log, subprocess.Popen(words, stdout=log, stderr=log) as process:
            try:
                yield
            finally:
                process.terminate()
                process.wait(120)

    def send(self, job: str, side: int, model: Served) -> float:
        """Send a request; when."""
        request = {
            "jobId": job, "imageUrls": [self.images[side]],
            "imageProcessor": {"name": model.url, "type": "HTTP_ENDPOINT"},
            "imageProcessorTileSize": 32, "imageProcessorTileOverlap": 0,
            "imageProcessorTileFormat": "GTIFF",
            "outputs": [{"type": "S3", "bucket": "results", "prefix": "out"}],
        }  # fmt: skip
        now = time.perf_counter()
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=json.dumps(request))
        return now

    def ended(self, job: str, timeout_s: float = 600.0) -> float:
        """Wait for the end of a request; when it was seen."""
        path = self.folder / "store" / "requests" / job / "ended.json"
        return _until(path.exists, timeout_s)


def _until(condition: Any, timeout_s: float = 600.0) -> float:
    end = time.perf_counter() + timeout_s
    while not condition():
        if time.perf_counter() > end:
            msg = "it never came true"
            raise TimeoutError(msg)
        time.sleep(0.005)
    return time.perf_counter()


def figures() -> Iterator[Figure]:
    """Both, from one listener."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        aws = stack.enter_context(Service("tests.chaos.bucket"))
        full, idle = (stack.enter_context(serving(numbered(_LATENCY_S))) for _ in range(2))
        world = _World(folder, aws.url, [full, idle])
        stack.enter_context(world.listening())
        world.send("warm", _SMALL, full)
        world.ended("warm")
        alone = -world.send("alone", _SMALL, full) + world.ended("alone")
        world.send("large", _LARGE, full)
        _until(lambda: full.in_flight >= 10)
        sent = world.send("elsewhere", _SMALL, idle)
        start_s = _until(lambda: idle.requests) - sent
        yield Figure(
            name="service: seconds to start while another endpoint is full",
            value=start_s,
            budget="<= 2",
            detail="from the message to the first call of an idle endpoint",
        )
        behind = -world.send("behind", _SMALL, full) + world.ended("behind")
        yield Figure(
            name="service: small job behind one of 100 x / alone",
            value=behind / alone,
            budget="<= 3",
            detail=f"{behind:.1f} s and {alone:.1f} s, {_SMALL**2} and {_LARGE**2} tiles",
        )
