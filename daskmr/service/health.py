"""The service's HTTP health page: ``/healthz`` for orchestrators, ``/metrics`` for Prometheus."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from daskmr.errors import RequestError
from daskmr.service.listener import Listener
from daskmr.status import Prometheus

SILENT_S = 120.0
"""Seconds without an answer of the queue after which the service is degraded."""


def state(listener: Listener) -> dict[str, Any]:
    """Return the state of the service as JSON values; ``status`` is ``ok`` or ``degraded``."""
    since = time.monotonic() - listener.polled_at if listener.polled_at else None
    runner = listener.runner
    is_polling = since is not None and since < SILENT_S
    return {
        "status": "ok" if is_polling else "degraded",
        "queue": "ok" if is_polling else "silent",
        "secondsSinceQueue": None if since is None else round(since, 1),
        "cluster": "connected" if runner.cluster.is_connected else "not connected",
        "requests": listener.n_requests,
        "running": runner.job_queue.n_running,
        "waiting": runner.job_queue.n_waiting,
        "unsaidEvents": runner.status_dispatcher.n_waiting,
    }


@asynccontextmanager
async def serve_health(
    listener: Listener, address: str, metrics: Prometheus | None
) -> AsyncIterator[str]:
    """Serve the health page while the block runs; yield its URL.

    Parameters
    ----------
    listener
        Listener to report on.
    address
        ``HOST:PORT`` to listen at.
    metrics
        Metrics of ``/metrics``; None answers 404 there.

    Raises
    ------
    RequestError
        If *address* is malformed or cannot be bound.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        msg = f"health: {address!r} is not HOST:PORT"
        raise RequestError(msg)

    async def get_health(_request: web.Request) -> web.Response:
        document = state(listener)
        return web.json_response(document, status=200 if document["status"] == "ok" else 503)

    async def get_metrics(_request: web.Request) -> web.Response:
        if metrics is None:
            return web.Response(status=404, text="install daskmr[service]\n")
        return web.Response(body=metrics.text(), headers={"Content-Type": Prometheus.content_type})

    app = web.Application()
    app.add_routes([web.get("/healthz", get_health), web.get("/metrics", get_metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host or "127.0.0.1", int(port))
    try:
        await site.start()
        yield f"http://{':'.join(map(str, runner.addresses[0][:2]))}"
    except OSError as error:
        msg = f"health: {address!r}: {error}"
        raise RequestError(msg) from error
    finally:
        await runner.cleanup()
