"""HTTP endpoint: POST the tile, read the answer."""

from math import inf
from typing import Literal
from urllib.parse import urlsplit

from daskmr.core.wire import Answer, json_bytes
from daskmr.endpoints._auth import Auth
from daskmr.endpoints._headers import Headers, check_headers
from daskmr.endpoints._status import retry_after_s, status_error
from daskmr.endpoints._transport import TIMEOUT_S, Transport
from daskmr.endpoints._url import check_public, server_url
from daskmr.errors import RequestError
from daskmr.registry import plugin


@plugin
class HttpEndpoint:
    """POST each tile to a URL; TLS is verified, redirects are not followed."""

    url: str
    """``http://`` or ``https://`` URL of the model."""
    headers: Headers = ()
    """Headers that are sent with every tile."""
    auth: Auth | None = None
    """Credentials."""
    concurrency: int | Literal["auto"] = "auto"
    """Maximum calls in flight of the whole cluster; ``auto``: measured."""
    timeout_s: float = TIMEOUT_S
    """Seconds for one call, from connecting to the last byte of the answer."""
    ca_file: str | None = None
    """File of certificate authorities to trust instead of the system's."""
    public_only: bool = False
    """True to refuse addresses of private networks, of this machine and of its cloud."""
    max_payload_bytes: int | None = None
    """Maximum bytes of one tile that the server accepts; None: unknown."""
    max_batch: int = 1
    """Maximum tiles of one call (see docs/models.md)."""

    def __post_init__(self) -> None:
        """Validate the URL, the headers and the limits."""
        parts = server_url(self.url)
        check_headers(self.headers)
        if self.public_only:
            check_public(parts)
        limits = {"timeout_s": self.timeout_s, "max_batch": self.max_batch}
        limits |= {} if self.concurrency == "auto" else {"concurrency": self.concurrency}
        for field, value in limits.items():
            if not 0 < value < inf:
                msg = f"{field}: {value!r} is not a number above zero"
                raise RequestError(msg)

    @property
    def name(self) -> str:
        """The URL without its query, which may hold a secret."""
        return urlsplit(self.url)._replace(query="", fragment="").geturl()

    async def invoke(self, payload: bytes, *, content_type: str) -> Answer:
        """POST one tile and return the answer."""
        headers = {**dict(self.headers), **_content_headers(content_type)}
        if self.auth is not None:
            headers |= self.auth.headers()
        response = await self._transport.post(self.url, payload, headers)
        wait_s = retry_after_s(response.headers.get("Retry-After"))
        error = status_error(response.status, self.name, retry_after_s=wait_s)
        if error is not None:
            raise error
        return response.answer

    async def check(self) -> None:
        """Open and close a connection, with TLS for https."""
        await self._transport.connect(self.url)

    async def close(self) -> None:
        """Close the connections of the running loop."""
        await self._transport.close()

    @property
    def _transport(self) -> Transport:
        return Transport(
            name=self.name,
            timeout_s=self.timeout_s,
            ca_file=self.ca_file,
            public_only=self.public_only,
        )


def _content_headers(content_type: str) -> dict[str, str]:
    """Return the headers that describe a body; KServe V2 has one for the length of its JSON."""
    n_json = json_bytes(content_type)
    if n_json is None:
        return {"Content-Type": content_type}
    return {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(n_json),
    }
