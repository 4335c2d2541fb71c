"""The service, put together from its options."""

import asyncio
import logging
import os
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from daskmr.errors import RequestError
from daskmr.pipeline.announce import CHANNELS, REGIONS, configured
from daskmr.pipeline.capacity import TARGET
from daskmr.pipeline.output import SPILL
from daskmr.pipeline.plan import ELEVATION, GEOID
from daskmr.service.allowance import Allowance
from daskmr.service.balance import WORKERS, Balance
from daskmr.service.clerk import Clerk
from daskmr.service.crew import Crew
from daskmr.service.health import serving
from daskmr.service.inbox import Inbox
from daskmr.service.ledger import Ledger
from daskmr.service.listener import HAND_OVER_S, LOOK_AHEAD, Listener
from daskmr.service.turns import Turns
from daskmr.sinks import sink
from daskmr.status import Courier, Emf, Meter, Prometheus
from daskmr.store.places import Bucket, place

log = logging.getLogger(__name__)
_LEAVE_S = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the service runs."""

    queue: str
    """URL of the queue."""
    store: str
    """Folder or ``s3://`` URL that keeps requests and jobs."""
    dead_letters: str = ""
    """URL of the queue that gets what is refused; empty for none."""
    scheduler: str | None = None
    """Address of a Dask scheduler; None for a cluster of our own."""
    workers: int | None = None
    """Processes of a cluster of our own."""
    max_jobs: int = 16
    """Most images that run at once."""
    per_endpoint: int | None = None
    """Most images that run at once at one endpoint; None: as many as fit."""
    look_ahead: int = LOOK_AHEAD
    """Requests that may wait beside those that run."""
    once: bool = False
    """Whether to end when the queue is empty and everything has ended."""
    visibility_s: int = 180
    """Seconds for which a message is ours, held on a third of it."""
    elevation: str | None = None
    """Where the ground is, see `daskmr.pipeline.settings.Settings.elevation`; None: the tiles that
    Model Runner's variables name, if they do."""
    geoid: str | None = None
    """Raster of the geoid, for heights above sea level."""
    hand_over_s: float = HAND_OVER_S
    """Seconds after which a message is given up, and the store holds its request alone."""
    formats: Sequence[str] = ("geojson",)
    """Of outputs that are files."""
    allowance: Allowance = field(default_factory=Allowance)
    """What requests may name."""
    topic: str = ""
    """ARN of the SNS topic that is told of images, beside the channels of the configuration."""
    region_topic: str = ""
    """ARN of the SNS topic that is told of regions."""
    health: str = ""
    """``HOST:PORT`` of ``/healthz`` and ``/metrics``; empty for none."""
    emf: bool = False
    """Whether metrics are also written to stdout, for CloudWatch."""


async def listen(options: Options) -> None:
    """Run the service until SIGTERM or SIGINT, or until all is done (``once``).

    Raises
    ------
    RequestError
        When an option is wrong.
    StoreError
        When the store would write a name twice.
    """
    for name in options.formats:
        sink(name)
    where = place(options.store)
    if isinstance(where, Bucket):
        where.check()
    import dask

    told = {CHANNELS: _channels(options), REGIONS: bool(options.region_topic)} | _ground(options)
    if isinstance(where, Bucket):
        told[SPILL] = dask.config.get(SPILL, f"{where.url}/spilled")
    with dask.config.set(told):
        await _listen(options, where.url)


async def _listen(options: Options, store: str) -> None:
    metrics = _prometheus()
    meter = Meter(tuple(r for r in (metrics, Emf() if options.emf else None) if r is not None))
    crew = Crew(scheduler=options.scheduler, workers=options.workers)
    courier = configured() or Courier([])
    clerk = Clerk(
        ledger=Ledger(store=store),
        crew=crew,
        turns=Turns(_balance(options), meter),
        allowance=options.allowance,
        courier=courier,
        meter=meter,
        formats=options.formats,
    )
    listener = Listener(
        inbox=Inbox(
            url=options.queue,
            dead_letters=options.dead_letters,
            visibility_s=options.visibility_s,
        ),
        clerk=clerk,
        once=options.once,
        look_ahead=options.look_ahead,
        hand_over_s=options.hand_over_s,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, listener.stop)
    try:
        async with AsyncExitStack() as stack:
            if options.health:
                url = await stack.enter_async_context(serving(listener, options.health, metrics))
                log.info("health: %s/healthz", url)
            log.info("listening to %s, jobs are kept in %s", options.queue, store)
            await _until_left(listener)
    finally:
        courier.close()
        crew.close()


async def _until_left(listener: Listener) -> None:
    """Run a listener; once it is told to stop, wait no longer than those who ask it to will."""
    running = asyncio.ensure_future(listener.run())
    stopping = asyncio.ensure_future(listener.stopped())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    done, _ = await asyncio.wait({running}, timeout=_LEAVE_S)
    if not done:
        log.warning("left with jobs that did not end in %g s", _LEAVE_S)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return
    await running


def _channels(options: Options) -> dict[str, Any]:
    """The channels of the configuration, the log, and the topics of the options."""
    import dask

    found: dict[str, Any] = {"log": {}, **dask.config.get(CHANNELS, {})}
    if options.topic:
        found["sns"] = {"topic": options.topic, "region_topic": options.region_topic}
    return found


def _ground(options: Options) -> dict[str, str]:
    """Where the ground is, as settings; Model Runner's variables name a folder or prefix."""
    place = os.environ.get("ELEVATION_DATA_LOCATION", "").rstrip("/")
    version = os.environ.get("ELEVATION_DATA_VERSION", "1arc_v3")
    extension = os.environ.get("ELEVATION_DATA_EXTENSION", ".tif")
    tiles = f"{place}/{{ns}}{{lat}}_{{ew}}{{lon}}_{version}{extension}" if place else None
    said = {ELEVATION: options.elevation or tiles, GEOID: options.geoid}
    return {name: value for name, value in said.items() if value}


def _balance(options: Options) -> Balance:
    import dask

    return Balance(
        max_jobs=options.max_jobs,
        per_endpoint=options.per_endpoint,
        target=float(dask.config.get(TARGET, 1.0)),
        workers=int(dask.config.get("daskmr.calls-per-region", WORKERS)),
    )


def _prometheus() -> Prometheus | None:
    try:
        return Prometheus()
    except RequestError:
        return None
