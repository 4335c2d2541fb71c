"""A model endpoint in a process of its own, whose latency, capacity and health can be changed."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

EMPTY = b'{"type":"FeatureCollection","features":[]}'
"""An answer without features."""


@dataclass
class ModelServer:
    """A running server."""

    url: str
    """Where tiles are posted."""
    latency_s: Any
    """Shared float: seconds for one answer."""
    capacity: Any
    """Shared int: calls in flight; more are answered 429."""
    status: Any
    """Shared int: status of every answer at once; 0 for normal work."""
    slow_s: Any
    """Shared float: seconds for every tenth answer, and every hundredth never comes; 0: none."""
    n_requests: Any
    """Shared int: requests so far."""
    n_answered: Any
    """Shared int: answered with 200 so far."""


@contextmanager
def model_server(
    *, latency_s: float = 0.0, capacity: int = 10_000, is_serial: bool = False
) -> Iterator[ModelServer]:
    """Yield a server on loopback for as long as the block runs.

    One that is serial works on one call at a time, and lets the others wait in line.
    """
    context = multiprocessing.get_context("spawn")
    port = context.Queue()
    made = ModelServer(
        url="",
        latency_s=context.Value("d", latency_s),
        capacity=context.Value("i", capacity),
        status=context.Value("i", 0),
        slow_s=context.Value("d", 0.0),
        n_requests=context.Value("i", 0),
        n_answered=context.Value("i", 0),
    )
    process = context.Process(target=_serve, args=(made, port, is_serial), daemon=True)
    process.start()
    try:
        made.url = f"http://127.0.0.1:{port.get(timeout=60)}/"
        yield made
    finally:
        process.terminate()
        process.join()


def _serve(server: ModelServer, port: Any, is_serial: bool) -> None:  # noqa: FBT001
    import asyncio

    from aiohttp import web

    in_flight, line = 0, asyncio.Semaphore(1 if is_serial else 10**6)

    async def answer(request: web.Request) -> web.Response:
        nonlocal in_flight
        async for _ in request.content.iter_chunked(2**20):
            pass
        server.n_requests.value += 1
        if server.status.value:
            return web.Response(status=server.status.value)
        if in_flight >= server.capacity.value:
            return web.Response(status=429)
        in_flight += 1
        try:
            async with line:
                await asyncio.sleep(_seconds())
        finally:
            in_flight -= 1
        server.n_answered.value += 1
        return web.Response(body=EMPTY, content_type="application/json")

    def _seconds() -> float:
        number, slow_s = server.n_requests.value, server.slow_s.value
        if slow_s and number % 100 == 0:
            return 3600.0
        usual: float = server.latency_s.value
        return slow_s if slow_s and number % 10 == 0 else usual

    async def main() -> None:
        app = web.Application(client_max_size=2**28)
        app.router.add_post("/", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port.put(runner.addresses[0][1])
        await asyncio.sleep(36_000)

    asyncio.run(main())
