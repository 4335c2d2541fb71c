"""The dead-letter queue as operators meet it: looked at, and sent back without loss."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from daskmr.cli import cli
from daskmr.errors import RequestError
from daskmr.service.dead_letters import DeadLetterQueue
from daskmr.service.sqs import Message, RequestQueue
from tests.service.conftest import World


def call(*words: str) -> Result:
    return CliRunner().invoke(cli, ["dlq", *words])


def bury(world: World, body: str, reason: str) -> str:
    """Put a message into the queue, and from there into the dead-letter queue; its id."""
    queue = RequestQueue(url=world.queue, dead_letters=world.dead)
    world.client("sqs").send_message(
        QueueUrl=world.queue,
        MessageBody=body,
        MessageAttributes={"sender": {"DataType": "String", "StringValue": "tests"}},
    )
    message: Message
    (message,) = queue.receive(1, 1)
    queue.send_to_dlq(message, reason)
    queue.delete(message)
    return message.id


@pytest.fixture
def letters(world: World) -> list[str]:
    """Ids of three rejected messages."""
    request = world.request("harbour", jobName="Harbour")
    wrapped = {"Type": "Notification", "Message": json.dumps(world.request("", jobId=17))}
    return [
        bury(world, json.dumps(request), "imageUrls.0: is none of the images"),
        bury(world, json.dumps(wrapped), "no such file"),
        bury(world, "no JSON", "request: not the JSON object"),
    ]


def test_messages_are_listed_with_id_job_and_reason_and_stay(
    world: World, letters: list[str]
) -> None:
    listed = call("list", "--dlq", world.dead)
    assert listed.exit_code == 0, listed.output
    rows = [line.split(maxsplit=3) for line in listed.stdout.splitlines()]
    assert {tuple(row[1:]) for row in rows} == {
        (letters[0], "harbour", "imageUrls.0: is none of the images"),
        (letters[1], "17", "no such file"),
        (letters[2], "-", "request: not the JSON object"),
    }
    assert all(row[0].endswith("+00:00") for row in rows)
    again = json.loads(call("list", "--dlq", world.dead, "--json").stdout)  # at once visible
    assert sorted(letter["id"] for letter in again) == sorted(letters)
    assert {letter["job_name"] for letter in again} == {"Harbour", ""}
    few = call("list", "--dlq", world.dead, "--limit", "2")
    assert len(few.stdout.splitlines()) == 2
    assert few.stderr == "2 of about 3 messages; --limit shows more\n"


def test_one_message_is_shown_whole_by_its_id_or_its_job(world: World, letters: list[str]) -> None:
    for name in (letters[0], "harbour"):
        shown = call("show", name, "--dlq", world.dead)
        assert shown.exit_code == 0, shown.output
        assert "imageUrls.0: is none of the images" in shown.stdout
        assert "Harbour" in shown.stdout
        body = shown.stdout.partition("\n\n")[2]
        assert json.loads(body) == world.request("harbour", jobName="Harbour")
    assert "no JSON" in call("show", letters[2], "--dlq", world.dead).stdout
    missing = call("show", "nowhere", "--dlq", world.dead)
    assert missing.exit_code == RequestError.exit_code
    assert missing.stderr == (
        "error: id: 'nowhere' is neither a message of the queue nor the job of one\n"
    )


def received(world: World, queue: str) -> list[dict[str, Any]]:
    """The messages of a queue with their attributes."""
    return list(
        world.client("sqs").receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, AttributeNames=["All"],
            MessageAttributeNames=["All"],
        ).get("Messages", [])
    )  # fmt: skip


def test_some_messages_are_redriven_with_a_fresh_start(world: World, letters: list[str]) -> None:
    done = call("redrive", "17", "--dlq", world.dead, "--queue", world.queue)
    assert (done.exit_code, done.stdout) == (0, f"{letters[1]}  17\n"), done.output
    assert done.stderr == "1 messages moved\n"
    (message,) = received(world, world.queue)
    assert json.loads(json.loads(message["Body"])["Message"])["jobId"] == 17
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert set(message["MessageAttributes"]) == {"sender"}
    assert message["MessageId"] not in letters
    left = json.loads(call("list", "--dlq", world.dead, "--json").stdout)
    assert sorted(letter["id"] for letter in left) == sorted([letters[0], letters[2]])


def test_all_messages_are_redriven(world: World, letters: list[str]) -> None:
    done = call("redrive", "--all", "--dlq", world.dead, "--queue", world.queue)
    assert {line.split()[0] for line in done.stdout.splitlines()} == set(letters)
    assert world.is_left(world.dead) == 0
    assert world.is_left(world.queue) == 3


def test_nothing_is_redriven_where_a_name_is_in_no_message(
    world: World, letters: list[str]
) -> None:
    done = call("redrive", "17", "nowhere", "--dlq", world.dead, "--queue", world.queue)
    assert done.exit_code == RequestError.exit_code
    assert "'nowhere' is neither a message of the queue" in done.stderr
    assert world.is_left(world.queue) == 0
    assert len(received(world, world.dead)) == len(letters)


def test_nothing_is_lost_where_the_queue_does_not_take_it(world: World, letters: list[str]) -> None:
    done = call("redrive", "--all", "--dlq", world.dead, "--queue", f"{world.url}/1/no")
    assert done.exit_code != 0
    assert "/1/no" in done.stderr
    assert len(DeadLetterQueue(url=world.dead).messages()) == len(letters)


@pytest.mark.parametrize("words", [[], ["17", "--all"]])
def test_what_is_redriven_is_named(world: World, words: list[str]) -> None:
    done = call("redrive", *words, "--dlq", world.dead, "--queue", world.queue)
    assert done.exit_code == 2
    assert "--all" in done.stderr
    own = call("redrive", "--all", "--dlq", world.dead, "--queue", world.dead)
    assert own.exit_code == RequestError.exit_code
    assert "is the dead-letter queue itself" in own.stderr


@pytest.mark.services
def test_a_message_whose_cause_was_mended_runs_after_its_redrive(world: World) -> None:
    path = world.folder / "images" / "late.tif"
    world.send(world.request("late", imageUrls=[str(path)]))
    world.run_once()
    path.write_bytes((world.folder / "images" / "scene.tif").read_bytes())
    done = call("redrive", "late", "--dlq", world.dead, "--queue", world.queue)
    assert done.exit_code == 0, done.output
    world.run_once()
    assert world.labels("late") == list(range(16))
    assert world.is_left(world.queue) == world.is_left(world.dead) == 0
