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
    """A running server, and the requests that it received."""

    url: str = ""
    """Where it listens."""
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    """Headers and body of every request."""
    widest: int = 0
    """Most requests in flight at once."""
    in_flight: int = 0
    """Requests in flight now."""
    transports: "WeakSet[asyncio.Transport]" = field(default_factory=WeakSet, repr=False)
    """Connections that carried a request, or the begin of one."""


@contextmanager
def serving(handler: Handler, *, tls: ssl.SSLContext | None = None) -> Iterator[Served]:
    """Yield a server on a free port of loopback that ends with the block."""
    server = Served()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_start(handler, server, tls), loop).result(30)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(_stop(runner, server), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


async def _start(handler: Handler, server: Served, tls: ssl.SSLContext | None) -> web.AppRunner:
    async def answer(request: web.Request) -> web.StreamResponse:
        number = len(server.requests)
        if request.transport is not None:
            server.transports.add(request.transport)
        server.requests.append((dict(request.headers), await request.read()))
        server.in_flight += 1
        server.widest = max(server.widest, server.in_flight)
        try:
            return await handler(request, number)
        finally:
            server.in_flight -= 1

    app = web.Application(client_max_size=2**28)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    scheme = "https" if tls else "http"
    server.url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}/invocations"
    return runner


async def _stop(runner: web.AppRunner, server: Served) -> None:
    """End the server, its running handlers and all connections, also those just accepted."""
    accepting = runner.server
    await runner.cleanup()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    late = [each.transport for each in accepting.connections] if accepting else []
    for transport in [*server.transports, *late]:
        if transport is not None:
            transport.abort()
    await asyncio.sleep(0.01)  # closing happens in a turn of the loop after the one that asks


def saying(*answers: bytes | int | tuple[int, dict[str, str]]) -> Handler:
    """Return a handler that gives these answers in order, the last one for ever.

    Bytes are the body of a 200; a number is a status; a pair is a status with headers.
    """

    async def handler(_request: web.Request, number: int) -> web.StreamResponse:
        answer = answers[min(number, len(answers) - 1)]
        if isinstance(answer, bytes):
            return web.Response(body=answer, content_type="application/json")
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        return web.Response(status=status, headers=headers)

    return handler
