"""Real HTTP servers on loopback whose answers a test writes."""

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from weakref import WeakSet

from aiohttp import web

EMPTY = b'{"type":"FeatureCollection","features":[]}'
"""An answer without features."""

Handler = Callable[[web.Request, int], Awaitable[web.StreamResponse]]
"""Answers the n-th request, counted from 0."""


@dataclass
class Served:
    """A running server, and what it has seen."""

    url: str = ""
    """Where it listens."""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    """Headers and body of every request."""
    widest: int = 0
    """Most requests in flight at once."""
    in_flight: int = 0
    """Requests in flight now."""
    transports: "WeakSet[asyncio.Transport]" = field(default_factory=WeakSet, repr=False)
    """Connections that carried a request."""


@contextmanager
def serving(handler: Handler, *, tls: ssl.SSLContext | None = None) -> Iterator[Served]:
    """A server on a free port of loopback that ends with the block."""
    seen = Served()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_start(handler, seen, tls), loop).result(30)
    try:
        yield seen
    finally:
        asyncio.run_coroutine_threadsafe(_stop(runner, seen), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


async def _start(handler: Handler, seen: Served, tls: ssl.SSLContext | None) -> web.AppRunner:
    async def answer(request: web.Request) -> web.StreamResponse:
        number = len(seen.requests)
        seen.requests.append((dict(request.headers), await request.read()))
        if request.transport is not None:
            seen.transports.add(request.transport)
        seen.in_flight += 1
        seen.widest = max(seen.widest, seen.in_flight)
        try:
            return await handler(request, number)
        finally:
            seen.in_flight -= 1

    app = web.Application(client_max_size=2**28)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    scheme = "https" if tls else "http"
    seen.url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}/invocations"
    return runner


async def _stop(runner: web.AppRunner, seen: Served) -> None:
    """End the server, whoever is still answering, and connections with an answer on the way."""
    await runner.cleanup()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for transport in list(seen.transports):
        transport.abort()
    await asyncio.sleep(0.01)  # closing happens in a turn of the loop after the one that asks


def saying(*answers: bytes | int | tuple[int, dict[str, str]]) -> Handler:
    """Answers in this order, the last one for ever.

    Bytes are the body of a 200; a number is a status; a pair is a status with headers.
    """

    async def handler(_request: web.Request, number: int) -> web.StreamResponse:
        answer = answers[min(number, len(answers) - 1)]
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/json")
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        return web.Response(status=status, headers=headers)

    return handler
