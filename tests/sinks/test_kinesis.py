"""Features in a stream: all of them, also when it takes only some records, or none for a while."""

import base64
import json
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from daskmr import aws
from daskmr.errors import SinkError
from daskmr.sinks import STREAMS, kinesis
from daskmr.sinks.base import Sent, Whole
from daskmr.sinks.kinesis import MAX_BYTES, MAX_RECORD_BYTES, MAX_RECORDS, Kinesis
from daskmr.testing.contracts_sinks import PROVENANCE, SHAPES, Batches, results
from daskmr.testing.contracts_streams import StreamContract
from daskmr.testing.servers import serving


@dataclass
class Stand:
    """A stand-in for the service that refuses records as a test says."""

    refuses: Any
    """Called with each record's number and key."""
    calls: list[list[tuple[str, bytes]]] = field(default_factory=list)
    taken: Counter[str] = field(default_factory=Counter)
    n_asked: int = 0

    async def __call__(self, request: web.Request, _number: int) -> web.StreamResponse:
        said = json.loads(await request.read())
        assert said["StreamName"] == "stream"
        records = [(r["PartitionKey"], base64.b64decode(r["Data"])) for r in said["Records"]]
        self.calls.append(records)
        answers: list[dict[str, str]] = []
        for key, _ in records:
            self.n_asked += 1
            code = self.refuses(self.n_asked, key)
            if code:
                answers.append({"ErrorCode": code, "ErrorMessage": "Rate exceeded"})
                continue
            self.taken[key] += 1
            answers.append({"SequenceNumber": "1", "ShardId": "shardId-0"})
        failed = sum("ErrorCode" in answer for answer in answers)
        return web.json_response(
            {"FailedRecordCount": failed, "Records": answers},
            content_type="application/x-amz-json-1.1",
        )


@contextmanager
def standing(monkeypatch: pytest.MonkeyPatch, refuses: Any) -> Iterator[Stand]:
    stand = Stand(refuses)
    with serving(stand) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", server.url.rpartition("/")[0])
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setattr(kinesis, "_MIN_PAUSE_S", 0.001)
        monkeypatch.setattr(kinesis, "_MAX_PAUSE_S", 0.005)
        aws.close()
        yield stand
        aws.close()


def never(_number: int, _key: str) -> str:
    return ""


def table(n: int) -> Any:
    return results(SHAPES * (n // len(SHAPES)))


class TestKinesis(StreamContract):
    @pytest.fixture(autouse=True)
    def _stand(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(kinesis, "_PATIENCE_S", 0.05)
        self.is_refused = False
        with standing(monkeypatch, self._refuses) as self.stand:
            yield

    def _refuses(self, _number: int, _key: str) -> str:
        return "ProvisionedThroughputExceededException" if self.is_refused else ""

    def make(self) -> Kinesis:
        return Kinesis(stream="stream")

    def make_refused(self) -> Kinesis:
        self.is_refused = True
        return self.make()

    def received(self) -> list[str]:
        keys = list(self.stand.taken.elements())
        self.stand.taken.clear()
        return keys


def test_each_feature_is_a_record_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with standing(monkeypatch, never) as stand:
        sent = Kinesis(stream="stream").send(Whole(table(10)), PROVENANCE)
    assert sent == Sent(n_sent=10)
    (records,) = stand.calls
    assert [key for key, _ in records] == [f"{i:032x}" for i in range(10)]
    said = json.loads(records[3][1])
    assert said["type"] == "FeatureCollection"
    (feature,) = said["features"]
    assert feature["id"] == f"{3:032x}"
    assert feature["properties"]["inferenceMetadata"]["jobId"] == "job-1"
    assert feature["properties"]["campaign"] == "spring"


@pytest.mark.parametrize(("batch_size", "sizes"), [(500, [500, 500, 5]), (7, [7] * 143 + [4])])
def test_calls_hold_as_many_records_as_allowed(  # Z15
    batch_size: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = Batches(table(1005), (3, 700))
    with standing(monkeypatch, never) as stand:
        Kinesis(stream="stream", batch_size=batch_size).send(rows, PROVENANCE)
    assert [len(records) for records in stand.calls] == sizes
    assert set(stand.taken.values()) == {1}


def test_calls_hold_no_more_bytes_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:  # Z15
    many = table(40)
    many["properties"] = json.dumps({"text": "x" * 400_000})
    with standing(monkeypatch, never) as stand:
        Kinesis(stream="stream").send(Whole(many), PROVENANCE)
    sizes = [sum(len(key) + len(data) for key, data in records) for records in stand.calls]
    assert max(sizes) <= MAX_BYTES
    assert [len(records) for records in stand.calls] == [13, 13, 13, 1]
    assert len(stand.taken) == 40


def test_records_that_are_refused_are_sent_again_and_no_others(  # Z13
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance = random.Random(3)  # noqa: S311 - faults, not secrets

    def refuses(_number: int, _key: str) -> str:
        return "ProvisionedThroughputExceededException" if chance.random() < 0.3 else ""

    with standing(monkeypatch, refuses) as stand:
        sent = Kinesis(stream="stream").send(Whole(table(1000)), PROVENANCE)
    assert len(stand.taken) == 1000
    assert set(stand.taken.values()) == {1}
    assert sent.n_sent == 1000
    assert sent.n_retried == stand.n_asked - 1000 > 300


def test_a_stream_that_takes_nothing_more_is_told_with_what_is_missing(  # Z12
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses(number: int, _key: str) -> str:
        return "InternalFailure" if number > 5 else ""

    monkeypatch.setattr(kinesis, "_PATIENCE_S", 0.05)
    with (
        standing(monkeypatch, refuses),
        pytest.raises(SinkError, match=r"kinesis:stream: 5 of 10 features were not sent: Internal"),
    ):
        Kinesis(stream="stream").send(Whole(table(10)), PROVENANCE)


def test_a_stream_that_is_not_there_is_told_at_once(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", s3.meta.endpoint_url)
    aws.close()
    with pytest.raises(SinkError, match=r"kinesis:missing: .*not found"):
        Kinesis(stream="missing").send(Whole(table(5)), PROVENANCE)
    aws.close()


def test_features_arrive_in_a_real_stream_and_large_ones_in_a_bucket(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS", s3.meta.endpoint_url)
    aws.close()
    client = aws.client("kinesis")
    name = f"stream-{uuid.uuid4().hex}"
    client.create_stream(StreamName=name, ShardCount=2)
    many = table(10)
    many.loc[4, "properties"] = json.dumps({"text": "x" * MAX_RECORD_BYTES})
    sent = Kinesis(stream=name, spill="s3://bucket/spilled").send(Whole(many), PROVENANCE)
    assert sent == Sent(n_sent=10, n_spilled=1)
    found, used = {}, set()
    for shard in client.list_shards(StreamName=name)["Shards"]:
        place = client.get_shard_iterator(
            StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        for record in client.get_records(ShardIterator=place)["Records"]:
            found[record["PartitionKey"]] = json.loads(record["Data"])
            used.add(shard["ShardId"])
    assert sorted(found) == [f"{i:032x}" for i in range(10)]
    pointer = found[f"{4:032x}"]["location"]
    assert pointer.startswith("s3://bucket/spilled/")
    body = s3.get_object(Bucket="bucket", Key=pointer.removeprefix("s3://bucket/"))["Body"].read()
    (feature,) = json.loads(body)["features"]
    assert (feature["id"], len(feature["properties"]["text"])) == (f"{4:032x}", MAX_RECORD_BYTES)
    with pytest.raises(SinkError, match="1 of 10 features were not sent: they are larger"):
        Kinesis(stream=name).send(Whole(many), PROVENANCE)
    aws.close()


def test_options_are_those_of_requests() -> None:
    made = STREAMS.build("kinesis", {"stream": "s", "batchSize": 10})
    assert made == Kinesis(stream="s", batch_size=10)
    assert MAX_RECORDS == 500
    with pytest.raises(ValidationError):
        Kinesis(stream="s", batch_size=0)
