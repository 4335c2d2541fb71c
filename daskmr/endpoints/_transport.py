"""HTTP transport: sessions, time limits, size limits, and network errors as EndpointErrors."""

import asyncio
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from socket import gaierror
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp
from yarl import URL

from daskmr.core.wire import Answer
from daskmr.endpoints._url import PORTS, is_public
from daskmr.errors import (
    AuthError,
    BadResponseError,
    PermanentError,
    SilentError,
    TransientError,
    UnreachableError,
)

CONNECT_TIMEOUT_S = 5.0
"""Seconds to establish a connection."""
TIMEOUT_S = 70.0
"""Default seconds for one call: SageMaker's 60 for the model and a margin."""
MAX_RESPONSE_BYTES = 64 * 2**20
"""Maximum bytes of one answer."""
_MAX_ERROR_BYTES = 16 * 2**10
_OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """Settings of a connection to a server; equal transports share a session."""

    name: str
    """Name of the endpoint in messages; never holds a secret."""
    timeout_s: float = TIMEOUT_S
    """Seconds for one call, from connecting to the last byte of the answer."""
    ca_file: str | None = None
    """File of certificate authorities to trust instead of the system's."""
    public_only: bool = False
    """True to refuse addresses of private networks, of this machine and of its cloud."""

    async def post(self, url: str, payload: bytes, headers: Mapping[str, str]) -> "Response":
        """POST and read the response, whatever its status; redirects are not followed.

        Raises
        ------
        EndpointError
            When there is no response, or one that is too large.
        """
        with translate_errors(self.name, self.timeout_s):
            async with _session(self).post(
                URL(url, encoded=True), data=BytesIO(payload), headers=headers,
                allow_redirects=False,
            ) as response:  # fmt: skip
                body = await self._body(response)
                return Response(response.status, response.headers, body)

    async def connect(self, url: str) -> None:
        """Open and close a connection, with TLS for https."""
        parts = urlsplit(url)
        context = _tls(self) if parts.scheme == "https" else None
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
        try:
            with translate_errors(self.name, CONNECT_TIMEOUT_S):
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    if self.public_only:
                        await PublicResolver().resolve(host, port)
                    _, writer = await asyncio.open_connection(host, port, ssl=context)
        except TransientError as error:
            raise UnreachableError(str(error), reason="CONNECT") from error
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def close(self) -> None:
        """Close the session of the running loop, if there is one."""
        session = _SESSIONS.get(asyncio.get_running_loop(), {}).pop(self, None)
        if session is not None:
            await session.close()

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        is_error = response.status != _OK
        most = _MAX_ERROR_BYTES if is_error else MAX_RESPONSE_BYTES
        chunks, size = [], 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            chunks.append(chunk)
            if size > most and is_error:
                response.close()  # the beginning of an error's text is enough
                break
            if size > most:
                msg = f"{self.name}: an answer of more than {most:,} bytes"
                raise BadResponseError(msg, reason="TOO_LARGE")
        return b"".join(chunks)


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response."""

    status: int
    """HTTP status."""
    headers: Mapping[str, str]
    """Headers; names are case-insensitive."""
    body: bytes
    """Body; of an error at least the beginning."""

    @property
    def answer(self) -> Answer:
        """The answer to a tile; KServe's length of the JSON is a parameter of its media type."""
        content_type = self.headers.get("Content-Type", "")
        length = self.headers.get("Inference-Header-Content-Length", "")
        if length.isdecimal() and "json-header-size" not in content_type:
            content_type = f"{content_type};json-header-size={length}"
        return Answer(self.body, content_type)


@contextmanager
def translate_errors(name: str, timeout_s: float) -> Iterator[None]:
    """Raise errors of the network as EndpointErrors that name the endpoint."""
    try:
        yield
    except aiohttp.ServerTimeoutError as error:
        msg = f"{name}: no connection within {CONNECT_TIMEOUT_S:g} s"
        raise UnreachableError(msg, reason="CONNECT_TIMEOUT") from error
    except TimeoutError as error:
        msg = f"{name}: no answer within {timeout_s:g} s"
        raise SilentError(msg, reason="TIMEOUT") from error
    except (aiohttp.ClientSSLError, ssl.SSLError) as error:
        msg = f"{name}: the server's certificate is not trusted: {error}"
        raise AuthError(msg, reason="TLS") from error
    except (aiohttp.ClientConnectorError, ConnectionRefusedError, gaierror) as error:
        msg = f"{name}: cannot connect: {error}"
        raise UnreachableError(msg, reason="CONNECT") from error
    except (aiohttp.ContentTypeError, aiohttp.ClientPayloadError) as error:
        msg = f"{name}: the answer broke off or cannot be unpacked: {error}"
        raise TransientError(msg, reason="RESET") from error
    except (aiohttp.ClientError, OSError) as error:
        msg = f"{name}: the connection broke: {str(error) or type(error).__name__}"
        raise TransientError(msg, reason="RESET") from error


class PublicResolver(aiohttp.ThreadedResolver):
    """Resolver that refuses addresses that are not on the public internet."""

    async def resolve(self, host: str, port: int = 0, *args: Any, **kwargs: Any) -> Any:
        """Return the addresses of a host; raise PermanentError unless all are public."""
        addresses = await super().resolve(host, port, *args, **kwargs)
        for address in addresses:
            if not is_public(address["host"]):
                msg = f"{host} leads to {address['host']}, which is not a public address"
                raise PermanentError(msg, reason="NOT_PUBLIC")
        return addresses


_SESSIONS: "WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Transport, aiohttp.ClientSession]]"
_SESSIONS = WeakKeyDictionary()


def _session(transport: Transport) -> aiohttp.ClientSession:
    """Return the transport's session on the running loop; the limiter bounds its calls."""
    sessions = _SESSIONS.setdefault(asyncio.get_running_loop(), {})
    if transport not in sessions:
        resolver = PublicResolver() if transport.public_only else None
        sessions[transport] = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=_tls(transport), resolver=resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=transport.timeout_s, sock_connect=CONNECT_TIMEOUT_S
            ),
        )
    return sessions[transport]


def _tls(transport: Transport) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=transport.ca_file)
    except OSError as error:
        msg = f"{transport.name}: cannot read certificates from {transport.ca_file!r}: {error}"
        raise AuthError(msg, reason="TLS") from error
