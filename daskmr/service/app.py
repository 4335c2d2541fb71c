"""The service, assembled from its options and run until a signal."""

import asyncio
import logging
import os
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from daskmr.configuration import configuration, key
from daskmr.errors import RequestError
from daskmr.lifecycle.notifier import configured_dispatcher
from daskmr.service.cluster_connection import ClusterConnection
from daskmr.service.health import serve_health
from daskmr.service.job_queue import JobQueue
from daskmr.service.listener import HAND_OVER_S, LOOK_AHEAD, Listener
from daskmr.service.policy import RequestPolicy
from daskmr.service.request_runner import RequestRunner
from daskmr.service.request_store import RequestStore
from daskmr.service.scheduler import JobScheduler
from daskmr.service.sqs import RequestQueue
from daskmr.sinks import sink
from daskmr.status import Emf, Meter, Prometheus, StatusDispatcher
from daskmr.store.bucket import BucketStore
from daskmr.store.object_store import object_store

log = logging.getLogger(__name__)
_SHUTDOWN_S = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """Options of the service, named as on the command line."""

    queue: str
    """URL of the SQS queue."""
    store: str
    """Folder or ``s3://`` URL that keeps requests and jobs."""
    dead_letters: str = ""
    """URL of the queue for rejected messages; empty for none."""
    scheduler: str | None = None
    """Address of a Dask scheduler; None starts a local cluster."""
    workers: int | None = None
    """Processes of the local cluster."""
    max_jobs: int = 16
    """Maximal number of images that run at once."""
    per_endpoint: int | None = None
    """Maximal number of images that run at once at one endpoint; None: as many as fit."""
    look_ahead: int = LOOK_AHEAD
    """Maximal number of requests that wait beside those that run."""
    once: bool = False
    """Whether to end when the queue is empty and all requests have ended."""
    visibility_s: int = 180
    """SQS visibility timeout in seconds; it is extended at a third of it."""
    elevation: str | None = None
    """Elevation data, see `daskmr.planning.settings.Settings.elevation`; None: the tiles that Model
    Runner's environment variables name, if they do."""
    geoid: str | None = None
    """Raster of the geoid, for heights above sea level."""
    hand_over_s: float = HAND_OVER_S
    """Seconds after which a message is deleted and the store alone tracks its request."""
    formats: Sequence[str] = ("geojson",)
    """Formats of outputs that are files."""
    policy: RequestPolicy = field(default_factory=RequestPolicy)
    """Names that requests may contain."""
    topic: str = ""
    """ARN of the SNS topic for events of images, beside the channels of the configuration."""
    region_topic: str = ""
    """ARN of the SNS topic for events of regions."""
    health: str = ""
    """``HOST:PORT`` of ``/healthz`` and ``/metrics``; empty for none."""
    emf: bool = False
    """Whether metrics are also written to stdout, for CloudWatch."""


async def listen(options: ServiceOptions) -> None:
    """Run the service until SIGTERM or SIGINT, or until all is done (``once``).

    Raises
    ------
    RequestError
        If an option is wrong.
    StoreError
        If the store does not support conditional writes.
    """
    for name in options.formats:
        sink(name)
    objects = object_store(options.store)
    if isinstance(objects, BucketStore):
        objects.check()
    import dask

    config = {key("status"): _channels(options), key("region_status"): bool(options.region_topic)}
    config |= _elevation_config(options)
    if isinstance(objects, BucketStore):
        config[key("kinesis_spill")] = configuration().kinesis_spill or f"{objects.url}/spilled"
    with dask.config.set(config):
        await _listen(options, objects.url)


async def _listen(options: ServiceOptions, store: str) -> None:
    metrics = _prometheus()
    meter = Meter(tuple(r for r in (metrics, Emf() if options.emf else None) if r is not None))
    cluster = ClusterConnection(scheduler=options.scheduler, workers=options.workers)
    status_dispatcher = configured_dispatcher() or StatusDispatcher([])
    runner = RequestRunner(
        requests=RequestStore(store=store),
        cluster=cluster,
        job_queue=JobQueue(_scheduler(options), meter),
        policy=options.policy,
        status_dispatcher=status_dispatcher,
        meter=meter,
        formats=options.formats,
    )
    listener = Listener(
        queue=RequestQueue(
            url=options.queue,
            dead_letters=options.dead_letters,
            visibility_s=options.visibility_s,
        ),
        runner=runner,
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
                url = await stack.enter_async_context(
                    serve_health(listener, options.health, metrics)
                )
                log.info("health: %s/healthz", url)
            log.info("listening to %s, jobs are kept in %s", options.queue, store)
            await _run(listener)
    finally:
        status_dispatcher.close()
        cluster.close()


async def _run(listener: Listener) -> None:
    """Run a listener; after `Listener.stop`, wait for its jobs for a limited time."""
    running = asyncio.ensure_future(listener.run())
    stopping = asyncio.ensure_future(listener.wait_for_stop())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    done, _ = await asyncio.wait({running}, timeout=_SHUTDOWN_S)
    if not done:
        log.warning("left with jobs that did not end in %g s", _SHUTDOWN_S)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return
    await running


def _channels(options: ServiceOptions) -> dict[str, Any]:
    """Return the channels of the configuration, the log, and the topics of the options."""
    channels: dict[str, Any] = {"log": {}, **configuration().status}
    if options.topic:
        channels["sns"] = {"topic": options.topic, "region_topic": options.region_topic}
    return channels


def _elevation_config(options: ServiceOptions) -> dict[str, str]:
    """Return the settings of elevation; Model Runner's variables name a folder or prefix."""
    folder = os.environ.get("ELEVATION_DATA_LOCATION", "").rstrip("/")
    version = os.environ.get("ELEVATION_DATA_VERSION", "1arc_v3")
    extension = os.environ.get("ELEVATION_DATA_EXTENSION", ".tif")
    tiles = f"{folder}/{{ns}}{{lat}}_{{ew}}{{lon}}_{version}{extension}" if folder else None
    config = {key("elevation"): options.elevation or tiles, key("geoid"): options.geoid}
    return {name: value for name, value in config.items() if value}


def _scheduler(options: ServiceOptions) -> JobScheduler:
    return JobScheduler(
        max_jobs=options.max_jobs,
        per_endpoint=options.per_endpoint,
        target=configuration().capacity_target_percentage,
        workers=configuration().calls_per_region,
    )


def _prometheus() -> Prometheus | None:
    try:
        return Prometheus()
    except RequestError:
        return None
