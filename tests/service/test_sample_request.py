"""Model Runner's sample request, with ARNs, from ``daskmr submit`` to S3 and Kinesis.

Everything of AWS is at one address, and ``AWS_ENDPOINT_URL`` is all that says so.
"""

import json
import os
from typing import Any

import boto3
import numpy as np
import pytest
from click.testing import CliRunner

from daskmr import aws
from daskmr.cli import cli
from daskmr.testing.gateway import Gateway, VariantSpec, create_endpoint
from daskmr.testing.images import HALF_METRE, UTM, write_image
from tests.service.conftest import REGION, World
from tests.service.relays import one_address

pytestmark = pytest.mark.services
ACCOUNT = "123456789012"
ROLES = {name: f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in ("images", "models", "results")}


def sample(world: World) -> dict[str, Any]:
    """Every field of the sample and of the reference of Model Runner's API."""
    return {
        "jobArn": f"arn:aws:oversightml:{REGION}:{ACCOUNT}:ipj/test-job",
        "jobName": "test-job",
        "jobId": "test-job",
        "imageUrls": ["s3://pictures/small.tif"],
        "imageReadRole": ROLES["images"],
        "outputs": [
            {
                "type": "S3",
                "bucket": f"arn:aws:s3:::{world.bucket}",
                "prefix": "test-job/",
                "role": ROLES["results"],
            },
            {
                "type": "Kinesis",
                "stream": f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{world.stream}",
                "batchSize": 1000,
                "assumedRole": ROLES["results"],
            },
        ],
        "imageProcessor": {
            "name": "centerpoint",
            "type": "SM_ENDPOINT",
            "assumedRole": ROLES["models"],
        },
        "imageProcessorParameters": {"CustomAttributes": "model_selection=centerpoint"},
        "imageProcessorTileSize": 128,
        "imageProcessorTileOverlap": 32,
        "imageProcessorTileFormat": "GTIFF",
        "imageProcessorTileCompression": "NONE",
        "postProcessing": [
            {
                "step": "FEATURE_DISTILLATION",
                "algorithm": {"algorithmType": "NMS", "iouThreshold": 0.75},
            }
        ],
        "regionOfInterest": "POLYGON((-75 40, -75 41, -73 41, -73 40, -75 40))",
        "featureProperties": [{"mission": "test"}],
    }


def without_roles(request: Any) -> Any:
    """The request for the listener's own credentials."""
    if isinstance(request, list):
        return [without_roles(each) for each in request]
    if not isinstance(request, dict):
        return request
    return {k: without_roles(v) for k, v in request.items() if "role" not in k.lower()}


def records(world: World) -> list[dict[str, Any]]:
    """The records of the stream."""
    client = world.client("kinesis")
    shard = client.get_shard_iterator(
        StreamName=world.stream, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    return [json.loads(each["Data"]) for each in client.get_records(ShardIterator=shard)["Records"]]


def prepare(world: World) -> None:
    """Create the endpoint, and the image in its bucket."""
    control = boto3.client("sagemaker")
    create_endpoint(control, "centerpoint", [VariantSpec()])
    control.close()
    pixels = np.random.default_rng(0).integers(1, 255, (3, 256, 256)).astype(np.uint8)
    path = write_image(world.folder / "small.tif", pixels, crs=UTM, transform=HALF_METRE)
    world.client("s3").create_bucket(Bucket="pictures")
    world.client("s3").upload_file(str(path), "pictures", "small.tif")


@pytest.mark.parametrize("has_roles", [True, False])
def test_the_sample_request_runs_with_one_variable_for_the_endpoint(
    moto_world: World,
    sagemaker: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_roles: bool,
) -> None:
    world = moto_world
    prepare(world)
    request = world.folder / "request.json"
    document = sample(world) if has_roles else without_roles(sample(world))
    request.write_text(json.dumps(document))
    with one_address(world.url, sagemaker.url) as address:
        for name in [name for name in os.environ if name.startswith("AWS_ENDPOINT_URL")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_ENDPOINT_URL", address.url)
        aws.close()
        queue = world.queue.replace(world.url, address.url)
        sent = CliRunner().invoke(cli, ["submit", "--request", str(request), "--queue", queue])
        assert (sent.exit_code, sent.stdout) == (0, "test-job\n"), sent.output
        assert [line for line in sent.stderr.splitlines() if "jobArn" not in line] == []
        world.queue, world.dead = queue, world.dead.replace(world.url, address.url)
        log = world.run_once(
            "--allow-image", "s3://pictures", "--allow-endpoint", "centerpoint",
            *(word for role in ROLES.values() for word in ("--allow-role", role)),
        )  # fmt: skip
        aws.close()
    content = world.client("s3").get_object(Bucket=world.bucket, Key="test-job/test-job.geojson")
    features = json.loads(content["Body"].read())["features"]
    assert len(features) == len(sagemaker.requests) == 9, log
    assert {feature["properties"]["mission"] for feature in features} == {"test"}
    sent_features = [each for record in records(world) for each in record["features"]]
    assert sorted(f["id"] for f in sent_features) == sorted(f["id"] for f in features)
    assert world.is_left(world.queue) == world.is_left(world.dead) == 0
    events = [event for event in world.said() if event["job_id"] == "test-job"]
    assert [events[0]["status"], events[-1]["status"]] == ["STARTED", "SUCCESS"]
    assert {event["job_name"] for event in events} == {"test-job"}
