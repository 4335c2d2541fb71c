"""ARNs of buckets and streams, wherever their plain names may stand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import daskmr
from daskmr.core.request import KinesisOutput, S3Output
from daskmr.errors import DaskmrError, RequestError
from daskmr.planning.from_request import calls_from_request, read_request
from daskmr.planning.outputs import Output, StreamOutput, destination
from daskmr.service.policy import RequestPolicy
from daskmr.service.submission import request_from_options
from daskmr.sinks.kinesis import Kinesis
from daskmr.testing.images import write_image

STREAM = "arn:aws:kinesis:us-west-2:123456789012:stream/ships"
BASE: dict[str, Any] = {"jobId": "a", "imageUrls": ["x.tif"], "imageProcessor": {"name": "m"}}


def test_a_request_may_name_all_by_arn() -> None:
    request = read_request({
        **BASE,
        "imageUrls": ["arn:aws:s3:::images/a/x.tif"],
        "outputs": [
            {"type": "S3", "bucket": "arn:aws:s3:::results"},
            {"type": "S3", "bucket": "arn:aws:s3:::results/area/", "prefix": "/day/"},
            {"type": "Kinesis", "stream": STREAM, "batchSize": 10},
        ],
    })  # fmt: skip
    assert request.image_urls == ("s3://images/a/x.tif",)
    assert request.outputs == (
        S3Output(type="S3", bucket="results"),
        S3Output(type="S3", bucket="results", prefix="area/day"),
        KinesisOutput(type="Kinesis", stream="ships", region="us-west-2", batch_size=10),
    )
    RequestPolicy(images=("s3://images",), outputs=("s3://results", "kinesis:ships")).check(request)
    (call,) = calls_from_request(request, None)
    places = [destination(output, ("geojson",)) for output in call["outputs"]]
    assert [place.name for place in places] == [
        "s3://results", "s3://results/area/day", "kinesis:ships",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"imageUrls": ["arn:aws:sqs:::x"]}, "imageUrls.0"),
        ({"outputs": [{"type": "S3", "bucket": STREAM}]}, "outputs.0"),
        ({"outputs": [{"type": "Kinesis", "stream": "arn:aws:s3:::b"}]}, "outputs.0"),
    ],
)
def test_other_arns_are_refused_by_their_field(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_request({**BASE, **fields})
    assert str(caught.value).startswith(named)
    assert "is not arn:aws:" in str(caught.value)


def test_python_and_the_command_line_take_them_too() -> None:
    to_bucket = destination({"type": "S3", "bucket": "arn:aws:s3:::b/p", "prefix": "q"}, ("fgb",))
    assert isinstance(to_bucket, Output)
    assert to_bucket.url == "s3://b/p/q"
    to_stream = destination({"type": "Kinesis", "stream": STREAM}, ())
    assert isinstance(to_stream, StreamOutput)
    assert to_stream.stream == Kinesis(stream="ships", region="us-west-2")
    for out, expected in {
        "arn:aws:s3:::b/p": S3Output(type="S3", bucket="b", prefix="p"),
        STREAM: KinesisOutput(type="Kinesis", stream="ships", region="us-west-2"),
    }.items():
        assert request_from_options("x.tif", "sagemaker://m", {"out": out}).outputs == (expected,)
    with pytest.raises(RequestError, match=r"out: 'arn:aws:sqs:::x' is not arn:aws:s3:::bucket"):
        Output.at("arn:aws:sqs:::x", ("fgb",))
    with pytest.raises(DaskmrError, match=r"image: 'arn:aws:sqs:::x' is not arn:aws:s3:::bucket"):
        daskmr.plan("arn:aws:sqs:::x", "blobs")


def test_image_results_and_store_by_arn(s3: Any, tmp_path: Path) -> None:
    path = write_image(tmp_path / "x.tif", np.full((1, 64, 64), 9, np.uint8))
    s3.upload_file(str(path), "bucket", "arns/x.tif")
    report = daskmr.run(
        "arn:aws:s3:::bucket/arns/x.tif", "centerpoint", tile_size=32, overlap=0,
        out="arn:aws:s3:::bucket/arns/out", store="arn:aws:s3:::bucket/arns/jobs", job_id="j",
    ).report  # fmt: skip
    assert report.image == "s3://bucket/arns/x.tif"
    assert "s3://bucket/arns/out/j.geojson" in report.outputs
    assert daskmr.Job("s3://bucket/arns/jobs", "j").status == "SUCCESS"
