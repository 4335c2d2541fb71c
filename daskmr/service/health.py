"""How the service is: ``/healthz`` for whoever restarts it, ``/metrics`` for Prometheus."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from daskmr.errors import RequestError
from daskmr.service.listener import Listener
from daskmr.status import Prometheus

SILENT_S = 120.0
"""Seconds without an answer of the queue after which the service is not well."""


def state(listener: Listener) -> dict[str, Any]:
    """What is known of the service; ``status`` is ``ok`` or ``degraded``."""
    since = time.monotonic() - listener.heard_at if listener.heard_at else None
    clerk = listener.clerk
    hears = since is not None and since < SILENT_S
    return {
        "status": "ok" if hears else "degraded",
        "queue": "ok" if hears else "silent",
        "secondsSinceQueue": None if since is None else round(since, 1),
        "cluster": "connected" if clerk.crew.is_there else "not connected",
        "requests": listener.n_requests,
        "running": clerk.turns.n_running,
        "waiting": clerk.turns.n_waiting,
        "unsaidEvents": clerk.courier.n_waiting,
    }


@asynccontextmanager
async def serving(
    listener: Listener, address: str, metrics: Prometheus | None
) -> AsyncIterator[str]:
    """Answer at ``HOST:PORT`` while the block runs; its URL.

    Raises
    ------
    RequestError
        When it is no address, or nothing can listen there.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        msg = f"health: {address!r} is not HOST:PORT"
        raise RequestError(msg)

    async def healthz(_request: web.Request) -> web.Response:
        said = state(listener)
        return web.json_response(said, status=200 if said["status"] == "ok" else 503)

    async def of_metrics(_request: web.Request) -> web.Response:
        if metrics is None:
            return web.Response(status=404, text="install daskmr[service]\n")
        return web.Response(body=metrics.text(), headers={"Content-Type": Prometheus.content_type})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/metrics", of_metrics)])
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
