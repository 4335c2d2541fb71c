"""Runs one request from its acceptance to its end: plans its images, queues and runs each.

Errors that may pass are retried with growing pauses; what is away (store, cluster, image, endpoint,
output, credentials) is waited for without limit, since that is no fault of the request.
"""

import asyncio
import json
import logging
import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tenacity import AsyncRetrying, retry_if_exception_type, retry_if_result
from tenacity.retry import retry_base

from daskmr.core.events import Status, StatusEvent
from daskmr.core.report import JobReport
from daskmr.core.request import ImageRequest
from daskmr.errors import (
    BusyError,
    CanceledError,
    ClusterError,
    DaskmrError,
    EndpointError,
    HandedBackError,
    ImageError,
    ImageUnreachableError,
    JobError,
    RequestError,
    StoreError,
)
from daskmr.planning.execution import Execution
from daskmr.service.cluster_connection import ClusterConnection
from daskmr.service.image_job import ImageJob, plan_image
from daskmr.service.job_queue import JobQueue
from daskmr.service.policy import RequestPolicy
from daskmr.service.request_store import RequestStore
from daskmr.service.retries import retries
from daskmr.service.threads import in_thread
from daskmr.status import Meter, Metric, Operation, StatusDispatcher
from daskmr.store import JobFolder
from daskmr.store.lease import EXPIRES_S, NAME, is_gone

log = logging.getLogger(__name__)
_MAX_PLANS = 4
_MAX_DELIVERIES = 3
"""Attempts to write the results of an image to all its outputs."""
_POLL_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEnd:
    """End of a request, or of one of its images."""

    status: Status
    """SUCCESS, PARTIAL, FAILED or CANCELED."""
    why: str = ""
    """Reason of the failure."""
    is_rejected: bool = False
    """True if nothing came of it, so that its message goes to the dead-letter queue."""

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "RequestEnd":
        """Return the end that `daskmr.service.request_store` recorded."""
        return cls(
            status=Status(record["status"]),
            why=record["why"],
            is_rejected=record.get("refused", False),
        )


@dataclass
class _ImageAttempts:
    """Attempts of this process at one image."""

    job: ImageJob | None = None
    """The planned job; None before that."""
    n: int = 0
    """Attempts so far."""
    _n_deliveries: int = 0

    def end_of_report(self, report: JobReport) -> RequestEnd | None:
        """Return the end of an image that ran; None to deliver its results again."""
        self._n_deliveries += 1
        missing = [delivery.to for delivery in report.deliveries if not delivery.is_done]
        if missing and self._n_deliveries < _MAX_DELIVERIES:
            return None
        why = f"not delivered to {', '.join(missing)}" if missing else ""
        return RequestEnd(status=Status(str(report.status)), why=why)

    def end_of_error(self, error: Exception) -> RequestEnd | None:
        """Return the end that an error means; None to try again."""
        if isinstance(error, CanceledError):
            return RequestEnd(status=Status.CANCELED, why=str(error))
        is_final = isinstance(error, RequestError | ImageError | JobError)
        return _failure(_error_text(error)) if is_final and not is_outage(error) else None


@dataclass(kw_only=True)
class RequestRunner:
    """Runs requests; lives on one event loop."""

    requests: RequestStore
    """Records of requests and their jobs."""
    cluster: ClusterConnection
    """The Dask cluster."""
    job_queue: JobQueue
    """Images that wait for their start."""
    policy: RequestPolicy
    """Names that requests may contain."""
    status_dispatcher: StatusDispatcher
    """Delivers status events."""
    meter: Meter
    """Records metrics."""
    formats: Sequence[str] = ("geojson",)
    """Formats of outputs that are files."""
    pause_s: float = 2.0
    """Seconds before the first retry, doubled for each further one."""
    owner: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    """Name of this process in the records."""
    _is_leaving: bool = False
    _planning: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MAX_PLANS))
    _planning_again: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(_MAX_PLANS)
    )
    _outages: set[str] = field(default_factory=set)

    @property
    def n_away(self) -> int:
        """Number of requests that wait for something that is away."""
        return len(self._outages)

    def stop(self) -> None:
        """Release all jobs for other processes to continue."""
        self._is_leaving = True

    async def run(self, request: ImageRequest, requested_at: float) -> RequestEnd:
        """Run an accepted request to its end.

        Parameters
        ----------
        request
            The request.
        requested_at
            Time of its message, seconds since 1970 (UTC).

        Raises
        ------
        HandedBackError
            If this process is shutting down.
        """
        job_id = request.job_id
        attempts = await self._call_store(self.requests.begin_attempt, job_id, self.owner)
        if attempts.are_too_many:
            why = attempts.why or f"{attempts.deaths} processes ended while they were at it"
            return await self._end(request, [_failure(why)] * len(request.image_urls))
        present = await self._call_store(self.requests.begin_round, job_id)
        images = [
            _kept_end(present.kept_ends[name])
            if name in present.kept_ends
            else self._run_image(request, number, requested_at=requested_at)
            for number, name in enumerate(request.job_ids)
        ]
        results = await asyncio.gather(*images, return_exceptions=True)
        self._outages.discard(job_id)
        errors = [error for error in results if isinstance(error, BaseException)]
        if errors:
            if all(isinstance(error, HandedBackError) for error in errors):
                await in_thread(self.requests.record_release, job_id, self.owner)
            raise errors[0]
        return await self._end(request, [end for end in results if isinstance(end, RequestEnd)])

    async def _end(self, request: ImageRequest, ends: Sequence[RequestEnd]) -> RequestEnd:
        """Record the end of a request and publish failures of its images."""
        statuses = {end.status for end in ends}
        status = next(iter(statuses)) if len(statuses) == 1 else Status.PARTIAL
        why = "; ".join(dict.fromkeys(end.why for end in ends if end.why))
        is_rejected = all(end.is_rejected for end in ends)
        number = (await self._call_store(self.requests.round, request.job_id)).number
        for name, url, end in zip(request.job_ids, request.image_urls, ends, strict=True):
            if end.status in {Status.FAILED, Status.CANCELED}:
                folder = JobFolder.at(self.requests.store, name)
                is_job = await self._call_store(folder.request) is not None
                at = await self._call_store(_n_rounds, folder) if is_job else -1 - number
                self._publish(name, url, request=request, end=end, round_=at)
        images = [{"status": str(end.status), "why": end.why} for end in ends]
        record = {"status": str(status), "why": why, "refused": is_rejected, "images": images}
        await self._call_store(self.requests.record_end, request.job_id, record)
        return RequestEnd(status=status, why=why, is_rejected=is_rejected)

    def _publish(
        self, job_id: str, url: str, *, request: ImageRequest, end: RequestEnd, round_: int
    ) -> None:
        """Publish an end that the job itself may not have published.

        Rounds below 0 are those of a request that did not become a job, so that a subscriber hears
        of the job that it becomes later.
        """
        self.status_dispatcher.post(
            JobFolder.at(self.requests.store, job_id).objects,
            StatusEvent(
                job_id=job_id,
                job_name=request.job_name,
                status=end.status,
                message=end.why,
                time_ms=time.time_ns() // 1_000_000,
                image_url=url,
                model_name=request.image_processor.name,
                round=round_,
            ),
        )

    async def _run_image(
        self, request: ImageRequest, number: int, *, requested_at: float
    ) -> RequestEnd:
        """Plan an image and run it to its end."""
        attempts = _ImageAttempts()

        async def attempt() -> RequestEnd | None:
            self._check()
            self._outages.discard(request.job_id)
            attempts.n += 1
            try:
                if attempts.job is None:
                    is_first = attempts.n == 1
                    async with self._planning if is_first else self._planning_again:
                        attempts.job = await self._plan(request, number, requested_at=requested_at)
                report = await self._run_when_free(attempts.job)
                return attempts.end_of_report(report)
            except (HandedBackError, asyncio.CancelledError):
                raise
            except Exception as error:  # noqa: BLE001 - end_of_error decides by its class
                end = attempts.end_of_error(error)
                if is_outage(error):
                    self._log_outage(request, number, error)
                elif end is None:
                    end = await self._record_failure(request, number, error)
                return end

        return await self._retries(retry_if_result(lambda end: end is None))(attempt)

    async def _record_failure(
        self, request: ImageRequest, number: int, error: Exception
    ) -> RequestEnd | None:
        """Record a failed attempt; return the end if it was the last one allowed."""
        log.warning(
            "job %s: an attempt failed", request.job_ids[number], exc_info=error,
            extra={"daskmr": {"job_id": request.job_ids[number]}},
        )  # fmt: skip
        attempts = await self._call_store(
            self.requests.record_failure, request.job_id, self.owner, _error_text(error)
        )
        return _failure(attempts.why) if attempts.are_too_many else None

    def _log_outage(self, request: ImageRequest, number: int, error: Exception) -> None:
        self._outages.add(request.job_id)
        name, text = request.job_ids[number], _error_text(error)
        log.warning(
            "job %s waits: %s", name, text,
            extra={"daskmr": {"job_id": name, "outage": type(error).__name__}},
        )  # fmt: skip

    async def _plan(self, request: ImageRequest, number: int, *, requested_at: float) -> ImageJob:
        """Plan an image."""
        try:
            return await in_thread(
                plan_image,
                request,
                number,
                requested_at=requested_at,
                policy=self.policy,
                formats=self.formats,
            )
        except ImageError:
            self.meter.record(
                Operation.SCHEDULING, {Metric.ERRORS: 1.0}, model_name=request.image_processor.name
            )
            raise

    async def _run_when_free(self, job: ImageJob) -> JobReport:
        """Run an image; wait while another process runs it."""
        while True:
            try:
                return await self._run(job)
            except BusyError:
                await self._wait_for_lease(job.job_id)

    async def _run(self, job: ImageJob) -> JobReport:
        """Run an image once the job queue starts it."""
        loop = asyncio.get_running_loop()

        def on_remaining(n_regions: int, n_tiles: int) -> None:
            if not loop.is_closed():
                update = partial(self.job_queue.update, n_regions=n_regions, n_tiles=n_tiles)
                loop.call_soon_threadsafe(update, job.job_id)

        def run() -> JobReport:
            return job.run(
                Execution(
                    outputs=job.outputs,
                    job_name=job.job_name,
                    cluster={"client": self.cluster.client()},
                    on_progress=job.progress_callback(on_remaining),
                    store=self.requests.store,
                    load=False,
                    priority=_priority(job),
                    slots=partial(self.job_queue.share, job.job_id),
                    let_go=lambda: self._is_leaving,
                    is_supervised=True,
                    status_dispatcher=self.status_dispatcher,
                    meter=self.meter,
                )
            )

        task = asyncio.ensure_future(self._run_queued(job, run))
        while not task.done():
            await asyncio.wait({task}, timeout=_POLL_S / 4)
            if self._is_leaving and job.job_id in self.job_queue.scheduler.waiting:
                task.cancel()
                self._check()
        return await task

    async def _run_queued(self, job: ImageJob, run: Any) -> JobReport:
        async with self.job_queue.slot(job):
            report: JobReport = await in_thread(run)
            return report

    async def _wait_for_lease(self, job_id: str) -> None:
        """Wait until a job's lease is released, expired, or its process is gone."""
        objects = JobFolder.at(self.requests.store, job_id).objects
        last, since = b"", time.monotonic()
        while True:
            self._check()
            content = await self._call_store(objects.read, NAME) or b"{}"
            lease = json.loads(content)
            if content != last:
                last, since = content, time.monotonic()
            if lease.get("released") or is_gone(lease) or time.monotonic() - since > EXPIRES_S:
                return
            await asyncio.sleep(_POLL_S)

    async def _call_store(self, function: Any, *args: Any) -> Any:
        """Call *function* in a thread; retry with back-off while the store is unavailable."""
        call = self._retries(retry_if_exception_type(StoreError), text="the store does not answer")
        return await call(in_thread, function, *args)

    def _retries(self, on: retry_base, **options: Any) -> AsyncRetrying:
        return retries(on, sleep=self._sleep, first_s=self.pause_s, **options)

    async def _sleep(self, seconds: float) -> None:
        """Sleep; raise `HandedBackError` on shutdown."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._check()
            await asyncio.sleep(min(0.2, self.pause_s))

    def _check(self) -> None:
        if self._is_leaving:
            msg = "this process is leaving"
            raise HandedBackError(msg)


def is_outage(error: BaseException) -> bool:
    """Return True if an error is no fault of the request: something is away."""
    if isinstance(error, EndpointError):
        return error.may_pass
    return isinstance(error, StoreError | ClusterError | ImageUnreachableError)


async def _kept_end(record: Mapping[str, Any]) -> RequestEnd:
    return RequestEnd(status=Status(record["status"]), why=record["why"])


def _n_rounds(folder: JobFolder) -> int:
    return folder.n_rounds


def _failure(why: str) -> RequestEnd:
    return RequestEnd(status=Status.FAILED, why=why, is_rejected=True)


def _priority(job: ImageJob) -> int:
    """Return the Dask priority of a job: of one request priority, small jobs come first."""
    return 1000 * job.entry.priority - job.entry.n_tiles.bit_length()


def _error_text(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, DaskmrError) else f"{type(error).__name__}: {text}"
