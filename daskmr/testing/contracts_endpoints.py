"""Contracts of endpoints: tests to inherit.

`EndpointContract` is for endpoints of any kind, `UrlEndpointContract` for those that call a URL,
and `PostingContract` for those that post the tile itself to it.
"""

import asyncio
import pickle
from typing import Any

import pytest

from daskmr.core.wire import Answer
from daskmr.endpoints.base import Closing, Endpoint
from daskmr.errors import EndpointError, TransientError
from daskmr.testing.servers import EMPTY, saying, serving

_N_CALLS = 8


def invoke_all(endpoint: Endpoint, payloads: list[bytes]) -> list[Answer]:
    """Return the answers of calls side by side, on a loop that leaves no connection open."""

    async def attempts() -> list[Answer]:
        try:
            calls = (endpoint.invoke(payload, content_type="image/tiff") for payload in payloads)
            return list(await asyncio.gather(*calls))
        finally:
            if isinstance(endpoint, Closing):
                await endpoint.close()

    return asyncio.run(attempts())


def invoke_once(endpoint: Endpoint, payload: bytes = b"tile") -> bytes:
    """Return the answer of one attempt, on a loop of its own that leaves no connection open."""
    (answer,) = invoke_all(endpoint, [payload])
    return answer.body


def check_plain_data(endpoint: Endpoint) -> None:
    """Assert that an endpoint pickles, compares and hashes by value, and has a usable name."""
    assert isinstance(endpoint, Endpoint)
    again: Any = pickle.loads(pickle.dumps(endpoint))  # noqa: S301 - our own bytes
    assert again == endpoint
    assert hash(again) == hash(endpoint)
    assert endpoint.name.isprintable()
    assert endpoint.name == again.name != ""
    assert endpoint.concurrency == "auto" or endpoint.concurrency >= 1
    assert endpoint.max_payload_bytes is None or endpoint.max_payload_bytes > 0


class EndpointContract:
    """Tests of one endpoint of any kind: inherit, name the class ``Test...``, define three."""

    def make(self) -> Endpoint:
        """Return an endpoint that answers every tile."""
        raise NotImplementedError

    def make_failing(self) -> Endpoint:
        """Return an endpoint whose calls fail."""
        raise NotImplementedError

    def make_unreachable(self) -> Endpoint:
        """Return an endpoint at an address where nothing answers."""
        raise NotImplementedError

    def test_it_is_an_endpoint_and_plain_data(self) -> None:
        for endpoint in (self.make(), self.make_failing(), self.make_unreachable()):
            check_plain_data(endpoint)
        assert self.make() == self.make()
        assert self.make() != self.make_unreachable()

    def test_an_answer_comes_back(self) -> None:
        (answer,) = invoke_all(self.make(), [b"tile"])
        assert isinstance(answer, Answer)
        assert answer.body

    def test_calls_run_side_by_side(self) -> None:
        answers = invoke_all(self.make(), [b"tile"] * _N_CALLS)
        assert [answer.body for answer in answers] == [invoke_once(self.make())] * _N_CALLS

    def test_a_failed_call_is_an_error_with_a_reason_and_never_an_answer(self) -> None:
        with pytest.raises(EndpointError) as caught:
            invoke_once(self.make_failing())
        assert caught.value.reason.isidentifier()
        assert caught.value.reason.isupper()

    def test_only_an_address_where_something_answers_passes_the_check(self) -> None:
        asyncio.run(self.make().check())
        endpoint = self.make_unreachable()
        with pytest.raises(EndpointError) as caught:
            asyncio.run(endpoint.check())
        assert endpoint.name in str(caught.value)


class UrlEndpointContract:
    """Tests of an endpoint that calls a URL: inherit, name the class ``Test...``, define `make`."""

    def make(self, url: str) -> Endpoint:
        """Return an endpoint that calls *url*."""
        raise NotImplementedError

    def test_it_is_an_endpoint_and_pickles(self) -> None:
        check_plain_data(self.make("http://127.0.0.1:9/x"))

    def test_closing_what_was_never_opened_is_silent(self) -> None:
        endpoint = self.make("http://127.0.0.1:9/x")
        if isinstance(endpoint, Closing):
            asyncio.run(endpoint.close())

    def test_a_server_fault_is_an_error_and_never_an_answer(self) -> None:
        with serving(saying(500)) as server, pytest.raises(TransientError) as caught:
            invoke_once(self.make(server.url))
        assert caught.value.reason == "HTTP_500"

    def test_an_address_without_a_server_is_refused_by_name(self) -> None:
        endpoint = self.make("http://127.0.0.1:9/x")
        with pytest.raises(EndpointError, match=r"127\.0\.0\.1\D+9"):
            asyncio.run(endpoint.check())


class PostingContract(UrlEndpointContract):
    """Tests of one endpoint that posts the tile itself, and is answered with the answer itself."""

    def test_the_payload_goes_out_and_the_answer_comes_back(self) -> None:
        with serving(saying(EMPTY)) as server:
            assert invoke_once(self.make(server.url), b"abc" * 10_000) == EMPTY
        ((headers, body),) = server.requests
        assert body == b"abc" * 10_000
        assert headers["Content-Type"] == "image/tiff"
