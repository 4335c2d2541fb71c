"""A message with every field that Model Runner documents, from the queue to all outputs."""

import json
from typing import Any

import boto3
import numpy as np
import pytest

from daskmr.testing.gateway import Gateway, VariantSpec, create_endpoint
from daskmr.testing.images import HALF_METRE, UTM, write_image
from tests.service.conftest import World

pytestmark = pytest.mark.services
ROLES = {
    name: f"arn:aws:iam::123456789012:role/{name}" for name in ("images", "inference", "results")
}
AREA = "POLYGON((-74.1 40.7, -74.1 40.72, -74.0 40.72, -74.0 40.7, -74.1 40.7))"


def message(world: World) -> dict[str, Any]:
    return {
        "jobId": "every-field",
        "jobName": "harbour",
        "imageUrls": ["s3://pictures/scene.tif"],
        "imageReadRole": ROLES["images"],
        "outputs": [
            {"type": "S3", "bucket": world.bucket, "prefix": "out/", "role": ROLES["results"]},
            {
                "type": "Kinesis", "stream": world.stream, "batchSize": 7,
                "assumedRole": ROLES["results"],
            },
        ],
        "imageProcessor": {
            "name": "aircraft", "type": "SM_ENDPOINT", "assumedRole": ROLES["inference"],
        },
        "imageProcessorParameters": {
            "CustomAttributes": "model_selection=centerpoint", "TargetVariant": "blue",
        },
        "imageProcessorTileSize": 64,
        "imageProcessorTileOverlap": 8,
        "imageProcessorTileFormat": "PNG",
        "imageProcessorTileCompression": "NONE",
        "postProcessing": [
            {
                "step": "FEATURE_DISTILLATION",
                "algorithm": {
                    "algorithmType": "NMS", "iouThreshold": 0.75, "skipBoxThreshold": 0.0001,
                },
            }
        ],
        "regionOfInterest": AREA,
        "featureProperties": [{"mission": "test"}],
    }  # fmt: skip


def test_every_documented_field_is_honoured(moto_world: World, sagemaker: Gateway) -> None:
    world = moto_world
    control = boto3.client("sagemaker")
    create_endpoint(control, "aircraft", [VariantSpec(name="blue"), VariantSpec(name="green")])
    control.close()
    pixels = np.random.default_rng(0).integers(1, 255, (3, 256, 256)).astype(np.uint8)
    path = write_image(world.folder / "scene.tif", pixels, crs=UTM, transform=HALF_METRE)
    world.client("s3").create_bucket(Bucket="pictures")
    world.client("s3").upload_file(str(path), "pictures", "scene.tif")
    world.send(message(world))
    allowed = [word for role in ROLES.values() for word in ("--allow-role", role)]
    world.run_once("--allow-image", "s3://pictures", *allowed)
    content = world.client("s3").get_object(Bucket=world.bucket, Key="out/every-field.geojson")
    found = json.loads(content["Body"].read())["features"]
    n_tiles = len(sagemaker.requests)
    assert len(found) == n_tiles == 25
    assert {f["properties"]["mission"] for f in found} == {"test"}
    assert {f["properties"]["inferenceMetadata"]["jobId"] for f in found} == {"every-field"}
    assert {f["properties"]["sourceMetadata"][0]["location"] for f in found} == {
        "s3://pictures/scene.tif"
    }
    assert set(sagemaker.variants) == {"blue"}
    for seen in sagemaker.requests:
        assert seen.headers["content-type"] == "image/png"
        assert "Credential=test/" not in seen.headers["authorization"]
    shard = world.client("kinesis").get_shard_iterator(
        StreamName=world.stream, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = world.client("kinesis").get_records(ShardIterator=shard)["Records"]
    assert sorted(record["PartitionKey"] for record in records) == sorted(f["id"] for f in found)
    said = world.said()
    assert [said[0]["status"], said[-1]["status"]] == ["STARTED", "SUCCESS"]
    assert said[-1]["image_id"] == "every-field:s3://pictures/scene.tif"
    assert world.is_left(world.queue) == world.is_left(world.dead) == 0
