"""Contract of status channels: tests to inherit."""

import pickle
import re
from dataclasses import replace
from typing import Any

from daskmr.core.events import Status, StatusEvent
from daskmr.core.grid import Window
from daskmr.status.base import StatusChannel

_MAX_EVENT_BYTES = 256 * 2**10
"""Largest event that SNS, SQS and EventBridge take."""


def image_event(status: Status = Status.STARTED, **fields: Any) -> StatusEvent:
    """Return an event of an image; *fields* replace the defaults."""
    usual: dict[str, Any] = {
        "job_id": "job-1",
        "message": "Started image request",
        "time_ms": 1_700_000_000_000,
        "image_url": "s3://bucket/image.tif",
        "model_name": "aircraft",
    }
    return StatusEvent(status=status, **(usual | fields))


def life(job_id: str = "job-1") -> list[StatusEvent]:
    """Return all events of one image, in order."""
    return [
        image_event(Status.STARTED, job_id=job_id),
        *(image_event(Status.IN_PROGRESS, job_id=job_id, progress=n) for n in (0, 50, 100)),
        image_event(
            Status.PARTIAL,
            job_id=job_id,
            message="Completed image processing",
            duration_ms=3000,
            failed_tiles=(Window(row=0, col=512, height=512, width=256),),
        ),
    ]


class ChannelContract:
    """Tests of one channel: inherit, name the class ``Test...``, define `make` and `heard`."""

    def make(self) -> StatusChannel:
        """Return the channel under test, whose receiver is `heard`."""
        raise NotImplementedError

    def heard(self) -> list[dict[str, Any]]:
        """Return the events received since the last call.

        Each has at least status, job_id, image_id and event_id.
        """
        raise NotImplementedError

    def test_an_event_arrives_with_its_job_its_status_and_its_id(self) -> None:
        event = image_event(Status.FAILED, message="no tile succeeded")
        self.make().publish(event)
        (record,) = self.heard()
        assert (record["job_id"], record["status"]) == ("job-1", "FAILED")
        assert record["image_id"] == "job-1:s3://bucket/image.tif"
        assert record["event_id"] == event.id
        assert "no tile succeeded" in str(record)

    def test_events_arrive_in_order(self) -> None:
        channel = self.make()
        for event in life():
            channel.publish(event)
        assert [record["event_id"] for record in self.heard()] == [event.id for event in life()]

    def test_what_is_said_twice_has_one_id(self) -> None:
        channel = self.make()
        for _ in range(2):
            channel.publish(replace(image_event(), time_ms=5))
        assert {record["event_id"] for record in self.heard()} == {image_event().id}

    def test_hostile_text_is_taken_and_bounded(self) -> None:
        text = "a\r\n\x00\x1b[31m\u2028\ud800\uffff ü" * 50_000
        event = image_event(Status.FAILED, message=text, image_url=f"https://host/{text}")
        self.make().publish(event)
        (record,) = self.heard()
        assert len(str(record).encode("utf-8", "replace")) < _MAX_EVENT_BYTES
        assert not re.search(r"[\x00-\x1f\u2028]", "".join(map(str, record.values())))

    def test_any_number_of_failed_tiles_is_taken(self) -> None:
        tiles = tuple(Window(row=n, col=n, height=512, width=512) for n in range(20_000))
        self.make().publish(image_event(Status.PARTIAL, failed_tiles=tiles))
        (record,) = self.heard()
        assert record["status"] == "PARTIAL"
        assert len(str(record)) < _MAX_EVENT_BYTES

    def test_secrets_stay_here(self) -> None:
        url = "https://me:hunter2pass@host/i.tif?X-Amz-Signature=5ec2e7canary&X-Amz-Date=1"
        text = "botocore said ASIAIOSFODNN7CANARY1"
        self.make().publish(image_event(Status.FAILED, message=text, image_url=url))
        (record,) = self.heard()
        for secret in ("hunter2pass", "5ec2e7canary", "ASIAIOSFODNN7CANARY1"):
            assert secret not in str(record)

    def test_its_key_is_a_name_of_a_file_and_stays_the_same(self) -> None:
        key = self.make().key
        assert re.fullmatch(r"[a-z][a-z0-9-]{1,60}", key)
        assert key != "json"
        assert self.make().key == key

    def test_it_is_plain_data(self) -> None:
        channel = self.make()
        assert pickle.loads(pickle.dumps(channel)) == channel  # noqa: S301 - our own bytes
