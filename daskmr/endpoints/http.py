"""A model behind HTTP: POST the tile, read the answer."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from math import inf
from socket import gaierror
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp
from yarl import URL

from daskmr.endpoints._headers import Headers, check_headers
from daskmr.endpoints._status import error_of, retry_after_s
from daskmr.endpoints._url import PORTS, server_url
from daskmr.errors import (
    AuthError,
    BadResponseError,
    RequestError,
    TransientError,
    UnreachableError,
)
from daskmr.registry import plugin

CONNECT_TIMEOUT_S = 5.0
"""Seconds until a connection must stand."""
MAX_RESPONSE_BYTES = 64 * 2**20
"""Most bytes of one answer."""


@plugin
class HttpEndpoint:
    """POST each tile to a URL; TLS is verified, redirects are not followed."""

    url: str
    """``http://`` or ``https://`` URL of the model."""
    headers: Headers = ()
    """Sent with every tile."""
    concurrency: int = 10
    """Calls that the whole cluster may have in flight."""
    timeout_s: float = 70.0
    """Seconds for one call, from connecting to the last byte of the answer."""
    ca_file: str | None = None
    """File of certificate authorities to trust instead of the system's."""

    def __post_init__(self) -> None:
        """Refuse what is no plain URL of a server, and headers and limits that make no sense."""
        server_url(self.url)
        check_headers(self.headers)
        for field, value in (("concurrency", self.concurrency), ("timeout_s", self.timeout_s)):
            if not 0 < value < inf:
                msg = f"{field}: {value!r} is not a number above zero"
                raise RequestError(msg)

    @property
    def name(self) -> str:
        """The URL without its query, which may hold a secret."""
        return urlsplit(self.url)._replace(query="", fragment="").geturl()

    async def invoke(self, payload: bytes, *, content_type: str) -> bytes:
        """One attempt at one tile."""
        headers = {"Content-Type": content_type}
        with self._translated(self.timeout_s):
            async with _session(self).post(
                URL(self.url, encoded=True),
                data=BytesIO(payload),
                headers=headers,
                allow_redirects=False,
            ) as response:
                wait_s = retry_after_s(response.headers.get("Retry-After"))
                error = error_of(response.status, self.name, retry_after_s=wait_s)
                if error is not None:
                    raise error
                return await self._body(response.content)

    async def check(self) -> None:
        """Connect, with TLS where the URL says so, and hang up."""
        parts = urlsplit(self.url)
        context = _tls(self) if parts.scheme == "https" else None
        try:
            with self._translated(CONNECT_TIMEOUT_S):
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    _, writer = await asyncio.open_connection(
                        parts.hostname, parts.port or PORTS[parts.scheme], ssl=context
                    )
        except TransientError as error:
            raise UnreachableError(str(error), reason="CONNECT") from error
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def _body(self, content: aiohttp.StreamReader) -> bytes:
        chunks, size = [], 0
        async for chunk in content.iter_any():
            size += len(chunk)
            if size > MAX_RESPONSE_BYTES:
                msg = f"{self.name}: an answer of more than {MAX_RESPONSE_BYTES:,} bytes"
                raise BadResponseError(msg, reason="TOO_LARGE")
            chunks.append(chunk)
        return b"".join(chunks)

    @contextmanager
    def _translated(self, timeout_s: float) -> Iterator[None]:
        """Errors of the network as errors of the endpoint."""
        try:
            yield
        except aiohttp.ServerTimeoutError as error:
            msg = f"{self.name}: no connection within {CONNECT_TIMEOUT_S:g} s"
            raise TransientError(msg, reason="TIMEOUT") from error
        except TimeoutError as error:
            msg = f"{self.name}: no answer within {timeout_s:g} s"
            raise TransientError(msg, reason="TIMEOUT") from error
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            msg = f"{self.name}: the server's certificate is not trusted: {error}"
            raise AuthError(msg, reason="TLS") from error
        except (aiohttp.ClientConnectorError, ConnectionRefusedError, gaierror) as error:
            msg = f"{self.name}: cannot connect: {error}"
            raise UnreachableError(msg, reason="CONNECT") from error
        except (aiohttp.ClientError, OSError) as error:
            msg = f"{self.name}: the connection broke: {str(error) or type(error).__name__}"
            raise TransientError(msg, reason="RESET") from error


_SESSIONS: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[HttpEndpoint, aiohttp.ClientSession]]"
_SESSIONS = WeakKeyDictionary()


def _session(endpoint: HttpEndpoint) -> aiohttp.ClientSession:
    """The session of an endpoint on the running loop; its caller bounds the calls in flight."""
    sessions = _SESSIONS.setdefault(asyncio.get_running_loop(), {})
    if endpoint not in sessions:
        sessions[endpoint] = aiohttp.ClientSession(
            headers=endpoint.headers,
            connector=aiohttp.TCPConnector(limit=0, ssl=_tls(endpoint)),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=endpoint.timeout_s, sock_connect=CONNECT_TIMEOUT_S),
        )
    return sessions[endpoint]


async def close_sessions() -> None:
    """Close the sessions of the running loop."""
    for session in _SESSIONS.pop(asyncio.get_running_loop(), {}).values():
        await session.close()


def _tls(endpoint: HttpEndpoint) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=endpoint.ca_file)
    except OSError as error:
        msg = f"{endpoint.name}: cannot read certificates from {endpoint.ca_file!r}: {error}"
        raise AuthError(msg, reason="TLS") from error
