"""Real HTTP servers on loopback whose answers a test writes."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any

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


@contextmanager
def serving(handler: Handler, *, tls: ssl.SSLContext | None = None) -> Iterator[Served]:
    """Yield a server on a free port of loopback that ends with the block."""
    server = Served()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    listener = listening(_application(handler, server), tls=tls)
    base = asyncio.run_coroutine_threadsafe(listener.__aenter__(), loop).result(30)
    server.url = f"{base}/invocations"
    try:
        yield server
    finally:
        ending = listener.__aexit__(None, None, None)
        asyncio.run_coroutine_threadsafe(ending, loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


@asynccontextmanager
async def listening(
    app: web.Application, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Yield the base URL of a server on a free port of loopback.

    It ends with the block, with its running handlers and all connections, also those just accepted.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    loop, make = asyncio.get_running_loop(), runner.server
    connections: list[Any] = []

    def accept() -> asyncio.BaseProtocol:
        connections.append(make() if make else None)
        return connections[-1]  # type: ignore[no-any-return]

    listener = await loop.create_server(accept, "127.0.0.1", 0, ssl=tls)
    port = listener.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        # asyncio forgets an accepted connection whose task begins after the server's end.
        for each in listener.sockets:
            loop.remove_reader(each.fileno())
        while any(map(_is_accepting, asyncio.all_tasks())):
            await asyncio.sleep(0)
        listener.close()
        await runner.cleanup()
        for connection in connections:
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(0.01)  # closing happens in a turn of the loop after the one that asks


def _is_accepting(task: "asyncio.Task[Any]") -> bool:
    """Return whether a task has not begun, as that of a connection just accepted."""
    coroutine: Any = task.get_coro()
    return getcoroutinestate(coroutine) == CORO_CREATED


def _application(handler: Handler, server: Served) -> web.Application:
    async def answer(request: web.Request) -> web.StreamResponse:
        number = len(server.requests)
        server.requests.append((dict(request.headers), await request.read()))
        server.in_flight += 1
        server.widest = max(server.widest, server.in_flight)
        try:
            return await handler(request, number)
        finally:
            server.in_flight -= 1

    app = web.Application(client_max_size=2**28)
    app.router.add_route("*", "/{path:.*}", answer)
    return app


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
