import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core.events import (
    MAX_TILES_BYTES,
    History,
    Status,
    StatusEvent,
    attributes,
    body,
    bound_text,
    eventbridge_entry,
    region_status,
    sns_message,
    tiles_json,
)
from daskmr.core.grid import Window


def event(status: Status = Status.FAILED, **fields: Any) -> StatusEvent:
    usual: dict[str, Any] = {"job_id": "5678", "message": "said", "time_ms": 0}
    return StatusEvent(status=status, **(usual | fields))


WINDOWS = st.builds(
    Window,
    row=st.integers(0, 2**40),
    col=st.integers(0, 2**40),
    height=st.integers(1, 8192),
    width=st.integers(1, 8192),
)
TEXTS = st.text(max_size=60) | st.text(st.characters(codec=None), max_size=20)
EVENTS = st.builds(
    StatusEvent,
    job_id=TEXTS,
    status=st.sampled_from(Status),
    message=TEXTS,
    time_ms=st.integers(0, 2**42),
    image_url=TEXTS,
    region_id=TEXTS,
    model_name=TEXTS,
    progress=st.none() | st.integers(0, 100),
    duration_ms=st.none() | st.integers(0, 2**40),
    failed_tiles=st.lists(WINDOWS, max_size=5).map(tuple),
    round=st.integers(0, 3),
)


def test_what_is_not_known_has_no_attribute() -> None:
    found = attributes(event())
    assert found.pop("event_id") == event().id
    assert found == {"status": "FAILED", "job_id": "5678", "image_status": "FAILED"}


def test_durations_are_milliseconds_as_text() -> None:
    assert attributes(event(duration_ms=3000))["processing_duration"] == "3000"


def test_a_duration_of_nothing_is_told_of_what_has_ended_only() -> None:
    assert "processing_duration" not in attributes(event(Status.STARTED, duration_ms=0))
    assert "processing_duration" not in attributes(event(Status.IN_PROGRESS, duration_ms=0))
    assert attributes(event(Status.SUCCESS, duration_ms=0))["processing_duration"] == "0"


def test_progress_of_nothing_is_told() -> None:
    assert attributes(event(Status.IN_PROGRESS, progress=0))["progress"] == "0"


def test_failed_tiles_are_json() -> None:
    tiles = (Window(row=1, col=2, height=3, width=4), Window(row=0, col=0, height=5, width=6))
    found = attributes(event(failed_tiles=tiles))
    assert json.loads(found["failed_tiles"]) == [{"1": [[1, 2], [3, 4]]}, {"2": [[0, 0], [5, 6]]}]
    assert found["failed_tile_count"] == "2"


@given(st.lists(WINDOWS, max_size=30), st.integers(1, 200))
def test_failed_tiles_fit_whatever_their_number(tiles: list[Window], times: int) -> None:
    text = tiles_json(tiles * times)
    assert len(text) <= MAX_TILES_BYTES
    found = json.loads(text)
    assert [list(tile) for tile in found] == [[str(n)] for n in range(1, len(found) + 1)]
    if len(found) < len(tiles) * times:
        assert len(text) > MAX_TILES_BYTES - 100


@pytest.mark.parametrize(
    ("n_failed", "n_tiles", "expected"),
    [(0, 5, "SUCCESS"), (2, 5, "PARTIAL"), (5, 5, "FAILED"), (0, 0, "SUCCESS")],
)
def test_a_region_is_what_its_tiles_are(n_failed: int, n_tiles: int, expected: str) -> None:
    assert region_status(n_failed, n_tiles) == expected


def test_the_sentence_is_that_of_model_runner() -> None:
    found = body(event(Status.STARTED, message="Started image request"))
    assert found == "StatusMonitor update: STARTED 5678: Started image request"


@given(EVENTS)
def test_an_event_is_the_same_after_json(said: StatusEvent) -> None:
    again = StatusEvent.from_dict(json.loads(json.dumps(said.as_dict())))
    assert again == said
    assert again.id == said.id


def test_members_that_a_later_version_adds_are_left_out() -> None:
    assert StatusEvent.from_dict({**event().as_dict(), "added": 1}) == event()


@pytest.mark.parametrize("said", [{}, {"status": "FAILED"}, {"status": "NO"}])
def test_what_is_no_event_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        StatusEvent.from_dict(said)


@given(EVENTS)
def test_every_event_fits_a_message(said: StatusEvent) -> None:
    message = sns_message(said)
    found = message["MessageAttributes"]
    assert {"status", "event_id"} <= set(found)
    assert len(found) <= 10  # what raw delivery to SQS takes
    for value in found.values():
        assert value["DataType"] == "String"
        assert value["StringValue"].strip()
    texts = [message["Message"], *(value["StringValue"] for value in found.values())]
    assert sum(len(text.encode()) for text in texts) < 64 * 2**10
    assert not any(re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", text) for text in texts)


@given(EVENTS)
def test_an_entry_tells_the_same_as_a_message(said: StatusEvent) -> None:
    entry = eventbridge_entry(said, "bus")
    detail = json.loads(entry["Detail"])
    assert detail.pop("message") == sns_message(said)["Message"]
    assert set(detail) == set(attributes(said))
    assert detail["status"] == str(said.status)
    assert entry["EventBusName"] == "bus"
    assert entry["DetailType"] == f"{'Region' if said.region_id else 'Image'} Status Change"


def test_the_time_of_an_entry_is_that_of_the_event() -> None:
    found = eventbridge_entry(event(time_ms=1500), "bus")
    assert found["Time"] == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)


@given(TEXTS, st.integers(0, 50))
def test_bounded_text_is_short_and_on_one_line(text: str, n_bytes: int) -> None:
    found = bound_text(text, n_bytes)
    assert len(found.encode()) <= n_bytes
    assert len(found.splitlines()) <= 1


def test_an_id_tells_events_apart_by_what_they_say() -> None:
    said = event(Status.IN_PROGRESS, progress=1)
    others = [
        replace(said, **change)
        for change in (
            {"job_id": "x"}, {"image_url": "x"}, {"region_id": "x"}, {"progress": 2},
            {"round": 1}, {"status": Status.STARTED},
        )
    ]  # fmt: skip
    assert len({said.id, *(other.id for other in others)}) == 7
    assert replace(said, message="other words", time_ms=9).id == said.id


def heard(events: list[StatusEvent]) -> list[StatusEvent]:
    """What is news of a list of events."""
    history, found = History(), []
    for said in events:
        if history.is_news(said):
            history.add(said)
            found.append(said)
    return found


def test_a_job_fails_once() -> None:
    started = event(Status.STARTED)
    assert heard([started, event(), event(), replace(event(), message="again")]) == [
        started,
        event(),
    ]


def test_nothing_comes_after_the_end() -> None:
    late = [
        event(Status.STARTED), event(Status.IN_PROGRESS, progress=50), event(Status.SUCCESS),
        event(Status.CANCELED), event(Status.SUCCESS, region_id="0-0"),
    ]  # fmt: skip
    assert heard([event(Status.FAILED), *late]) == [event(Status.FAILED)]


def test_tiles_that_are_asked_about_again_make_another_end() -> None:
    again = [replace(said, round=1) for said in (event(Status.STARTED), event(Status.PARTIAL))]
    assert heard([event(Status.PARTIAL), *again]) == [event(Status.PARTIAL), *again]


def test_images_of_one_job_end_one_by_one() -> None:
    both = [event(Status.SUCCESS, image_url=url) for url in ("a", "b")]
    assert heard([*both, *both]) == both


def test_progress_never_goes_back() -> None:
    told = [event(Status.IN_PROGRESS, progress=n) for n in (0, 10, 5, 10, 60, 50, 100)]
    assert [said.progress for said in heard(told)] == [0, 10, 60, 100]


@given(st.lists(EVENTS.map(lambda e: replace(e, job_id="a", image_url="b", round=0)), max_size=30))
def test_whatever_is_said_the_end_is_last_and_nothing_stands_twice(
    events: list[StatusEvent],
) -> None:
    found = heard(events)
    assert len({said.id for said in found}) == len(found)
    assert not any(e.status.is_over and not e.region_id for e in found[:-1])
    told = [e.progress for e in found if e.status is Status.IN_PROGRESS and not e.region_id]
    steps = [n for n in told if n is not None]
    assert steps == sorted(set(steps))
