"""Several places for one result: each has its own end, and none hides or undoes another."""

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import daskmr
from daskmr import aws
from daskmr.errors import RequestError, SinkError
from daskmr.testing.images import write_image

N = 16


@pytest.fixture
def scene(tmp_path: Path) -> str:
    """4 x 4 tiles of 32 px."""
    return str(write_image(tmp_path / "x.tif", np.full((1, 128, 128), 7, np.uint8)))


@pytest.fixture
def stream(s3: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of Kinesis on loopback, and the name of a stream."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", s3.meta.endpoint_url)
    aws.close()
    client = aws.client("kinesis")
    name = f"stream-{uuid.uuid4().hex}"
    client.create_stream(StreamName=name, ShardCount=1)
    yield client, name
    aws.close()


def records(stream: Any) -> list[str]:
    """Ids of the features in the stream."""
    client, name = stream
    (shard,) = client.list_shards(StreamName=name)["Shards"]
    place = client.get_shard_iterator(
        StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    found = client.get_records(ShardIterator=place)["Records"]
    return sorted(json.loads(record["Data"])["features"][0]["id"] for record in found)


def run(scene: str, client: Any, **options: Any) -> Any:
    return daskmr.run(
        scene, "centerpoint", tile_size=32, overlap=0, job_id="abc", client=client, **options
    )


S3 = {"type": "S3", "bucket": "bucket", "prefix": "out/"}


def test_a_result_goes_everywhere(  # Z14
    scene: str, stream: Any, s3: Any, client: Any, tmp_path: Path
) -> None:
    kinesis = {"type": "Kinesis", "stream": stream[1], "batchSize": 5}
    result = run(scene, client, outputs=[S3, kinesis], formats=["geojson"], store=str(tmp_path))
    body = s3.get_object(Bucket="bucket", Key="out/abc.geojson")["Body"].read()
    assert len(json.loads(body)["features"]) == N
    assert records(stream) == sorted(result.features.feature_id)
    assert [(d.to, d.is_done, d.n_sent) for d in result.report.deliveries] == [
        ("s3://bucket/out", True, 0),
        (f"kinesis:{stream[1]}", True, N),
    ]
    assert result.report.status == "SUCCESS"


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"type": "S3", "bucket": "missing"}, "NoSuchBucket|does not exist"),  # Z11
        ({"type": "Kinesis", "stream": "missing"}, "not found"),  # Z12
    ],
)
@pytest.mark.usefixtures("stream")
def test_a_place_that_fails_is_reported_and_hides_no_other(
    bad: dict[str, Any], told: str, scene: str, s3: Any, client: Any, tmp_path: Path
) -> None:
    for number, outputs in enumerate(([S3, bad], [bad, S3])):
        store = str(tmp_path / str(number))
        report = run(scene, client, outputs=outputs, formats=["geojson"], store=store).report
        assert report.status == "PARTIAL"
        assert report.outcomes == {"SUCCEEDED": N}
        failed = [d for d in report.deliveries if not d.is_done]
        assert len(failed) == 1
        assert "missing" in failed[0].to
        assert any(word in failed[0].message for word in told.split("|")), failed[0].message
        assert s3.head_object(Bucket="bucket", Key="out/abc.geojson")["ContentLength"] > 0
        s3.delete_object(Bucket="bucket", Key="out/abc.geojson")


@pytest.mark.usefixtures("stream")
def test_a_result_that_is_nowhere_is_an_error(scene: str, client: Any) -> None:
    with pytest.raises(SinkError, match="kinesis:missing"):
        run(scene, client, outputs=[{"type": "Kinesis", "stream": "missing"}])


def test_what_a_stream_has_taken_is_not_sent_again(
    scene: str, stream: Any, client: Any, tmp_path: Path
) -> None:
    store = str(tmp_path / "store")
    kinesis = {"type": "Kinesis", "stream": stream[1], "batchSize": 5}
    bad = {"type": "S3", "bucket": "missing"}
    first = run(scene, client, outputs=[kinesis, bad], store=store, load=False).report
    assert first.status == "PARTIAL"
    assert len(records(stream)) == N
    again = run(scene, client, outputs=[kinesis, {**bad, "bucket": "bucket"}], store=store).report
    assert again.status == "SUCCESS"
    assert len(records(stream)) == N


def test_retry_delivers_what_a_place_has_not_taken(
    scene: str, stream: Any, s3: Any, client: Any, tmp_path: Path
) -> None:
    kinesis = {"type": "Kinesis", "stream": stream[1]}
    late = {"type": "S3", "bucket": "late", "prefix": "out"}
    run(scene, client, outputs=[kinesis, late], store=str(tmp_path), load=False)
    job = daskmr.Job(str(tmp_path), "abc")
    assert job.status == "PARTIAL"
    s3.create_bucket(Bucket="late")
    job.retry(client=client).wait()
    assert job.status == "SUCCESS"
    assert [d.is_done for d in job.report.deliveries] == [True, True]
    assert len(records(stream)) == N
    body = s3.get_object(Bucket="late", Key="out/abc.geojson")["Body"].read()
    assert len(json.loads(body)["features"]) == N
    with pytest.raises(RequestError, match="all results are delivered"):
        job.retry(client=client)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"type": "Disk"}, "outputs: type 'Disk' is none of"),
        ({"type": "Kinesis"}, "stream"),
        ({"type": "Kinesis", "stream": "s", "batchSize": 0}, "batchSize"),
    ],
)
def test_a_place_that_cannot_be_is_refused_before_any_work(
    said: dict[str, Any], told: str, scene: str, client: Any
) -> None:
    with pytest.raises(RequestError, match=told):
        run(scene, client, outputs=[said])
