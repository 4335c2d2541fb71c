"""A model server that fails by plan: which tile meets which fault is read off the tile itself.

The plan maps the mean of a tile's pixels to a fault, so that a test can paint its faults into an
image. Tiles without a fault get a good answer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

from aiohttp import web

from daskmr.models._tiles import read_tile
from daskmr.testing.servers import EMPTY, Served, serving

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""Answers one request badly."""

Plan = Callable[[float], Fault | None]
"""The fault of a tile, by the mean of its pixels."""

_LONG_S = 3600.0


@contextmanager
def faulty(plan: Plan, *, answer: bytes = EMPTY) -> Iterator[Served]:
    """Yield a server on loopback for as long as the block runs.

    Parameters
    ----------
    plan
        What happens to which tile.
    answer
        What the others are answered.
    """

    async def handler(request: web.Request, _number: int) -> web.StreamResponse:
        pixels = await asyncio.to_thread(read_tile, await request.read())
        fault = plan(float(pixels.mean()))
        if fault is None:
            return web.Response(body=answer, content_type="application/json")
        return await fault(request)

    with serving(handler) as server:
        yield server


def status(code: int, body: bytes = b"", *, headers: dict[str, str] | None = None) -> Fault:
    """Return a fault that answers a status, with a body."""

    async def fault(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=code, body=body, headers=headers)

    return fault


def saying(body: bytes, *, content_type: str = "application/json") -> Fault:
    """Return a fault that answers 200 with a body."""

    async def fault(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Type": content_type})

    return fault


def late(seconds: float, body: bytes = EMPTY) -> Fault:
    """Return a fault that gives a good answer after some seconds."""

    async def fault(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return web.Response(body=body, content_type="application/json")

    return fault


def slowloris(seconds: float, body: bytes = EMPTY) -> Fault:
    """Return a fault that sends a good answer byte by byte over some seconds."""

    async def fault(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):  # the client gives up earlier
            for byte in body:
                await response.write(bytes([byte]))
                await asyncio.sleep(seconds / len(body))
        return response

    return fault


def never() -> Fault:
    """Return a fault that never answers and keeps the connection open."""
    return late(_LONG_S)


def reset() -> Fault:
    """Return a fault that aborts the connection without an answer."""

    async def fault(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return fault


def cut_off(body: bytes = EMPTY) -> Fault:
    """Return a fault that sends half of an answer whose length it declared."""

    async def fault(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        assert request.transport is not None
        request.transport.close()
        return response

    return fault


def huge(n_bytes: int) -> Fault:
    """Return a fault that sends an answer of so many bytes as fast as it is read."""

    async def fault(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            for _ in range(n_bytes // 2**20):
                await response.write(b" " * 2**20)
        return response

    return fault
