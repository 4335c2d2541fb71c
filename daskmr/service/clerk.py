"""One request from its acceptance to its end: every image planned, run in its turn, and told of.

What can be tried again is, with growing pauses; what belongs to the deployment (the store, the
cluster) is waited for without end, since it is no fault of the request.
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

from daskmr.core.events import Status, StatusEvent
from daskmr.core.report import JobReport
from daskmr.core.request import ImageRequest
from daskmr.endpoints import PATIENCE_S
from daskmr.errors import (
    BusyError,
    CanceledError,
    ClusterError,
    DaskmrError,
    HandedBackError,
    ImageError,
    JobError,
    RequestError,
    StoreError,
    UnreachableError,
)
from daskmr.pipeline.execution import Execution
from daskmr.service.allowance import Allowance
from daskmr.service.crew import Crew
from daskmr.service.ledger import Ledger
from daskmr.service.threads import in_thread
from daskmr.service.turns import Turns
from daskmr.service.work import Work, planned
from daskmr.status import Courier, Meter, Metric, Operation
from daskmr.store import JobFolder
from daskmr.store.lease import EXPIRES_S, NAME, is_gone

log = logging.getLogger(__name__)
_OF_OTHERS = (StoreError, ClusterError, UnreachableError)
"""Errors that are no fault of a request, and that others mend."""
_PLANS_AT_ONCE = 4
_OPENINGS = 3
"""How often an image is tried that cannot be opened."""
_DELIVERIES = 3
"""How often results are written that some place did not take."""
_MOST_REST_S = 60.0
_LOOK_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a request, or one of its images, ended."""

    status: Status
    """SUCCESS, PARTIAL, FAILED or CANCELED."""
    why: str = ""
    """Why it failed."""
    is_refused: bool = False
    """Whether it never ran, so that its message goes where refused ones go."""

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "Ending":
        """The end that the ledger tells of."""
        return cls(
            status=Status(said["status"]), why=said["why"], is_refused=said.get("refused", False)
        )


@dataclass
class _Tries:
    """How often one image was tried by this process."""

    n_rests: int = 0
    _n_deliveries: int = 0
    _away_since: float | None = None

    def delivered(self, report: JobReport) -> Ending | None:
        """The end, unless some place has not taken the results and is to be tried again."""
        self._n_deliveries += 1
        undone = [delivery.to for delivery in report.deliveries if not delivery.is_done]
        if undone and self._n_deliveries < _DELIVERIES:
            return None
        why = f"not delivered to {', '.join(undone)}" if undone else ""
        return Ending(status=Status(str(report.status)), why=why)

    def ending_of(self, error: Exception, *, is_planned: bool) -> Ending | None:
        """The end that an error means; None when there is to be another attempt."""
        if isinstance(error, CanceledError):
            return Ending(status=Status.CANCELED, why=str(error))
        if isinstance(error, RequestError | ImageError | JobError):
            return Ending(status=Status.FAILED, why=_told(error), is_refused=not is_planned)
        if isinstance(error, UnreachableError):
            now = time.monotonic()
            self._away_since = self._away_since or now
            if now - self._away_since > PATIENCE_S:
                return Ending(status=Status.FAILED, why=_told(error))
        log.warning("a job has to wait: %s", _told(error))
        return None


@dataclass(kw_only=True)
class Clerk:
    """Serves requests; lives on one event loop."""

    ledger: Ledger
    """Where requests are kept, and their jobs."""
    crew: Crew
    """The cluster."""
    turns: Turns
    """Whose turn it is."""
    allowance: Allowance
    """What requests may name."""
    courier: Courier
    """Says how jobs come along."""
    meter: Meter
    """Told what things took."""
    formats: Sequence[str] = ("geojson",)
    """Of outputs that are files."""
    rest_s: float = 2.0
    """Seconds before something is tried again, doubled each time."""
    owner: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    """Who we are, in the ledger."""
    _is_leaving: bool = False
    _planning: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_PLANS_AT_ONCE))

    def leave(self) -> None:
        """Let all jobs go, for other processes to go on with."""
        self._is_leaving = True

    async def serve(self, request: ImageRequest, asked_at: float) -> Ending:
        """Run a request that was accepted to its end.

        Raises
        ------
        HandedBackError
            When this process is leaving.
        """
        job_id = request.job_id
        attempts = await self._kept(self.ledger.begin, job_id, self.owner)
        if attempts.are_too_many:
            why = attempts.why or f"{attempts.deaths} processes ended while they were at it"
            return await self._end(request, [Ending(status=Status.FAILED, why=why)])
        images = [
            self._image(request, number, asked_at=asked_at)
            for number in range(len(request.image_urls))
        ]
        found = await asyncio.gather(*images, return_exceptions=True)
        errors = [error for error in found if isinstance(error, BaseException)]
        if errors:
            if all(isinstance(error, HandedBackError) for error in errors):
                await in_thread(self.ledger.leave, job_id, self.owner)
            raise errors[0]
        return await self._end(request, [one for one in found if isinstance(one, Ending)])

    async def _end(self, request: ImageRequest, endings: Sequence[Ending]) -> Ending:
        """Keep how a request ended, and tell of it."""
        statuses = {ending.status for ending in endings}
        status = next(iter(statuses)) if len(statuses) == 1 else Status.PARTIAL
        why = "; ".join(ending.why for ending in endings if ending.why)
        ending = Ending(
            status=status, why=why, is_refused=all(ending.is_refused for ending in endings)
        )
        for name, url, one in zip(request.job_ids, request.image_urls, endings, strict=False):
            if one.status in {Status.FAILED, Status.CANCELED}:
                self._say(name, url, request=request, ending=one)
        images = [{"status": str(one.status), "why": one.why} for one in endings]
        said = {"status": str(status), "why": why, "refused": ending.is_refused, "images": images}
        await self._kept(self.ledger.end, request.job_id, said)
        return ending

    def _say(self, job_id: str, url: str, *, request: ImageRequest, ending: Ending) -> None:
        """Tell of an end that the job itself may not have lived to tell of."""
        self.courier.post(
            JobFolder.at(self.ledger.store, job_id).place,
            StatusEvent(
                job_id=job_id,
                status=ending.status,
                message=ending.why,
                time_ms=time.time_ns() // 1_000_000,
                image_url=url,
                model_name=request.image_processor.name,
            ),
        )

    async def _image(self, request: ImageRequest, number: int, *, asked_at: float) -> Ending:
        """Plan an image and run it until it has ended."""
        job_id, tries = request.job_ids[number], _Tries()
        work: Work | None = None
        while True:
            self._check()
            try:
                work = work or await self._planned(request, number, asked_at=asked_at)
                ending = tries.delivered(await self._run(work))
            except BusyError:
                await self._until_free(job_id)
                continue
            except (HandedBackError, asyncio.CancelledError):
                raise
            except Exception as error:  # noqa: BLE001 - each is told apart there
                ending = tries.ending_of(error, is_planned=work is not None)
                if ending is None and not isinstance(error, _OF_OTHERS):
                    ending = await self._failed(request, number, error)
            if ending is not None:
                return ending
            tries.n_rests += 1
            await self._rest(tries.n_rests)

    async def _failed(self, request: ImageRequest, number: int, error: Exception) -> Ending | None:
        """Count an attempt that failed; the end, when there is no sense in another."""
        log.warning(
            "job %s: an attempt failed", request.job_ids[number], exc_info=error,
            extra={"daskmr": {"job_id": request.job_ids[number]}},
        )  # fmt: skip
        attempts = await self._kept(self.ledger.fail, request.job_id, self.owner, _told(error))
        return Ending(status=Status.FAILED, why=attempts.why) if attempts.are_too_many else None

    async def _planned(self, request: ImageRequest, number: int, *, asked_at: float) -> Work:
        """The plan of an image; one that cannot be opened is tried again a little later."""
        for n_left in reversed(range(_OPENINGS)):
            self._check()
            try:
                async with self._planning:
                    return await in_thread(
                        planned,
                        request,
                        number,
                        asked_at=asked_at,
                        allowance=self.allowance,
                        formats=self.formats,
                    )
            except ImageError:
                self.meter.record(
                    Operation.SCHEDULING,
                    {Metric.ERRORS: 1.0},
                    model_name=request.image_processor.name,
                )
                if not n_left:
                    raise
                await self._rest(_OPENINGS - n_left)
        raise AssertionError  # pragma: no cover

    async def _run(self, work: Work) -> JobReport:
        """Run an image when it is its turn."""
        loop = asyncio.get_running_loop()

        def left(n_regions: int, n_tiles: int) -> None:
            if not loop.is_closed():
                progressed = partial(self.turns.progressed, n_regions=n_regions, n_tiles=n_tiles)
                loop.call_soon_threadsafe(progressed, work.job_id)

        def run() -> JobReport:
            return work.run(
                Execution(
                    outputs=work.outputs,
                    cluster={"client": self.crew.client()},
                    on_progress=work.told(left),
                    store=self.ledger.store,
                    load=False,
                    priority=_priority(work),
                    slots=partial(self.turns.share, work.job_id),
                    let_go=lambda: self._is_leaving,
                    courier=self.courier,
                    meter=self.meter,
                )
            )

        turn = asyncio.ensure_future(self._in_turn(work, run))
        while not turn.done():
            await asyncio.wait({turn}, timeout=_LOOK_S / 4)
            if self._is_leaving and work.job_id in self.turns.balance.waiting:
                turn.cancel()
                self._check()
        return await turn

    async def _in_turn(self, work: Work, run: Any) -> JobReport:
        async with self.turns.of(work):
            report: JobReport = await in_thread(run)
            return report

    async def _until_free(self, job_id: str) -> None:
        """Wait while somebody else runs a job."""
        folder = JobFolder.at(self.ledger.store, job_id).place
        seen, since = b"", time.monotonic()
        while True:
            self._check()
            now = await self._kept(folder.read, NAME) or b"{}"
            held = json.loads(now)
            if now != seen:
                seen, since = now, time.monotonic()
            if held.get("released") or is_gone(held) or time.monotonic() - since > EXPIRES_S:
                return
            await asyncio.sleep(_LOOK_S)

    async def _kept(self, act: Any, *args: Any) -> Any:
        """Do something with the store, however long it is away."""
        rests = 0
        while True:
            try:
                return await in_thread(act, *args)
            except StoreError as error:
                log.warning("the store has to be waited for: %s", error)
                rests += 1
                await self._rest(rests)

    async def _rest(self, number: int) -> None:
        end = time.monotonic() + min(_MOST_REST_S, self.rest_s * 2.0 ** (number - 1))
        while time.monotonic() < end:
            self._check()
            await asyncio.sleep(min(0.2, self.rest_s))

    def _check(self) -> None:
        if self._is_leaving:
            msg = "this process is leaving"
            raise HandedBackError(msg)


def _priority(work: Work) -> int:
    """Of a job's regions on the cluster: small jobs first, among requests of one priority."""
    return 1000 * work.entry.priority - work.entry.n_tiles.bit_length()


def _told(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, DaskmrError) else f"{type(error).__name__}: {text}"
