"""A model behind HTTP: POST the tile, read the answer."""

from math import inf
from typing import Literal
from urllib.parse import urlsplit

from daskmr.core.wire import Answer, json_bytes
from daskmr.endpoints._auth import Auth
from daskmr.endpoints._headers import Headers, check_headers
from daskmr.endpoints._status import error_of, retry_after_s
from daskmr.endpoints._url import check_public, server_url
from daskmr.endpoints._wire import TIMEOUT_S, Wire
from daskmr.errors import RequestError
from daskmr.registry import plugin


@plugin
class HttpEndpoint:
    """POST each tile to a URL; TLS is verified, redirects are not followed."""

    url: str
    """``http://`` or ``https://`` URL of the model."""
    headers: Headers = ()
    """Sent with every tile."""
    auth: Auth | None = None
    """Who we are."""
    concurrency: int | Literal["auto"] = 10
    """Calls that the whole cluster may have in flight; ``auto``: found by trying."""
    timeout_s: float = TIMEOUT_S
    """Seconds for one call, from connecting to the last byte of the answer."""
    ca_file: str | None = None
    """File of certificate authorities to trust instead of the system's."""
    public_only: bool = False
    """Whether addresses of private networks, of this machine and of its cloud are refused."""
    max_payload_bytes: int | None = None
    """Most bytes of one tile that the server takes; None: not known."""
    max_batch: int = 1
    """Tiles in one call, when the model takes several (see docs/models.md)."""

    def __post_init__(self) -> None:
        """Refuse what is no plain URL of a server, and headers and limits that make no sense."""
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
        """One attempt at one tile."""
        headers = {**dict(self.headers), **_described(content_type)}
        if self.auth is not None:
            headers |= self.auth.headers()
        response = await self._wire.post(self.url, payload, headers)
        wait_s = retry_after_s(response.headers.get("Retry-After"))
        error = error_of(response.status, self.name, retry_after_s=wait_s)
        if error is not None:
            raise error
        return response.answer

    async def check(self) -> None:
        """Connect, with TLS where the URL says so, and hang up."""
        await self._wire.connect(self.url)

    @property
    def _wire(self) -> Wire:
        return Wire(
            name=self.name,
            timeout_s=self.timeout_s,
            ca_file=self.ca_file,
            public_only=self.public_only,
        )


def _described(content_type: str) -> dict[str, str]:
    """Headers that say what the body is; KServe V2 over HTTP tells the length of its JSON apart."""
    n_json = json_bytes(content_type)
    if n_json is None:
        return {"Content-Type": content_type}
    return {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(n_json),
    }
