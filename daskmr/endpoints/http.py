"""A model behind HTTP: POST the tile, read the answer."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from daskmr.endpoints._headers import Headers
from daskmr.endpoints._status import error_of, retry_after_s
from daskmr.errors import (
    AuthError,
    BadResponseError,
    RequestError,
    TransientError,
    UnreachableError,
)
from daskmr.registry import plugin

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT_S = 5.0
"""Seconds until a connection must stand."""
MAX_RESPONSE_BYTES = 64 * 2**20
"""Most bytes of one answer."""
_PORTS = {"http": 80, "https": 443}


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
        """Refuse what is no plain URL of a server."""
        parts = urlsplit(self.url)
        if parts.scheme not in _PORTS or not parts.hostname or "\\" in self.url:
            msg = f"model: {self.url!r} is not an http:// or https:// URL of a server"
            raise RequestError(msg)
        if "@" in parts.netloc:
            msg = f"model: the URL of {parts.hostname} must not hold a user name or password"
            raise RequestError(msg)

    @property
    def name(self) -> str:
        """The URL without its query, which may hold a secret."""
        return urlsplit(self.url)._replace(query="", fragment="").geturl()

    async def invoke(self, payload: bytes, *, content_type: str) -> bytes:
        """One attempt at one tile."""
        client = _client(self)
        with self._translated():
            async with (
                asyncio.timeout(self.timeout_s),
                client.stream(
                    "POST", self.url, content=payload, headers={"Content-Type": content_type}
                ) as response,
            ):
                wait_s = retry_after_s(response.headers.get("Retry-After"))
                error = error_of(response.status_code, self.name, retry_after_s=wait_s)
                if error is not None:
                    raise error
                return await self._body(response)

    async def check(self) -> None:
        """Connect, with TLS where the URL says so, and hang up."""
        parts = urlsplit(self.url)
        context = _tls(self) if parts.scheme == "https" else None
        with self._translated():
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, writer = await asyncio.open_connection(
                    parts.hostname, parts.port or _PORTS[parts.scheme], ssl=context
                )
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _body(self, response: "httpx.Response") -> bytes:
        chunks, size = [], 0
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > MAX_RESPONSE_BYTES:
                msg = f"{self.name}: an answer of more than {MAX_RESPONSE_BYTES:,} bytes"
                raise BadResponseError(msg, reason="TOO_LARGE")
            chunks.append(chunk)
        return b"".join(chunks)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Errors of the network as errors of the endpoint."""
        import httpx

        try:
            yield
        except (TimeoutError, httpx.TimeoutException) as error:
            msg = f"{self.name}: no answer within {self.timeout_s:g} s"
            raise TransientError(msg, reason="TIMEOUT") from error
        except (httpx.ConnectError, ConnectionRefusedError, OSError) as error:
            text = str(error) or type(error).__name__
            if isinstance(error, ssl.SSLError) or "CERTIFICATE_VERIFY_FAILED" in text:
                msg = f"{self.name}: the server's certificate is not trusted: {text}"
                raise AuthError(msg, reason="TLS") from error
            if isinstance(error, ConnectionResetError | BrokenPipeError):
                msg = f"{self.name}: {text}"
                raise TransientError(msg, reason="RESET") from error
            msg = f"{self.name}: cannot connect: {text}"
            raise UnreachableError(msg, reason="CONNECT") from error
        except httpx.TransportError as error:
            msg = f"{self.name}: the connection broke: {str(error) or type(error).__name__}"
            raise TransientError(msg, reason="RESET") from error
        except httpx.DecodingError as error:
            msg = f"{self.name}: the answer cannot be decoded: {error}"
            raise BadResponseError(msg, reason="BAD_RESPONSE") from error


_CLIENTS: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[HttpEndpoint, httpx.AsyncClient]]"
_CLIENTS = WeakKeyDictionary()


def _client(endpoint: HttpEndpoint) -> "httpx.AsyncClient":
    """The client of an endpoint on the running loop; its caller bounds the calls in flight."""
    import httpx

    clients = _CLIENTS.setdefault(asyncio.get_running_loop(), {})
    if endpoint not in clients:
        clients[endpoint] = httpx.AsyncClient(
            headers=dict(endpoint.headers),
            verify=_tls(endpoint),
            timeout=httpx.Timeout(endpoint.timeout_s, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            follow_redirects=False,
            trust_env=False,
        )
    return clients[endpoint]


async def close_clients() -> None:
    """Close the clients of the running loop."""
    for client in _CLIENTS.pop(asyncio.get_running_loop(), {}).values():
        await client.aclose()


def _tls(endpoint: HttpEndpoint) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=endpoint.ca_file)
