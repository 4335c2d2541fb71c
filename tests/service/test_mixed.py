"""Sixteen messages, good and bad ones, with an outage in the middle: each ends where it belongs."""

import json
import time
from collections import Counter
from typing import Any

import pytest
from aiohttp import web

from daskmr.testing.numbered import number_of, numbered
from daskmr.testing.servers import serving
from tests.service.conftest import World, free_port, stop, until
from tests.service.relays import relay

pytestmark = pytest.mark.services
VISIBILITY_S = 3
OUTAGE_S = 5 * VISIBILITY_S
GOOD = [f"good-{number}" for number in range(7)]
REASONS = {
    "malformed-1": "not the JSON object of a request",
    "malformed-2": "imageProcessor: is missing",
    "not-allowed-image": "imageUrls.0",
    "not-allowed-output": "outputs.0",
    "missing-1": "no such file",
    "missing-2": "s3://pictures/missing.tif: cannot be opened",
    "http-4xx": "no tile succeeded (16 x HTTP_422)",
}


async def refuse(_request: web.Request, _number: int) -> web.StreamResponse:
    return web.Response(status=422)


def wrapped(request: dict[str, Any]) -> str:
    """A message as SNS puts it into a queue."""
    return json.dumps({"Type": "Notification", "MessageId": "1", "Message": json.dumps(request)})


def bad_messages(world: World, strict: str) -> dict[str, str]:
    """Bodies of messages that belong into the dead-letter queue, by name."""
    return {
        "malformed-1": '{"jobId": "malformed-1", ',
        "malformed-2": json.dumps({"jobId": "malformed-2", "imageUrls": [world.image]}),
        "not-allowed-image": json.dumps(
            world.request("not-allowed-image", imageUrls=["s3://secret/x.tif"])
        ),
        "not-allowed-output": wrapped(
            world.request("not-allowed-output", outputs=[{"type": "S3", "bucket": "elsewhere"}])
        ),
        "missing-1": json.dumps(
            world.request("missing-1", imageUrls=[f"{world.folder}/images/missing.tif"])
        ),
        "missing-2": json.dumps(
            world.request("missing-2", imageUrls=["s3://pictures/missing.tif"])
        ),
        "http-4xx": json.dumps(
            world.request("http-4xx", imageProcessor={"name": strict, "type": "HTTP_ENDPOINT"})
        ),
    }


def test_every_good_message_is_delivered_every_bad_one_buried_and_none_twice(
    moto_world: World,
) -> None:
    world = moto_world
    world.client("s3").create_bucket(Bucket="pictures")
    world.client("s3").upload_file(world.image, "pictures", "scene.tif")
    port = free_port()
    with (
        relay(world.url, port, is_open=True) as s3,
        serving(numbered(0.3)) as slow,
        relay(slow.url, free_port(), is_open=True) as model,
        serving(refuse) as strict,
    ):
        name = {"name": f"{model.url}/invocations", "type": "HTTP_ENDPOINT"}
        good = [
            world.request(job, imageUrls=["s3://pictures/scene.tif"], imageProcessor=name)
            for job in (*GOOD, "wrapped-1", "wrapped-2")
        ]
        bodies = [json.dumps(each) for each in good[:-2]] + [wrapped(each) for each in good[-2:]]
        bad = bad_messages(world, strict.url)
        mixed = [body for pair in zip(bodies, bad.values(), strict=False) for body in pair]
        mixed += bodies[len(bad) :]
        assert len(mixed) == 16
        process = world.listen(
            "--visibility", str(VISIBILITY_S), "--allow-image", "s3://pictures",
            "--allow-model", "127.0.0.1",
            AWS_ENDPOINT_URL_S3=s3.url, AWS_MAX_ATTEMPTS="1",
        )  # fmt: skip
        world.send(*mixed[:8])
        until(lambda: slow.requests)
        s3.close()
        model.close()
        world.send(*mixed[8:])
        time.sleep(OUTAGE_S)
        s3.open()
        model.open()
        until(lambda: world.is_left(world.queue) == 0, 180)
        assert stop(process) == 0
        tiles = {number_of(body) for _, body in slow.requests}
    check_good(world, [each["jobId"] for each in good])
    assert tiles == set(range(16))
    check_bad(world, bad)


def check_good(world: World, jobs: list[str]) -> None:
    """Each good job has its whole result, and told of one success."""
    for job in jobs:
        assert world.labels(job) == list(range(16))
    ends = Counter(
        (event["job_id"], event["status"])
        for event in world.said()
        if event["status"] in {"SUCCESS", "PARTIAL", "FAILED"}
    )
    assert {key: n for key, n in ends.items() if key[0] in jobs} == {
        (job, "SUCCESS"): 1 for job in jobs
    }


def check_bad(world: World, bad: dict[str, str]) -> None:
    """Each bad message is in the dead-letter queue once, unchanged, with its reason."""
    buried = world.messages(world.dead)
    assert sorted(message["Body"] for message in buried) == sorted(bad.values())
    names = {body: name for name, body in bad.items()}
    for message in buried:
        reason = message["MessageAttributes"]["daskmrReason"]["StringValue"]
        assert REASONS[names[message["Body"]]] in reason
