"""What every remote endpoint must do; subclass in the test of one."""

import asyncio
import pickle
from typing import Any

import pytest

from daskmr.endpoints._wire import close_sessions
from daskmr.endpoints.base import Endpoint
from daskmr.errors import EndpointError, TransientError
from daskmr.testing.servers import EMPTY, saying, serving


def invoke_once(endpoint: Endpoint, payload: bytes = b"tile") -> bytes:
    """One attempt, on a loop of its own that leaves no connection open."""

    async def attempt() -> bytes:
        try:
            answer = await endpoint.invoke(payload, content_type="image/tiff")
            return answer.body
        finally:
            await close_sessions()

    return asyncio.run(attempt())


class EndpointContract:
    """A subclass says how an endpoint of its kind is made for a URL."""

    def make(self, url: str) -> Endpoint:
        """An endpoint that calls *url*."""
        raise NotImplementedError

    def test_it_is_an_endpoint_and_pickles(self) -> None:
        endpoint = self.make("http://127.0.0.1:9/x")
        assert isinstance(endpoint, Endpoint)
        again: Any = pickle.loads(pickle.dumps(endpoint))  # noqa: S301 - our own bytes
        assert again == endpoint
        assert hash(again) == hash(endpoint)
        assert endpoint.concurrency == "auto" or endpoint.concurrency >= 1

    def test_a_server_fault_is_an_error_and_never_an_answer(self) -> None:
        with serving(saying(500)) as server, pytest.raises(TransientError) as caught:
            invoke_once(self.make(server.url))
        assert caught.value.reason == "HTTP_500"

    def test_an_address_without_a_server_is_refused_by_name(self) -> None:
        endpoint = self.make("http://127.0.0.1:9/x")
        with pytest.raises(EndpointError, match=r"127\.0\.0\.1\D+9"):
            asyncio.run(endpoint.check())


class PostingContract(EndpointContract):
    """For endpoints that send the tile itself, and are answered with the answer itself."""

    def test_the_payload_goes_out_and_the_answer_comes_back(self) -> None:
        with serving(saying(EMPTY)) as server:
            assert invoke_once(self.make(server.url), b"abc" * 10_000) == EMPTY
        ((headers, body),) = server.requests
        assert body == b"abc" * 10_000
        assert headers["Content-Type"] == "image/tiff"
