"""The service as its users meet it: messages in, results, records and events out."""

import json
from typing import Any

import pytest

from tests.service.conftest import World


def test_a_message_of_model_runner_ends_in_s3_kinesis_and_events(world: World) -> None:
    outputs = [
        {"type": "S3", "bucket": world.bucket, "prefix": "out"},
        {"type": "Kinesis", "stream": world.stream, "batchSize": 7},
    ]
    world.send(world.request("job-1", outputs=outputs))
    log = world.run_once()
    assert world.labels("job-1") == list(range(16))
    shard = world.client("kinesis").get_shard_iterator(
        StreamName=world.stream, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = world.client("kinesis").get_records(ShardIterator=shard)["Records"]
    sent = [json.loads(record["Data"])["features"][0] for record in records]
    labels = sorted(int(f["properties"]["featureClasses"][0]["iri"]) for f in sent)
    assert labels == list(range(16))
    said = world.said()
    assert [said[0]["status"], said[-1]["status"]] == ["STARTED", "SUCCESS"]
    assert {event["job_id"] for event in said} == {"job-1"}
    assert said[-1]["image_id"] == f"job-1:{world.image}"
    assert world.is_left(world.queue) == world.is_left(world.dead) == 0
    tags = [json.loads(line).get("tag") for line in log.splitlines() if line.startswith("{")]
    assert {"TIMELINE EVENT", "SCHEDULER EVENT"} <= set(tags)


@pytest.mark.services
def test_a_bad_message_is_buried_at_once_and_its_neighbours_never_feel_it(  # Q26, Q6
    world: World,
) -> None:
    bad = '{"jobId": "bad",  "imageUrls": ["x.tif"]}'
    world.send(world.request("a"), bad, "no JSON at all", world.request("b"))
    world.run_once()
    assert world.labels("a") == world.labels("b") == list(range(16))
    buried = {m["Body"]: m["MessageAttributes"] for m in world.messages(world.dead)}
    assert set(buried) == {bad, "no JSON at all"}
    assert "imageProcessor: is missing" in buried[bad]["daskmrReason"]["StringValue"]
    failed = {e["job_id"]: e["Message"] for e in world.said() if e["status"] == "FAILED"}
    assert "imageProcessor: is missing" in failed["bad"]
    assert sum(name.startswith("message-") for name in failed) == 1
    assert world.is_left(world.queue) == 0


@pytest.mark.services
def test_what_requests_name_beyond_the_lists_is_refused_by_field(world: World) -> None:
    arn = "arn:aws:iam::123456789012:role/other"
    world.send(
        world.request(
            "greedy",
            imageUrls=["s3://secret/x.tif", "/etc/passwd"],
            imageReadRole=arn,
            outputs=[{"type": "S3", "bucket": "elsewhere"}],
            imageProcessor={"type": "HTTP_ENDPOINT", "name": "http://169.254.169.254/latest"},
        )
    )
    world.run_once()
    (buried,) = world.messages(world.dead)
    reason = buried["MessageAttributes"]["daskmrReason"]["StringValue"]
    for field in ("imageUrls.0", "imageReadRole", "outputs.0", "imageProcessor.name"):
        assert field in reason
    assert world.model.requests == []


@pytest.mark.services
def test_an_image_that_cannot_be_read_fails_its_request_only(world: World) -> None:
    request = world.request("gone", imageUrls=[f"{world.folder}/images/gone.tif"])
    world.send(request, world.request("outside", imageUrls=["/etc/passwd"]))
    world.run_once()
    buried = {json.loads(m["Body"])["jobId"]: m for m in world.messages(world.dead)}
    assert json.loads(buried["gone"]["Body"]) == request
    reasons = {k: m["MessageAttributes"]["daskmrReason"]["StringValue"] for k, m in buried.items()}
    assert "no such file" in reasons["gone"]
    assert "not below a folder that is allowed" in reasons["outside"]
    failed = [e["job_id"] for e in world.said() if e["status"] == "FAILED"]
    assert sorted(failed) == ["gone", "outside"]


@pytest.mark.services
def test_each_image_of_a_request_has_its_own_result(world: World) -> None:  # Q11
    world.send(world.request("two", imageUrls=[world.image, world.image]))
    world.run_once()
    assert world.labels("two-1") == world.labels("two-2") == list(range(16))


@pytest.mark.services
def test_a_duplicate_asks_nobody_and_another_request_of_the_name_is_refused(world: World) -> None:
    request = world.request("once")
    world.send(request, request)
    world.run_once()
    assert len(world.model.requests) == 16
    other = {**request, "imageProcessorTileOverlap": 1}
    world.send(request, other)
    world.run_once()
    assert len(world.model.requests) == 16
    (buried,) = world.messages(world.dead)
    assert json.loads(buried["Body"]) == other
    reason = buried["MessageAttributes"]["daskmrReason"]["StringValue"]
    assert reason == "jobId: 'once' is taken by another request (imageProcessorTileOverlap)"
    assert [e["status"] for e in world.said()].count("FAILED") == 0


@pytest.mark.services
def test_no_secret_is_logged(world: World) -> None:
    canary = "AKIAIOSFODNN7CANARY"
    parameters: dict[str, Any] = {"CustomAttributes": f"key={canary}"}
    world.send(world.request("quiet", imageProcessorParameters=parameters), f'{{"x": "{canary}"')
    log = world.run_once(AWS_SECRET_ACCESS_KEY="secret-canary")  # noqa: S106
    assert canary not in log
    assert "secret-canary" not in log
