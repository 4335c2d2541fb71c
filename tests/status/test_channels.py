import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from daskmr.core.events import Status
from daskmr.core.grid import Window
from daskmr.errors import DaskmrError, PermanentError, RequestError
from daskmr.status import STATUS, JsonHandler
from daskmr.status.eventbridge import EventBridgeChannel
from daskmr.status.log import LogChannel
from daskmr.status.sns import SnsChannel
from daskmr.testing.contracts_status import ChannelContract, image_event, life


class TestSns(ChannelContract):
    @pytest.fixture(autouse=True)
    def _world(self, world: Any) -> None:
        self.world = world
        self.arn, self.url = world.topic()

    def make(self) -> SnsChannel:
        return SnsChannel(topic=self.arn)

    def heard(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.world.heard(self.url)
        return found

    def test_a_message_is_that_of_model_runner(self) -> None:
        self.make().publish(life()[-1])
        (found,) = self.world.envelopes(self.url)
        assert found["Message"] == "StatusMonitor update: PARTIAL job-1: Completed image processing"
        assert found["MessageAttributes"] == {
            name: {"Type": "String", "Value": value}
            for name, value in {
                "status": "PARTIAL",
                "job_id": "job-1",
                "image_status": "PARTIAL",
                "image_id": "job-1:s3://bucket/image.tif",
                "processing_duration": "3000",
                "failed_tiles": '[{"1": [[0, 512], [512, 256]]}]',
                "failed_tile_count": "1",
                "event_id": life()[-1].id,
            }.items()
        }

    def test_raw_delivery_keeps_all_attributes(self) -> None:
        arn, url = self.world.topic(raw=True)
        event = image_event(
            Status.PARTIAL,
            region_id="0-0",
            progress=99,
            duration_ms=1,
            failed_tiles=(Window(row=0, col=0, height=1, width=1),),
        )
        SnsChannel(topic=arn, region_topic=arn).publish(event)
        (found,) = self.world.messages(url)
        assert found["Body"].startswith("StatusMonitor update: PARTIAL job-1: ")
        assert len(found["MessageAttributes"]) == 9

    def test_events_of_regions_go_to_their_own_topic(self) -> None:
        arn, url = self.world.topic()
        event = image_event(Status.SUCCESS, region_id="0-512", duration_ms=7)
        self.make().publish(event)
        SnsChannel(topic=self.arn, region_topic=arn).publish(event)
        (found,) = self.world.heard(url)
        assert (found["region_id"], found["processing_duration"]) == ("0-512", "7")
        assert "image_status" not in found
        assert self.heard() == []

    def test_a_fifo_topic_orders_by_job_and_drops_what_it_has(self) -> None:
        arn, url = self.world.topic(fifo=True)
        channel = SnsChannel(topic=arn)
        for event in [*life("a"), *life("b"), *life("a")]:
            channel.publish(event)
        found = self.world.messages(url)
        assert [m["Attributes"]["MessageGroupId"] for m in found] == ["a"] * 5 + ["b"] * 5
        ids = [m["Attributes"]["MessageDeduplicationId"] for m in found]
        assert ids == [event.id for event in [*life("a"), *life("b")]]

    def test_a_filter_of_subscribers_finds_its_events(self) -> None:
        url, queue = self.world.queue()
        self.world.client("sns").subscribe(
            TopicArn=self.arn,
            Protocol="sqs",
            Endpoint=queue,
            Attributes={"FilterPolicy": json.dumps({"status": ["FAILED", "PARTIAL"]})},
        )
        for event in life():
            self.make().publish(event)
        assert [found["status"] for found in self.world.heard(url)] == ["PARTIAL"]

    def test_a_server_that_is_away_may_come_back(self) -> None:
        self.world.stop()
        with pytest.raises(DaskmrError, match="topic") as caught:
            self.make().publish(image_event())
        assert not isinstance(caught.value, PermanentError)
        self.world.start()
        self.make().publish(image_event())
        assert len(self.heard()) == 1

    def test_a_topic_that_is_not_there_may_be_made(self) -> None:
        channel = SnsChannel(topic=f"{self.arn}x")
        with pytest.raises(DaskmrError, match="NotFound") as caught:
            channel.publish(image_event())
        assert not isinstance(caught.value, PermanentError)

    def test_the_region_is_that_of_the_topic(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_DEFAULT_REGION")
        self.make().publish(image_event())
        assert len(self.heard()) == 1


class TestEventBridge(ChannelContract):
    @pytest.fixture(autouse=True)
    def _world(self, world: Any) -> None:
        self.world = world
        self.bus, self.url = world.bus()

    def make(self) -> EventBridgeChannel:
        return EventBridgeChannel(bus=self.bus)

    def heard(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [entry["detail"] for entry in self.world.envelopes(self.url)]
        return found

    def test_an_entry_carries_what_sns_carries(self) -> None:
        self.make().publish(life()[-1])
        (found,) = self.world.envelopes(self.url)
        assert (found["source"], found["detail-type"]) == ("daskmr", "Image Status Change")
        assert found["time"].startswith("2023-11-14T22:13:20")
        detail = found["detail"]
        assert detail["processing_duration"] == 3000
        assert detail["failed_tiles"] == [{"1": [[0, 512], [512, 256]]}]
        assert detail["image_status"] == "PARTIAL"

    def test_events_of_regions_are_said_when_asked_for(self) -> None:
        event = image_event(Status.SUCCESS, region_id="0-0")
        self.make().publish(event)
        assert self.heard() == []
        EventBridgeChannel(bus=self.bus, regions=True).publish(event)
        assert [found["region_id"] for found in self.heard()] == ["0-0"]

    def test_a_server_that_is_away_may_come_back(self) -> None:
        self.world.stop()
        with pytest.raises(DaskmrError, match=self.bus) as caught:
            self.make().publish(image_event())
        assert not isinstance(caught.value, PermanentError)


class TestLog(ChannelContract):
    @pytest.fixture(autouse=True)
    def _logged(self) -> Iterator[None]:
        self.stream = io.StringIO()
        handler = JsonHandler(self.stream)
        log = logging.getLogger("daskmr.status.log")
        before = log.level
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        yield
        log.removeHandler(handler)
        log.setLevel(before)

    def make(self) -> LogChannel:
        return LogChannel()

    def records(self) -> list[dict[str, Any]]:
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        return [json.loads(line) for line in text.splitlines()]

    def heard(self) -> list[dict[str, Any]]:
        return [said for said in self.records() if said["message"] == "StatusMonitorUpdate"]

    def test_the_documented_table_of_images_finds_its_fields(self) -> None:
        self.make().publish(life()[-1])
        (found,) = self.heard()
        assert found["job_id"] == "job-1"
        assert found["status"] == "PARTIAL"
        assert found["request"] == {
            "image_url": "s3://bucket/image.tif",
            "model_name": "aircraft",
            "start_time": 1_699_999_997_000,
            "processing_duration": 3000,
            "end_time": 1_700_000_000_000,
        }

    def test_the_documented_query_of_the_timeline_finds_begin_and_end(self) -> None:
        for event in life():
            self.make().publish(event)
        self.make().publish(image_event(Status.SUCCESS, region_id="0-0"))
        found = [said for said in self.records() if said.get("tag") == "TIMELINE EVENT"]
        assert [said["message"] for said in found] == [
            "Starting image processing.",
            "Completed image processing.",
            "Completed region processing.",
        ]
        assert {said["job_id"] for said in found} == {"job-1"}
        assert found[-1]["region_id"] == "0-0"


def test_channels_are_made_by_name() -> None:
    arn = "arn:aws:sns:us-west-2:123456789012:ImageStatus"
    assert STATUS.build("sns", {"topic": arn}) == SnsChannel(topic=arn)
    assert STATUS.names() == ["eventbridge", "log", "sns"]


@pytest.mark.parametrize("arn", ["", "topic", "arn:aws:sqs:us-west-2:123456789012:x", "a\nb"])
def test_what_is_no_topic_is_refused(arn: str) -> None:
    with pytest.raises(RequestError, match="is not the ARN of an SNS topic"):
        SnsChannel(topic=arn)


def test_what_is_no_bus_is_refused() -> None:
    with pytest.raises(RequestError, match="'a b' is not the name or the ARN of an event bus"):
        EventBridgeChannel(bus="a b")
