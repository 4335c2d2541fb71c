"""Status as records of the log, for the queries of Model Runner's dashboards."""

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
    """One record ``StatusMonitorUpdate`` an event; begins and ends also for the timeline."""

    @property
    def key(self) -> str:
        """Short name of where events are said."""
        return "log"

    def publish(self, event: StatusEvent) -> None:
        """Write the records."""
        about = {"job_id": event.job_id, "image_id": event.image_id}
        if event.region_id:
            about["region_id"] = event.region_id
        said = {**about, "event_id": event.id, "status": str(event.status), "reason": event.message}
        log.info("StatusMonitorUpdate", extra={"daskmr": {**said, "request": _request(event)}})
        text = timeline(event)
        if text:
            log.info(text, extra={"daskmr": {**about, "tag": TIMELINE}})


def timeline(event: StatusEvent) -> str:
    """What the timeline of a job says of an event; empty for nothing.

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
    """What the documented query of the table of images reads; times in milliseconds since 1970."""
    found: dict[str, Any] = {"image_url": event.image_url, "model_name": event.model_name}
    if event.duration_ms is not None:
        found["start_time"] = event.time_ms - event.duration_ms
        found["processing_duration"] = event.duration_ms
    if event.status.is_over:
        found["end_time"] = event.time_ms
    if event.regions is not None:
        found["region_count"] = event.regions.total
        found["region_success"] = event.regions.success
        found["region_error"] = event.regions.partial + event.regions.failed
    if event.progress is not None:
        found["progress"] = event.progress
    return found
