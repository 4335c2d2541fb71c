"""The service: messages become requests, requests become jobs, and nothing is lost on the way.

A message is deleted only once its request has ended, or is safe in the store without it. Whatever
else happens it comes back: to this process or to another, which finds in the store how far it came.
"""

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

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
from daskmr.service.clerk import Clerk, Ending
from daskmr.service.inbox import Inbox, Message
from daskmr.service.threads import in_thread
from daskmr.status import Shelf
from daskmr.store import JobFolder
from daskmr.store.places import place

log = logging.getLogger(__name__)
LOOK_AHEAD = 50
"""Requests that may wait beside those that run."""
HAND_OVER_S = 11 * 3600.0
"""Seconds after which a message is given up, an hour before the queue would take it away."""
_POLL_S = 10
_TEND_S = 5.0
_SCAN_S = 60.0
_SAY_S = 5.0
_MOST_REST_S = 60.0
Act = Callable[[], Awaitable[None]]
OnMessage = Callable[[Message], None]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(kw_only=True)
class Listener:
    """Takes messages from a queue until it is told to stop; lives on one event loop."""

    inbox: Inbox
    """The queue."""
    clerk: Clerk
    """Serves requests."""
    once: bool = False
    """Whether to end when the queue is empty and everything has ended."""
    look_ahead: int = LOOK_AHEAD
    """Requests that may wait beside those that run."""
    hand_over_s: float = HAND_OVER_S
    """Seconds after which a message is given up."""
    heard_at: float = 0.0
    """When the queue last answered, on a clock that never goes back; 0 for never."""
    _held: dict[str, Message] = field(default_factory=dict)
    _served: "dict[str, asyncio.Future[Ending]]" = field(default_factory=dict)
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set)
    _owed: set[str] = field(default_factory=set)
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Take no more messages, and let all jobs go."""
        self._stopped.set()
        self.clerk.leave()

    async def stopped(self) -> None:
        """Wait until it was told to stop."""
        await self._stopped.wait()

    async def run(self) -> None:
        """Listen until `stop`, or until all is done (`once`)."""
        beside = [
            asyncio.ensure_future(self._every(self.inbox.visibility_s / 3, self._hold)),
            asyncio.ensure_future(self._every(_TEND_S, self._tend)),
            asyncio.ensure_future(self._every(_SCAN_S, self._scan)),
        ]
        try:
            await self._listen()
            await asyncio.gather(*self._tasks)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await in_thread(self.clerk.courier.drain, _SAY_S)
            await self._settle()

    @property
    def n_requests(self) -> int:
        """Requests that have not ended."""
        return len(self._served)

    # -- messages ---------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Take messages as long as there is room for their requests."""
        rests = 0
        while not self._stopped.is_set():
            room = self.look_ahead + self.clerk.turns.balance.max_jobs - len(self._tasks)
            if room <= 0:
                await asyncio.sleep(0.1)
                continue
            wait_s = 1 if self.once else _POLL_S
            try:
                messages = await in_thread(self.inbox.receive, room, wait_s)
            except EndpointError as error:
                log.warning("the queue does not answer: %s", error)
                rests += 1
                await self._rest(min(_MOST_REST_S, 0.5 * 2.0**rests))
                continue
            rests, self.heard_at = 0, time.monotonic()
            for message in messages:
                self._held[message.id] = message
                self._begin(self._attend(message))
            if self.once and not messages and not self._tasks:
                return

    async def _attend(self, message: Message) -> None:
        """Deal with one message, whatever it is; no other ever feels it."""
        try:
            await self._dealt_with(message)
        except HandedBackError:
            await self._tried(self.inbox.release, message)
        except DaskmrError as error:
            log.warning("message %s comes back: %s", message.id, error)
        except Exception:
            log.exception("message %s comes back", message.id)
        finally:
            self._held.pop(message.id, None)

    async def _dealt_with(self, message: Message) -> None:
        try:
            request = ImageRequest.from_json(message.body)
            self.clerk.allowance.check(request)
            await in_thread(self.clerk.ledger.accept, request, asked_at=message.sent_at)
        except RequestError as error:
            await self._refuse(message, error)
            return
        for warning in request.warnings:
            log.info("job %s: %s", request.job_id, warning)
        ending = await self._ending(request, message.sent_at)
        if message.id not in self._held:
            return  # given up long ago: the store has the request
        if ending.is_refused:
            await self._bury(message, ending.why)
        await self._heard_by_all(JobFolder.at(self.clerk.ledger.store, request.job_ids[0]).place)
        await self._tried(self.inbox.delete, message)

    async def _ending(self, request: ImageRequest, asked_at: float) -> Ending:
        """How a request ends; at once when it has ended before."""
        job_id = request.job_id
        if job_id not in self._served:
            over = await in_thread(self.clerk.ledger.ended, job_id)
            if over is not None:
                for name in request.job_ids:
                    self.clerk.courier.resume(JobFolder.at(self.clerk.ledger.store, name).place)
                return Ending.of(over)
        if job_id not in self._served:
            served = asyncio.ensure_future(self.clerk.serve(request, asked_at))
            self._served[job_id] = served
            served.add_done_callback(lambda _: self._served.pop(job_id, None))
        return await asyncio.shield(self._served[job_id])

    async def _refuse(self, message: Message, error: RequestError) -> None:
        """A message that will never become a job: keep it, say why, and take it off the queue."""
        log.warning("message %s is refused: %s", message.id, " ".join(str(error).split()))
        shelf = await in_thread(self.clerk.ledger.refuse, message.body)
        if not isinstance(error, ConflictError):  # nothing bad is said of a job that has the name
            self.clerk.courier.post(shelf, _refusal(message, error))
        await self._bury(message, str(error))
        await self._heard_by_all(shelf)
        await self._tried(self.inbox.delete, message)

    async def _bury(self, message: Message, why: str) -> None:
        if self.inbox.dead_letters:
            await in_thread(self.inbox.bury, message, why)

    async def _heard_by_all(self, shelf: Shelf) -> None:
        """Wait a little until events were said; what is not is kept, and said later."""
        end = time.monotonic() + _SAY_S
        while not self.clerk.courier.has_said(shelf) and time.monotonic() < end:
            await asyncio.sleep(0.02)
        if not self.clerk.courier.has_said(shelf):
            await in_thread(self.clerk.ledger.owe, shelf.url)
            self._owed.add(shelf.url)

    # -- beside them ------------------------------------------------------------------------------

    async def _hold(self) -> None:
        """Keep the messages of requests that have not ended; give those up that are too old."""
        now = time.monotonic()
        old = [m for m in self._held.values() if now - m.received_at > self.hand_over_s]
        for message in old:
            job_id = json.loads(message.body)["jobId"]
            await in_thread(self.clerk.ledger.hand_over, job_id)
            del self._held[message.id]
            await self._tried(self.inbox.delete, message)
        for message in await in_thread(self.inbox.hold, list(self._held.values())):
            log.warning("message %s is with somebody else by now", message.id)

    async def _tend(self) -> None:
        await in_thread(self.clerk.crew.tend)
        await self.clerk.turns.refresh()

    async def _scan(self) -> None:
        """Go on with requests whose message was given up and that nobody runs."""
        ledger = self.clerk.ledger
        for url in set(await in_thread(ledger.owed)) - self._owed:
            self._owed.add(url)
            self.clerk.courier.resume(place(url))
        await self._settle()
        for job_id in await in_thread(ledger.handed):
            found = await in_thread(ledger.request, job_id)
            if found is not None and job_id not in self._served and not self._stopped.is_set():
                self._begin(self._resumed(*found))

    async def _settle(self) -> None:
        """Forget events that were said late."""
        for url in [url for url in self._owed if self.clerk.courier.has_said(place(url))]:
            await in_thread(self.clerk.ledger.settle, url)
            self._owed.discard(url)

    async def _resumed(self, request: ImageRequest, asked_at: float) -> None:
        try:
            await self._ending(request, asked_at)
        except DaskmrError as error:
            log.warning("job %s is left for later: %s", request.job_id, error)

    async def _every(self, seconds: float, act: Act) -> None:
        """Do something again and again, whether it succeeds or not."""
        while True:
            try:
                await act()
            except (DaskmrError, OSError) as error:
                log.warning("%s: %s", getattr(act, "__name__", "").strip("_"), error)
            except Exception:
                log.exception("%s", getattr(act, "__name__", "").strip("_"))
            await asyncio.sleep(seconds)

    async def _tried(self, act: OnMessage, message: Message) -> None:
        """Tell the queue something of a message, which comes back when that is not heard."""
        try:
            await in_thread(act, message)
        except (EndpointError, StoreError) as error:
            log.warning("message %s: %s", message.id, error)

    async def _rest(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _refusal(message: Message, error: RequestError) -> StatusEvent:
    """What is said of a message that is no request; its own name for the job, where it has one."""
    try:
        said = json.loads(message.body)
        name = str(said.get("jobId") or said.get("job_id") or "")
    except (ValueError, AttributeError, RecursionError):
        name = ""
    return StatusEvent(
        job_id=name if _NAME.fullmatch(name) else f"message-{message.id}",
        status=Status.FAILED,
        message=" ".join(str(error).split()),
        time_ms=time.time_ns() // 1_000_000,
    )
