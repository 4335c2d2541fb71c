"""Listeners that are killed while they work off a queue: every request once, every bad one buried.

The checker reads the results in the bucket, the queues, and what the model server was asked.
"""

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from daskmr.testing.numbered import numbered, write_numbered
from daskmr.testing.servers import Served, serving
from tests.chaos.processes import DriverProcess

_SIDE = 2
_TILES = list(range(_SIDE * _SIDE))
_VISIBILITY_S = 12
_BUCKET, _REGION = "chaos-results", "us-east-1"
_LISTENERS = 2


@dataclass
class ListenerKills:
    """Messages, good, doubled and bad, and listeners that die."""

    folder: Path
    """Where everything is kept."""
    endpoint: str
    """URL of SQS and S3."""
    n_messages: int
    """Requests, before some are doubled."""
    n_kills: int
    """Listeners that are killed."""
    seed: int = 0
    """Of whatever is left to chance."""
    limit_s: float = 3600.0
    """Seconds after which what is not done is lost."""
    _clients: dict[str, Any] = field(default_factory=dict)
    _n_killed: int = 0

    def run(self) -> dict[str, Any]:
        """Send everything, kill, wait until the queue is empty, and compare."""
        rng = random.Random(self.seed)  # noqa: S311 - kills need no secrets
        self._prepare()
        with ExitStack() as stack:
            model = stack.enter_context(serving(numbered(0.02)))
            cluster = stack.enter_context(_cluster())
            good, bad, n_sent = self._send(rng, model)
            began = time.monotonic()
            words = self._words(model, cluster)
            listeners = [stack.enter_context(self._listener(i, words)) for i in range(_LISTENERS)]
            self._kill(rng, listeners, n_sent)
            self._wait(listeners)
            found = self._compare(good, bad)
            found["seconds"] = round(time.monotonic() - began)
            found["calls"] = len(model.requests)
        return {"messages": n_sent, "requests": len(good), "kills": self._n_killed, **found}

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service, endpoint_url=self.endpoint, region_name=_REGION,
                aws_access_key_id="testing", aws_secret_access_key="testing",  # noqa: S106
            )  # fmt: skip
        return self._clients[service]

    def _prepare(self) -> None:
        names = ("images", "dead")
        urls = [self._client("sqs").create_queue(QueueName=name)["QueueUrl"] for name in names]
        self.queue, self.dead = urls
        self._client("s3").create_bucket(Bucket=_BUCKET)
        (self.folder / "images").mkdir()
        self.image = write_numbered(self.folder / "images" / "scene.tif", _SIDE)

    def _send(self, rng: random.Random, model: Served) -> tuple[list[str], list[str], int]:
        """Good requests by name, bad bodies, and how many messages there are: 10 % come twice."""
        good, bad, bodies = [], [], []
        for number in range(self.n_messages):
            body = json.dumps(self._request(f"job-{number:05d}", model))
            if rng.random() < 0.05:
                body = rng.choice([body[: rng.randrange(len(body))], body.replace("jobId", "id")])
                bad.append(body)
            else:
                good.append(f"job-{number:05d}")
            bodies += [body] * (2 if rng.random() < 0.1 else 1)
        rng.shuffle(bodies)
        for start in range(0, len(bodies), 10):
            entries = [
                {"Id": str(i), "MessageBody": body or "-"}
                for i, body in enumerate(bodies[start : start + 10])
            ]
            self._client("sqs").send_message_batch(QueueUrl=self.queue, Entries=entries)
        return good, [body or "-" for body in bad], len(bodies)

    def _request(self, name: str, model: Served) -> dict[str, Any]:
        return {
            "jobId": name,
            "imageUrls": [self.image],
            "imageProcessor": {"name": model.url, "type": "HTTP_ENDPOINT"},
            "imageProcessorTileSize": 32,
            "imageProcessorTileOverlap": 0,
            "imageProcessorTileFormat": "GTIFF",
            "outputs": [{"type": "S3", "bucket": _BUCKET, "prefix": "out"}],
        }

    def _words(self, model: Served, cluster: str) -> list[str]:
        host = model.url.removeprefix("http://").partition("/")[0]
        return [
            "listen", "--queue", self.queue, "--dlq", self.dead, "-s", cluster,
            "--store", str(self.folder / "store"), "--visibility", str(_VISIBILITY_S),
            "--max-jobs", "4", "--allow-image", str(self.folder / "images"),
            "--allow-output", f"s3://{_BUCKET}", "--allow-model", host,
        ]  # fmt: skip

    def _listener(self, number: int, words: list[str]) -> DriverProcess:
        folder = self.folder / f"listener-{number}"
        folder.mkdir()
        environment = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": _REGION,
        }
        return DriverProcess(words, folder, environment)

    def _kill(self, rng: random.Random, listeners: list[DriverProcess], n_sent: int) -> None:
        """Kill one or the other, each at a random progress of the whole."""
        dues = sorted(rng.uniform(0.0, 0.9) for _ in range(self.n_kills))
        end = time.monotonic() + self.limit_s
        for due in dues:
            while self._left() > (1.0 - due) * n_sent and time.monotonic() < end:
                time.sleep(0.5)
            time.sleep(rng.uniform(0.5, 4.0))
            listener = rng.choice(listeners)
            listener.signalled(signal.SIGKILL, 10)
            self._n_killed += 1
            listener.start()

    def _wait(self, listeners: list[DriverProcess]) -> None:
        end = time.monotonic() + self.limit_s
        while self._left() and time.monotonic() < end:
            for listener in listeners:
                if listener.poll() is not None:
                    listener.start()
            time.sleep(1.0)

    def _left(self, queue: str = "") -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._client("sqs").get_queue_attributes(
            QueueUrl=queue or self.queue, AttributeNames=names
        )
        return sum(int(found["Attributes"][name]) for name in names)

    def _compare(self, good: list[str], bad: list[str]) -> dict[str, Any]:
        labels = {name: self._labels(name) for name in good}
        buried = Counter(self._buried())
        return {
            "left": self._left(),
            "lost": sum(found is None for found in labels.values()),
            "wrong": sum(found not in {None, tuple(_TILES)} for found in labels.values()),
            "good_buried": sum(n for body, n in buried.items() if body not in set(bad)),
            "bad_not_buried": len(set(bad) - set(buried)),
            "bad": len(set(bad)),
        }

    def _labels(self, name: str) -> tuple[int, ...] | None:
        try:
            found = self._client("s3").get_object(Bucket=_BUCKET, Key=f"out/{name}.geojson")
        except self._client("s3").exceptions.NoSuchKey:
            return None
        features = json.loads(found["Body"].read())["features"]
        return tuple(sorted(int(f["properties"]["featureClasses"][0]["iri"]) for f in features))

    def _buried(self) -> Iterator[str]:
        while True:
            batch = self._client("sqs").receive_message(
                QueueUrl=self.dead, MaxNumberOfMessages=10
            ).get("Messages", [])  # fmt: skip
            if not batch:
                return
            for message in batch:
                yield message["Body"]
                self._client("sqs").delete_message(
                    QueueUrl=self.dead, ReceiptHandle=message["ReceiptHandle"]
                )


@contextmanager
def _cluster() -> Iterator[str]:
    """Yield a cluster that outlives listeners; its address."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=8, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as made:
        yield str(made.scheduler_address)
