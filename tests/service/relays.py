"""Servers that can be away: relays in front of real ones, and an AWS that knows expired keys."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from yarl import URL

from daskmr.testing.servers import Served, serving

EXPIRED_KEY = "expired"
"""Key id that `checking_keys` refuses."""
_ERRORS = {
    "s3": "<Error><Code>{code}</Code><Message>the token is no longer valid</Message></Error>",
    "sts": "<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>",
}


@dataclass
class Relay:
    """A port of loopback that leads to a server while it is open, and refuses otherwise."""

    host: str
    target: int
    port: int
    _loop: asyncio.AbstractEventLoop
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def open(self) -> None:
        """Accept connections from now on."""
        self._run(self._open())

    def close(self) -> None:
        """Refuse connections from now on, and break those that there are."""
        self._run(self._close())

    def _run(self, call: Any) -> None:
        future: Future[None] = asyncio.run_coroutine_threadsafe(call, self._loop)
        future.result(30)

    async def _open(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._connect, self.host, self.port)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(self.host, self.target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._writers |= pair
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        self._writers -= pair


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while content := await reader.read(2**16):
            writer.write(content)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@contextmanager
def relay(url: str, port: int, *, is_open: bool = False) -> Iterator[Relay]:
    """Yield a relay at *port* to the server of a URL."""
    parts = urlsplit(url)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    made = Relay(parts.hostname or "", parts.port or 80, port, loop)
    if is_open:
        made.open()
    try:
        yield made
    finally:
        made.close()
        asyncio.run_coroutine_threadsafe(_settle(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


async def _settle() -> None:
    """End what still copies."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextmanager
def checking_keys(
    url: str, *, code: str = "ExpiredToken", key: str = EXPIRED_KEY
) -> Iterator[Served]:
    """Yield a server in front of AWS that refuses the requests of one key with an error code."""

    async def check(request: web.Request, _number: int) -> web.StreamResponse:
        authorization = request.headers.get("Authorization", "")
        if f"Credential={key}/" in authorization:
            service = authorization.partition("Credential=")[2].split("/")[3]
            status = 400 if service == "s3" else 403
            if service in _ERRORS:
                text = _ERRORS[service].format(code=code)
                return web.Response(status=status, text=text, content_type="application/xml")
            error = {"__type": code, "message": "the token is no longer valid"}
            return web.json_response(error, status=status)
        return await _forwarded(request, url)

    with serving(check) as server:
        server.url = server.url.removesuffix("/invocations")
        yield server


@contextmanager
def one_address(aws_url: str, runtime_url: str) -> Iterator[Served]:
    """Yield a server in front of AWS and of SageMaker's runtime: one address for both."""

    async def route(request: web.Request, _number: int) -> web.StreamResponse:
        return await _forwarded(request, runtime_url if _is_invocation(request.path) else aws_url)

    with serving(route) as server:
        server.url = server.url.removesuffix("/invocations")
        yield server


def _is_invocation(path: str) -> bool:
    return path.startswith("/endpoints/") and path.endswith("/invocations")


async def _forwarded(request: web.Request, url: str) -> web.Response:
    """Return the answer of another server to a request."""
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.request(
            request.method,
            URL(f"{url}{request.raw_path}", encoded=True),
            data=await request.read(),
            headers={k: v for k, v in request.headers.items() if k.lower() != "host"},
            allow_redirects=False,
        ) as answer,
    ):
        kept = {
            k: v
            for k, v in answer.headers.items()
            if k.lower() not in {"transfer-encoding", "connection"}
        }
        return web.Response(status=answer.status, body=await answer.read(), headers=kept)
