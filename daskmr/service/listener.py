"""The listener: receives messages, runs their requests and deletes each when its request ended.

A message is deleted only once its request has ended, or is detached in the store. In any other case
SQS delivers it again, to this process or another, which continues from the records of the store.

Our own: consumers such as Celery's and boto's own samples delete or extend a message by the time a
handler takes; these jobs take hours, outlive processes, and end by a record in the store.
"""

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from tenacity import retry_if_exception, retry_if_exception_type

from daskmr.core.events import Status, StatusEvent
from daskmr.core.request import ImageRequest
from daskmr.errors import (
    ConflictError,
    DaskmrError,
    EndpointError,
    HandedBackError,
    RequestError,
    StoreError,
)
from daskmr.planning.from_request import read_request
from daskmr.service.request_runner import RequestEnd, RequestRunner, is_outage
from daskmr.service.retries import retries
from daskmr.service.sqs import Message, RequestQueue
from daskmr.service.threads import in_thread
from daskmr.status import EventStore, logs_about
from daskmr.store import JobFolder
from daskmr.store.object_store import object_store

log = logging.getLogger(__name__)
LOOK_AHEAD = 50
"""Maximal number of requests that wait beside those that run."""
MAX_AWAY = 1000
"""Maximal number of requests that wait for an outage beside all others."""
HAND_OVER_S = 11 * 3600.0
"""Seconds after which a message is deleted and its request detached, an hour before SQS's limit of
12 hours of visibility timeout."""
_POLL_S = 10
_TEND_S = 5.0
_SCAN_S = 60.0
_DELIVER_S = 5.0
Task = Callable[[], Awaitable[None]]
OnMessage = Callable[[Message], None]
P = ParamSpec("P")
T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(kw_only=True)
class Listener:
    """Receives messages from a queue until `stop`; lives on one event loop."""

    queue: RequestQueue
    """The queue."""
    runner: RequestRunner
    """Runs requests."""
    once: bool = False
    """Whether to end when the queue is empty and all requests have ended."""
    look_ahead: int = LOOK_AHEAD
    """Maximal number of requests that wait beside those that run."""
    hand_over_s: float = HAND_OVER_S
    """Seconds after which a message is deleted and its request detached."""
    polled_at: float = 0.0
    """Time of the queue's last answer, monotonic seconds; 0 for never."""
    _messages: dict[str, Message] = field(default_factory=dict)
    _job_ids: dict[str, str] = field(default_factory=dict)
    _requests: "dict[str, asyncio.Future[RequestEnd]]" = field(default_factory=dict)
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set)
    _pending_events: set[str] = field(default_factory=set)
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Receive no more messages and release all jobs."""
        self._stopped.set()
        self.runner.stop()

    async def wait_for_stop(self) -> None:
        """Wait until `stop` was called."""
        await self._stopped.wait()

    async def run(self) -> None:
        """Listen until `stop`, or until all is done (`once`)."""
        periodic = [
            asyncio.ensure_future(
                self._repeat(
                    self.queue.visibility_s / 3,
                    self._extend,
                    after_error_s=self.queue.visibility_s / 10,
                )
            ),
            asyncio.ensure_future(self._repeat(_TEND_S, self._tend)),
            asyncio.ensure_future(self._repeat(_SCAN_S, self._scan)),
        ]
        try:
            await self._listen()
            await asyncio.gather(*self._tasks)
        finally:
            for task in periodic:
                task.cancel()
            await asyncio.gather(*periodic, return_exceptions=True)
            await in_thread(self.runner.status_dispatcher.drain, _DELIVER_S)
            await self._clear_pending_events()

    @property
    def n_requests(self) -> int:
        """Number of requests that have not ended."""
        return len(self._requests)

    # -- messages ---------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Receive messages while there is room for their requests."""
        while not self._stopped.is_set():
            room = self._room
            if room <= 0:
                await asyncio.sleep(0.1)
                continue
            messages = await self._receive(room)
            for message in messages:
                is_new = message.id not in self._messages
                self._messages[message.id] = message  # with the receipt that is valid now
                if is_new:
                    self._start(self._process(message))
            if self.once and not messages and not self._tasks:
                return

    @property
    def _room(self) -> int:
        """Number of messages to receive now; those that wait for an outage take no room."""
        n_away = min(self.runner.n_away, MAX_AWAY)
        n_most = self.look_ahead + self.runner.job_queue.scheduler.max_jobs
        return n_most + n_away - len(self._tasks)

    async def _receive(self, n: int) -> list[Message]:
        """Receive up to *n* messages; pause and ask again while the queue does not answer."""
        wait_s = 1 if self.once else _POLL_S
        receive = retries(
            retry_if_exception_type(EndpointError), sleep=self._pause, first_s=1.0,
            text="the queue does not answer", stop=lambda _: self._stopped.is_set(),
            retry_error_callback=lambda _: [],
        )  # fmt: skip
        messages: list[Message] = await receive(in_thread, self.queue.receive, n, wait_s)
        self.polled_at = time.monotonic()
        return messages

    async def _process(self, message: Message) -> None:
        """Process one message; an error leaves it in the queue and reaches no other message."""
        try:
            await self._run_message(message)
        except HandedBackError:
            await self._try(self.queue.release, self._messages.get(message.id, message))
        except DaskmrError as error:
            log.warning("message %s comes back: %s", message.id, error)
        except Exception:
            log.exception("message %s comes back", message.id)
        finally:
            self._messages.pop(message.id, None)
            self._job_ids.pop(message.id, None)

    async def _run_message(self, message: Message) -> None:
        requests = self.runner.requests
        try:
            request = read_request(message.request)
            self.runner.policy.check(request)
        except RequestError as error:
            await self._reject(message, error)
            return
        try:
            await self._patiently(requests.accept, request, requested_at=message.sent_at)
        except ConflictError as error:
            await self._patiently(requests.record_message, request.job_id, message.id)
            await self._reject(message, error)
            return
        with logs_about(request.job_id, job_name=request.job_name):
            await self._run_accepted(message, request)

    async def _run_accepted(self, message: Message, request: ImageRequest) -> None:
        for warning in request.warnings:
            log.info("job %s: %s", request.job_id, warning)
        if await self._patiently(self.runner.requests.attach, request, message.id):
            log.info("job %s ended before: its failed tiles are run again", request.job_id)
        self._job_ids[message.id] = request.job_id
        end = await self._run_request(request, message.sent_at)
        if message.id not in self._messages:
            return  # detached: the message was deleted before
        if end.is_rejected:
            await self._send_to_dlq(message, end.why)
        await self._wait_for_events(self._folder(request.job_ids[0]))
        await self._delete(message)

    async def _run_request(self, request: ImageRequest, requested_at: float) -> RequestEnd:
        """Return the end of a request: from its record, or by running it; never run it twice."""
        job_id = request.job_id
        if job_id not in self._requests:
            record = await self._patiently(self.runner.requests.end_record, job_id)
            if record is not None:
                for name in request.job_ids:
                    self.runner.status_dispatcher.resume(self._folder(name))
                return RequestEnd.from_record(record)
        if job_id not in self._requests:
            running = asyncio.ensure_future(self.runner.run(request, requested_at))
            self._requests[job_id] = running
            running.add_done_callback(lambda _: self._requests.pop(job_id, None))
        return await asyncio.shield(self._requests[job_id])

    async def _patiently(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call *function* in a thread; wait while the store or the queue that it needs is away."""

        async def pause(seconds: float) -> None:
            await self._pause(seconds)
            if self._stopped.is_set():
                msg = "this process is leaving"
                raise HandedBackError(msg)

        call = retries(
            retry_if_exception(is_outage), sleep=pause, first_s=1.0,
            text="a message waits",
        )  # fmt: skip
        result: T = await call(in_thread, function, *args, **kwargs)
        return result

    def _folder(self, job_id: str) -> EventStore:
        return JobFolder.at(self.runner.requests.store, job_id).objects

    async def _reject(self, message: Message, error: RequestError) -> None:
        """Record a message that is no valid request, publish the reason and delete the message."""
        log.warning("message %s is refused: %s", message.id, " ".join(str(error).split()))
        folder = await self._patiently(self.runner.requests.reject, message.body)
        if not isinstance(error, ConflictError):  # the job of that name is another one
            self.runner.status_dispatcher.post(folder, _rejection(message, error))
        await self._send_to_dlq(message, str(error))
        await self._wait_for_events(folder)
        await self._delete(message)

    async def _send_to_dlq(self, message: Message, reason: str) -> None:
        if self.queue.dead_letters:
            await self._patiently(self.queue.send_to_dlq, message, reason)

    async def _delete(self, message: Message) -> None:
        """Delete a message by its latest delivery; if that fails, SQS delivers it again."""
        try:
            await self._patiently(
                lambda: self.queue.delete(self._messages.get(message.id, message))
            )
        except EndpointError as error:
            log.warning("message %s: %s", message.id, error)

    async def _wait_for_events(self, folder: EventStore) -> None:
        """Wait up to 5 s for the delivery of a folder's events; record it as pending after that."""
        end = time.monotonic() + _DELIVER_S
        while not self.runner.status_dispatcher.is_idle(folder) and time.monotonic() < end:
            await asyncio.sleep(0.02)
        if not self.runner.status_dispatcher.is_idle(folder):
            await self._patiently(self.runner.requests.add_pending_events, folder.url)
            self._pending_events.add(folder.url)

    # -- periodic tasks ---------------------------------------------------------------------------

    async def _extend(self) -> None:
        """Extend the visibility of all messages; detach the requests of those that are too old."""
        messages = list(self._messages.values())
        for message in await in_thread(self.queue.extend_visibility, messages):
            log.warning("message %s was delivered to another consumer", message.id)
        now = time.monotonic()
        for message in [m for m in messages if now - m.received_at > self.hand_over_s]:
            if message.id not in self._job_ids:
                continue  # its request is not in the store yet
            await in_thread(self.runner.requests.detach, self._job_ids[message.id])
            self._messages.pop(message.id, None)
            await self._try(self.queue.delete, message)

    async def _tend(self) -> None:
        await in_thread(self.runner.cluster.tend)
        await self.runner.job_queue.refresh()

    async def _scan(self) -> None:
        """Deliver pending events, and run detached requests that have not ended."""
        requests = self.runner.requests
        for url in set(await in_thread(requests.pending_events)) - self._pending_events:
            self._pending_events.add(url)
            self.runner.status_dispatcher.resume(object_store(url))
        await self._clear_pending_events()
        for job_id in await in_thread(requests.detached_names):
            accepted = await in_thread(requests.request, job_id)
            if accepted and job_id not in self._requests and not self._stopped.is_set():
                self._start(self._resume(*accepted))

    async def _clear_pending_events(self) -> None:
        """Clear the records of pending events that were delivered."""
        is_idle = self.runner.status_dispatcher.is_idle
        for url in [url for url in self._pending_events if is_idle(object_store(url))]:
            await in_thread(self.runner.requests.clear_pending_events, url)
            self._pending_events.discard(url)

    async def _resume(self, request: ImageRequest, requested_at: float) -> None:
        try:
            await self._run_request(request, requested_at)
        except DaskmrError as error:
            log.warning("job %s is left for later: %s", request.job_id, error)

    async def _repeat(
        self, interval_s: float, task: Task, *, after_error_s: float | None = None
    ) -> None:
        """Run *task* again and again; its errors are logged."""
        name = getattr(task, "__name__", "").strip("_")
        while True:
            pause_s = interval_s
            try:
                await task()
            except (DaskmrError, OSError) as error:
                log.warning("%s: %s", name, error)
                pause_s = after_error_s or interval_s
            except Exception:
                log.exception("%s", name)
            await asyncio.sleep(pause_s)

    async def _try(self, call: OnMessage, message: Message) -> None:
        """Call the queue for a message; after an error, SQS delivers the message again."""
        try:
            await in_thread(call, message)
        except (EndpointError, StoreError) as error:
            log.warning("message %s: %s", message.id, error)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return

    def _start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _rejection(message: Message, error: RequestError) -> StatusEvent:
    """Return the event of a rejected message, with the job id of its body if that is valid."""
    try:
        document = json.loads(message.request)
        name = str(document.get("jobId") or document.get("job_id") or "")
        job_name = document.get("jobName") or document.get("job_name")
    except (ValueError, AttributeError, RecursionError):
        name, job_name = "", None
    return StatusEvent(
        job_id=name if _NAME.fullmatch(name) else f"message-{message.id}",
        job_name=job_name if isinstance(job_name, str) else "",
        status=Status.FAILED,
        message=" ".join(str(error).split()),
        time_ms=time.time_ns() // 1_000_000,
    )
