"""Whatever is away for longer than three visibility timeouts: no good message is buried by it.

In each test the message stays where it is (nobody else can receive it), is delivered once only,
other messages go on meanwhile, and it ends well when the fault is over.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from distributed import LocalCluster

from daskmr.testing.gateway import Gateway, VariantSpec, create_endpoint
from daskmr.testing.images import HALF_METRE, UTM, write_image
from daskmr.testing.numbered import numbered
from daskmr.testing.servers import serving
from tests.service.conftest import World, free_port, stop, until
from tests.service.relays import EXPIRED_KEY, checking_keys, relay

pytestmark = pytest.mark.services
VISIBILITY_S = 3
OUTAGE_S = 3.5 * VISIBILITY_S


def listen(world: World, *options: str, **environment: str) -> Any:
    return world.listen(
        "--visibility", str(VISIBILITY_S), *options, AWS_MAX_ATTEMPTS="1", **environment
    )


def receives_nothing(world: World, seconds: float = OUTAGE_S) -> None:
    """Nobody else can receive a message of the queue for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        batch = world.client("sqs").receive_message(QueueUrl=world.queue, MaxNumberOfMessages=10)
        assert batch.get("Messages", []) == []
        time.sleep(0.3)


def in_flight(world: World) -> int:
    name = "ApproximateNumberOfMessagesNotVisible"
    attributes = world.client("sqs").get_queue_attributes(
        QueueUrl=world.queue, AttributeNames=[name]
    )["Attributes"]
    return int(attributes[name])


def end_well(world: World, process: Any, *jobs: str) -> None:
    """All messages are deleted, none is buried, and each result is whole."""
    until(lambda: world.is_left(world.queue) == 0, 120)
    assert stop(process) == 0
    assert world.is_left(world.dead) == 0
    for job in jobs:
        assert world.labels(job) == list(range(16))


def to_stream(world: World, job: str, **more: Any) -> dict[str, Any]:
    """A request that needs nothing of S3."""
    return world.request(job, outputs=[{"type": "Kinesis", "stream": world.stream}], **more)


def upload_scene(world: World) -> str:
    world.client("s3").create_bucket(Bucket="pictures")
    world.client("s3").upload_file(world.image, "pictures", "scene.tif")
    return "s3://pictures/scene.tif"


def test_an_image_whose_s3_refuses_connections(moto_world: World) -> None:
    world = moto_world
    image = upload_scene(world)
    with relay(world.url, free_port()) as s3:
        world.send(world.request("image", imageUrls=[image]), to_stream(world, "other"))
        process = listen(world, "--allow-image", "s3://pictures", AWS_ENDPOINT_URL_S3=s3.url)
        until(lambda: world.has_ended("other"))
        receives_nothing(world)
        assert in_flight(world) == 1
        s3.open()
        end_well(world, process, "image")
    assert "cannot be reached: EndpointConnectionError" in world.log(0)


def test_results_whose_s3_refuses_connections(moto_world: World) -> None:
    world = moto_world
    with relay(world.url, free_port()) as s3:
        world.send(world.request("results"))
        process = listen(world, AWS_ENDPOINT_URL_S3=s3.url)
        until(lambda: len(world.model.requests) == 16)
        world.send(to_stream(world, "other"))
        until(lambda: world.has_ended("other"))
        receives_nothing(world)
        s3.open()
        end_well(world, process, "results")
    assert len(world.model.requests) == 32


def test_a_store_whose_s3_refuses_connections(moto_world: World) -> None:
    world = moto_world
    world.store = f"s3://{world.bucket}/store"
    with relay(world.url, free_port(), is_open=True) as s3:
        process = listen(world, AWS_ENDPOINT_URL_S3=s3.url)
        until(lambda: "listening to" in world.log(0))
        s3.close()
        world.send(world.request("stored"))
        until(lambda: in_flight(world) == 1)
        receives_nothing(world)
        s3.open()
        end_well(world, process, "stored")
    assert "a message waits: " in world.log(0)


def test_a_model_that_refuses_connections(moto_world: World) -> None:
    world = moto_world
    with relay(world.model.url, free_port()) as away:
        model = {"name": f"{away.url}/invocations", "type": "HTTP_ENDPOINT"}
        world.send(world.request("model", imageProcessor=model), world.request("other"))
        process = listen(world, "--allow-model", "127.0.0.1")
        until(lambda: world.has_ended("other"))
        receives_nothing(world)
        away.open()
        end_well(world, process, "model", "other")


def test_a_model_whose_name_does_not_resolve(moto_world: World) -> None:
    world = moto_world
    model = {"name": "http://models.invalid/invocations", "type": "HTTP_ENDPOINT"}
    world.send(world.request("nameless", imageProcessor=model), world.request("other"))
    process = listen(world, "--allow-model", "models.invalid")
    until(lambda: world.has_ended("other"))
    receives_nothing(world)
    assert stop(process) == 0
    (message,) = world.client("sqs").receive_message(
        QueueUrl=world.queue, AttributeNames=["ApproximateReceiveCount"]
    )["Messages"]
    n_received = int(message["Attributes"]["ApproximateReceiveCount"])
    assert n_received in {2, 3}  # this one, the listener's, and its last poll's
    assert json.loads(message["Body"])["jobId"] == "nameless"
    assert world.is_left(world.dead) == 0


@contextmanager
def sagemaker_job(world: World, job: str) -> Iterator[dict[str, Any]]:
    """Yield a request for an endpoint of SageMaker, and an image in S3."""
    control = boto3.client("sagemaker")
    create_endpoint(control, "ships", [VariantSpec()])
    control.close()
    pixels = np.random.default_rng(0).integers(1, 255, (3, 128, 128)).astype(np.uint8)
    write_image(world.folder / "images" / "picture.tif", pixels, crs=UTM, transform=HALF_METRE)
    yield world.request(
        job,
        imageUrls=[str(world.folder / "images" / "picture.tif")],
        imageProcessor={"name": "ships", "type": "SM_ENDPOINT"},
        imageProcessorParameters={"CustomAttributes": "model_selection=centerpoint"},
        imageProcessorTileSize=64,
    )


def n_features(world: World, job: str) -> int:
    content = world.client("s3").get_object(Bucket=world.bucket, Key=f"out/{job}.geojson")
    return len(json.loads(content["Body"].read())["features"])


def test_a_sagemaker_that_refuses_connections(moto_world: World, sagemaker: Gateway) -> None:
    world = moto_world
    with (
        relay(sagemaker.url, free_port()) as away,
        relay(sagemaker.control_plane, free_port()) as control,
        sagemaker_job(world, "sagemaker") as request,
    ):
        world.send(request, world.request("other"))
        process = listen(
            world, "--allow-endpoint", "*",
            AWS_ENDPOINT_URL_SAGEMAKER=control.url, AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=away.url,
        )  # fmt: skip
        until(lambda: world.has_ended("other"))
        receives_nothing(world)
        control.open()
        away.open()
        end_well(world, process, "other")
    assert n_features(world, "sagemaker") == len(sagemaker.requests) == 4


def write_keys(path: Path, key: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n")
    new.replace(path)


def test_credentials_that_are_rotated_while_a_model_is_called(
    moto_world: World, sagemaker: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = moto_world
    keys = world.folder / "keys"
    write_keys(keys, EXPIRED_KEY)
    with sagemaker_job(world, "rotated") as request:
        world.send(request, world.request("other"))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        process = listen(
            world, "--allow-endpoint", "*", AWS_SHARED_CREDENTIALS_FILE=str(keys),
        )  # fmt: skip
        until(lambda: world.has_ended("other"))
        until(lambda: len(sagemaker.requests) >= 4)
        receives_nothing(world)
        write_keys(keys, "valid")
        end_well(world, process, "other")
    assert n_features(world, "rotated") == len(sagemaker.variants) == 4
    statuses = [event["status"] for event in world.said() if event["job_id"] == "rotated"]
    assert {"FAILED", "PARTIAL"}.isdisjoint(statuses)


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId"])
def test_credentials_that_are_rotated_while_an_image_is_opened(
    moto_world: World, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    world = moto_world
    image = upload_scene(world)
    keys = world.folder / "keys"
    write_keys(keys, EXPIRED_KEY)
    with checking_keys(world.url, code=code) as aws:
        world.send(world.request("image", imageUrls=[image]), to_stream(world, "other"))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        process = listen(
            world, "--allow-image", "s3://pictures",
            AWS_ENDPOINT_URL_S3=aws.url, AWS_SHARED_CREDENTIALS_FILE=str(keys),
        )  # fmt: skip
        until(lambda: world.has_ended("other"))
        receives_nothing(world)
        write_keys(keys, "valid")
        end_well(world, process, "image")


def test_credentials_that_are_rotated_while_the_queue_is_polled(
    moto_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = moto_world
    keys = world.folder / "keys"
    write_keys(keys, "valid")
    with (
        checking_keys(world.url, code="InvalidClientTokenId") as aws,
        serving(numbered(1.0)) as slow,
    ):
        model = {"name": slow.url, "type": "HTTP_ENDPOINT"}
        world.send(world.request("polled", imageProcessor=model))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        process = listen(
            world, "--allow-model", "127.0.0.1",
            AWS_ENDPOINT_URL=aws.url, AWS_SHARED_CREDENTIALS_FILE=str(keys),
        )  # fmt: skip
        until(lambda: slow.requests)
        write_keys(keys, EXPIRED_KEY)
        time.sleep(OUTAGE_S)
        write_keys(keys, "valid")
        end_well(world, process, "polled")
        assert len(slow.requests) == 16


def test_a_queue_that_is_away_while_its_message_is_run(moto_world: World) -> None:
    world = moto_world
    with relay(world.url, free_port(), is_open=True) as sqs, serving(numbered(1.0)) as slow:
        model = {"name": slow.url, "type": "HTTP_ENDPOINT"}
        world.send(world.request("queue", imageProcessor=model))
        process = listen(world, "--allow-model", "127.0.0.1", AWS_ENDPOINT_URL_SQS=sqs.url)
        until(lambda: slow.requests)
        sqs.close()
        time.sleep(OUTAGE_S)
        sqs.open()
        end_well(world, process, "queue")
        assert len(slow.requests) == 16


@pytest.mark.worker_errors("workers died while trying to run it")
def test_a_cluster_that_is_lost(moto_world: World) -> None:
    world = moto_world
    port = free_port()

    def cluster() -> LocalCluster:
        return LocalCluster(
            n_workers=1, threads_per_worker=4, scheduler_port=port, host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        )  # fmt: skip

    with serving(numbered(1.0)) as slow:
        model = {"name": slow.url, "type": "HTTP_ENDPOINT"}
        world.send(world.request("cluster", imageProcessor=model))
        with cluster():
            process = listen(world, "--allow-model", "127.0.0.1", "-s", f"tcp://127.0.0.1:{port}")
            until(lambda: slow.requests)
        receives_nothing(world)
        with cluster():
            end_well(world, process, "cluster")


def test_what_a_message_is_guilty_of_is_buried_at_once(moto_world: World) -> None:
    world = moto_world
    world.client("s3").create_bucket(Bucket="pictures")
    world.client("s3").put_object(Bucket="pictures", Key="broken.tif", Body=b"II*\0 and no more")

    async def refuse(_request: Any, _number: int) -> Any:
        from aiohttp import web

        return web.Response(status=400, text="not an image that I know")

    with serving(refuse) as strict, checking_keys(world.url, code="AccessDenied", key="nobody"):
        model = {"name": strict.url, "type": "HTTP_ENDPOINT"}
        world.send(
            world.request("missing", imageUrls=["s3://pictures/missing.tif"]),
            world.request("broken", imageUrls=["s3://pictures/broken.tif"]),
            world.request("strict", imageProcessor=model),
            world.request("good"),
        )
        log = world.run_once("--allow-image", "s3://pictures", "--allow-model", "127.0.0.1")
    buried = {json.loads(m["Body"])["jobId"]: m for m in world.messages(world.dead)}
    reasons = {k: m["MessageAttributes"]["daskmrReason"]["StringValue"] for k, m in buried.items()}
    assert reasons.keys() == {"missing", "broken", "strict"}, log
    assert "The specified key does not exist" in reasons["missing"]
    assert "s3://pictures/broken.tif: cannot be opened" in reasons["broken"]
    assert "no tile succeeded (16 x HTTP_400)" in reasons["strict"]
    assert world.labels("good") == list(range(16))
    assert world.is_left(world.queue) == 0


def test_an_image_that_may_not_be_read_is_no_outage(
    moto_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = moto_world
    image = upload_scene(world)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with checking_keys(world.url, code="AccessDenied", key="nobody") as aws:
        world.send(world.request("denied", imageUrls=[image]))
        world.run_once("--allow-image", "s3://pictures", AWS_ENDPOINT_URL_S3=aws.url)
    (buried,) = world.messages(world.dead)
    reason = buried["MessageAttributes"]["daskmrReason"]["StringValue"]
    assert reason.startswith("s3://pictures/scene.tif: cannot be opened")
