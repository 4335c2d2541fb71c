"""Status events as log records, for the queries of Model Runner's dashboards."""

import logging
from typing import Any

from daskmr.core.events import Status, StatusEvent
from daskmr.registry import plugin
from daskmr.status._logs import TIMELINE

log = logging.getLogger(__name__)
_STARTED = {True: "Starting region processing.", False: "Starting image processing."}
_ENDED = {True: "Completed region processing.", False: "Completed image processing."}


@plugin
class LogChannel:
    """One record ``StatusMonitorUpdate`` for each event; starts and ends also for the timeline."""

    @property
    def key(self) -> str:
        """Short name of the destination."""
        return "log"

    def publish(self, event: StatusEvent) -> None:
        """Write the log records of an event."""
        ids = {"job_id": event.job_id, "image_id": event.image_id}
        if event.job_name:
            ids["job_name"] = event.job_name
        if event.region_id:
            ids["region_id"] = event.region_id
        fields = {**ids, "event_id": event.id, "status": str(event.status), "reason": event.message}
        log.info("StatusMonitorUpdate", extra={"daskmr": {**fields, "request": _request(event)}})
        text = timeline(event)
        if text:
            log.info(text, extra={"daskmr": {**ids, "tag": TIMELINE}})


def timeline(event: StatusEvent) -> str:
    """Return the text of an event in the timeline of its job; empty for events without one.

    Examples
    --------
    >>> timeline(StatusEvent(job_id="a", status=Status.STARTED, message="", time_ms=0))
    'Starting image processing.'
    """
    is_region = bool(event.region_id)
    if event.status is Status.STARTED:
        return _STARTED[is_region]
    return _ENDED[is_region] if event.status.is_over else ""


def _request(event: StatusEvent) -> dict[str, Any]:
    """Return the fields of Model Runner's documented query; times in milliseconds since 1970."""
    fields: dict[str, Any] = {"image_url": event.image_url, "model_name": event.model_name}
    if event.duration_ms is not None:
        fields["start_time"] = event.time_ms - event.duration_ms
        fields["processing_duration"] = event.duration_ms
    if event.status.is_over:
        fields["end_time"] = event.time_ms
    if event.progress is not None:
        fields["progress"] = event.progress
    return fields
