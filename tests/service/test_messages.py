"""What a message may look like, and what becomes of one whose request has ended before."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from daskmr.cli import cli
from daskmr.core.request import ImageRequest
from daskmr.service.request_store import RequestStore
from daskmr.service.sqs import Message
from daskmr.testing.numbered import numbered
from daskmr.testing.servers import serving
from tests.service.conftest import World

pytestmark = pytest.mark.services


def message(body: str) -> Message:
    return Message(id="1", receipt="r", body=body, attributes={}, sent_at=0.0)


@pytest.mark.parametrize(
    ("body", "request_text"),
    [
        ('{"jobId": "a"}', '{"jobId": "a"}'),
        (json.dumps({"Type": "Notification", "Message": '{"jobId": "a"}'}), '{"jobId": "a"}'),
        (json.dumps({"Type": "Notification", "Message": 3}), None),
        (json.dumps({"Type": "Other", "Message": "x"}), None),
        ("no JSON", None),
        ("[" * 100_000, None),
    ],
)
def test_the_request_of_a_message_is_taken_out_of_its_wrapping(
    body: str, request_text: str | None
) -> None:
    assert message(body).request == (body if request_text is None else request_text)


def publish(world: World, *requests: Any, is_raw: bool) -> None:
    """Send requests through a topic that the queue is subscribed to."""
    sns, sqs = world.client("sns"), world.client("sqs")
    topic = sns.create_topic(Name=f"requests-{'raw' if is_raw else 'wrapped'}")["TopicArn"]
    arn = sqs.get_queue_attributes(QueueUrl=world.queue, AttributeNames=["QueueArn"])
    sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=arn["Attributes"]["QueueArn"],
        Attributes={"RawMessageDelivery": str(is_raw).lower()},
    )
    for request in requests:
        text = request if isinstance(request, str) else json.dumps(request)
        sns.publish(TopicArn=topic, Message=text)


def test_messages_of_a_topic_and_numbers_as_names_are_read(world: World) -> None:
    named = world.request("", jobId=17, jobName="Harbour, north")
    publish(world, named, '{"jobId": 18}', is_raw=False)
    publish(world, world.request("raw"), is_raw=True)
    log = world.run_once()
    assert world.labels("17") == world.labels("raw") == list(range(16))
    (buried,) = world.messages(world.dead)
    assert json.loads(json.loads(buried["Body"])["Message"]) == {"jobId": 18}
    assert "imageUrls: is missing" in buried["MessageAttributes"]["daskmrReason"]["StringValue"]
    events = world.said()
    names = {e["job_id"]: {one.get("job_name") for one in events if one["job_id"] == e["job_id"]}
             for e in events}  # fmt: skip
    assert names == {"17": {"Harbour, north"}, "18": {None}, "raw": {None}}
    records = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    of_job = [record for record in records if record.get("job_id") == "17"]
    assert len(of_job) > 16
    assert {record.get("job_name") for record in of_job} == {"Harbour, north"}
    status = CliRunner().invoke(cli, ["status", "17", "--store", world.store])
    assert [line.split()[0] for line in status.stdout.splitlines()][:2] == ["job:", "name:"]
    assert "Harbour, north" in status.stdout
    as_json = CliRunner().invoke(cli, ["status", "17", "--store", world.store, "--json"])
    assert json.loads(as_json.stdout)["job_name"] == "Harbour, north"


def test_a_request_that_is_sent_again_after_partial_runs_its_failed_tiles_only(
    world: World,
) -> None:
    refused = {3, 5}
    with serving(numbered(0.0, refused=refused)) as model:
        request = world.request("part", imageProcessor={"name": model.url, "type": "HTTP_ENDPOINT"})
        options = ("--allow-model", "127.0.0.1")
        world.send(request)
        world.run_once(*options)
        ended = RequestStore(store=world.store).end_record("part")
        assert ended is not None
        assert ended["status"] == "PARTIAL"
        assert (len(model.requests), len(world.labels("part"))) == (16, 14)
        refused.clear()
        world.send(request)
        world.run_once(*options)
        assert len(model.requests) == 18
        assert world.labels("part") == list(range(16))
        world.send(request)  # of a success, nothing is left to run
        world.run_once(*options)
        assert len(model.requests) == 18
    events = [event["status"] for event in world.said() if event["job_id"] == "part"]
    assert [s for s in events if s != "IN_PROGRESS"] == [
        "STARTED", "PARTIAL", "STARTED", "SUCCESS",
    ]  # fmt: skip
    assert world.is_left(world.queue) == world.is_left(world.dead) == 0


def test_a_request_that_is_sent_again_after_failed_runs_again_and_a_duplicate_does_not(
    world: World,
) -> None:
    refused = set(range(16))
    with serving(numbered(0.0, refused=refused)) as model:
        request = world.request("all", imageProcessor={"name": model.url, "type": "HTTP_ENDPOINT"})
        options = ("--allow-model", "127.0.0.1")
        world.send(request)
        world.run_once(*options)
        (buried,) = world.messages(world.dead)
        assert len(model.requests) == 16
        requests = RequestStore(store=world.store)
        parsed = ImageRequest.from_json(request)
        first = buried["MessageAttributes"]["daskmrMessageId"]["StringValue"]
        assert requests.attach(parsed, first) is False  # SQS delivers it once more
        assert requests.end_record("all") is not None
        refused.clear()
        world.send(request)
        world.run_once(*options)
        assert len(model.requests) == 32
    assert world.labels("all") == list(range(16))
    assert world.is_left(world.queue) == world.is_left(world.dead) == 0


def test_waiting_for_a_request_that_is_sent_again_is_not_ended_by_its_earlier_end(
    world: World,
) -> None:
    request = world.request("late", imageUrls=[f"{world.folder}/images/late.tif"])
    words = ["submit", "--request", "-", "--queue", world.queue, "--store", world.store, "--wait"]
    world.send(request)
    world.run_once()
    early = CliRunner().invoke(cli, [*words, "--wait-timeout", "1.5"], input=json.dumps(request))
    assert (early.exit_code, early.stderr) == (1, "error: not finished after 1.5 s\n")
    world.run_once()
    later = CliRunner().invoke(cli, [*words, "--wait-timeout", "1.5"], input=json.dumps(request))
    assert (later.exit_code, later.stderr) == (1, "error: not finished after 1.5 s\n")


def test_a_request_whose_image_was_missing_runs_when_it_is_sent_again(world: World) -> None:
    path = world.folder / "images" / "late.tif"
    world.send(world.request("late", imageUrls=[str(path)]))
    world.run_once()
    assert len(world.messages(world.dead)) == 1
    path.write_bytes((world.folder / "images" / "scene.tif").read_bytes())
    world.send(world.request("late", imageUrls=[str(path)]))
    world.run_once()
    assert world.labels("late") == list(range(16))
    events = [event["status"] for event in world.said() if event["job_id"] == "late"]
    assert [events[0], events[1], events[-1]] == ["FAILED", "STARTED", "SUCCESS"]
    assert world.is_left(world.dead) == 0


@pytest.fixture
def ended(tmp_path: Any) -> tuple[RequestStore, ImageRequest]:
    """A store with a request that ended as PARTIAL, brought by message ``a``."""
    requests = RequestStore(store=str(tmp_path))
    request = ImageRequest.from_json(
        {"jobId": "j", "imageUrls": ["x.tif"], "imageProcessor": {"name": "m"}}
    )
    requests.accept(request, requested_at=0.0)
    assert requests.attach(request, "a") is False
    requests.record_end("j", {"status": "PARTIAL", "why": "", "images": [{"status": "PARTIAL"}]})
    return requests, request


def test_a_known_message_begins_no_round_and_a_new_one_begins_exactly_one(
    ended: tuple[RequestStore, ImageRequest],
) -> None:
    requests, request = ended
    assert requests.attach(request, "a") is False
    assert requests.attach(request, "b") is True
    assert requests.attach(request, "b") is False
    assert requests.attach(request, "c") is False  # it joins the round of b
    assert requests.end_record("j") is None
    requests.detach("j")
    assert requests.detached_names() == ["j"]
    requests.record_end("j", {"status": "SUCCESS", "why": "", "images": [{"status": "SUCCESS"}]})
    assert requests.detached_names() == []
    assert requests.attach(request, "d") is False
    record = requests.end_record("j")
    assert record is not None
    assert record["status"] == "SUCCESS"


def test_failures_of_an_earlier_round_do_not_count(
    ended: tuple[RequestStore, ImageRequest],
) -> None:
    requests, request = ended
    counts = [requests.record_failure("j", "me", "a fault").are_too_many for _ in range(3)]
    assert counts == [False, False, True]
    assert requests.attach(request, "b") is True
    assert not requests.begin_attempt("j", "me").are_too_many


def test_another_name_for_people_is_no_conflict(ended: tuple[RequestStore, ImageRequest]) -> None:
    requests, request = ended
    renamed = request.model_copy(update={"job_name": "other"})
    assert requests.accept(renamed, requested_at=0.0) is True
