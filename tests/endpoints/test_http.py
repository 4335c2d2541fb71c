"""HTTP endpoints on good and bad days, against real servers on loopback: cases E1 to E7."""

import asyncio
import socket
import ssl
import threading
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from daskmr.endpoints import Hints, choose
from daskmr.endpoints.caller import Caller, Reply, Terms
from daskmr.endpoints.http import HttpEndpoint
from daskmr.errors import (
    AuthError,
    BadResponseError,
    CapacityError,
    EndpointError,
    PermanentError,
    RequestError,
    TransientError,
    UnknownNameError,
    UnreachableError,
)
from daskmr.testing.contracts_endpoints import PostingContract, invoke_once
from daskmr.testing.servers import EMPTY, Handler, saying, serving


class TestHttpEndpoint(PostingContract):
    def make(self, url: str) -> HttpEndpoint:
        return HttpEndpoint(url=url)


def call(url: str, **options: object) -> Reply:
    """A call with retries, as a region makes it."""
    endpoint = HttpEndpoint(url=url, **options)  # type: ignore[arg-type]
    with Caller(endpoint, Terms(job="x", capacity=4, share=4)) as caller:
        return caller.submit(b"tile", "image/tiff").result(60)


def test_parameters_are_sent_as_the_ancestor_sends_them() -> None:  # E1
    with serving(saying(EMPTY)) as server:
        endpoint = choose(server.url, parameters={"CustomAttributes": "a=1", "X-Foo": 5})
        assert isinstance(endpoint, HttpEndpoint)
        assert invoke_once(endpoint) == EMPTY
    ((headers, body),) = server.requests
    assert headers["X-Amzn-SageMaker-Custom-Attributes"] == "a=1"
    assert headers["X-Foo"] == "5"
    assert body == b"tile"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "evil"),
        ("content-length", "1"),
        ("Authorization", "Bearer x"),
        ("bad name", "x"),
        ("X-A", "line\r\nX-B: y"),
        ("", "x"),
    ],
)
def test_headers_that_are_not_a_requests_to_set_are_refused(name: str, value: str) -> None:
    with pytest.raises(RequestError, match="parameters: "):
        choose("http://127.0.0.1/", parameters={name: value})
    with pytest.raises(RequestError, match="parameters: "):
        HttpEndpoint(url="http://127.0.0.1/", headers=(("X-Good", "1"), (name, value)))


@pytest.mark.parametrize(
    "name",
    ["X-Amz-Security-Token", "X-Forwarded-For", "X-Real-IP", "Origin", "Proxy-Authorization"],
)
def test_a_request_sets_no_header_by_which_others_know_a_caller(name: str) -> None:
    with pytest.raises(RequestError, match=f"{name}.* is not a request's to set"):
        choose("http://127.0.0.1/", parameters={name: "x"})


def test_the_configuration_allows_a_request_further_headers() -> None:
    made = choose(
        "http://127.0.0.1/", parameters={"Mce-Key": "x"}, hints=Hints(headers=("mce-key",))
    )
    assert isinstance(made, HttpEndpoint)
    assert made.headers == (("Mce-Key", "x"),)
    with pytest.raises(RequestError, match="Mce-Key"):
        choose("http://127.0.0.1/", parameters={"Mce-Key": "x"})


PRIVATE = [
    "http://127.0.0.1/", "http://localhost/", "http://a.localhost/", "http://metadata.internal/",
    "http://10.1.2.3/", "http://169.254.169.254/", "http://192.168.0.1/", "http://0.0.0.0/",
    "http://100.64.0.1/", "http://192.0.0.192/", "http://2852039166/", "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/", "http://127.1/", "http://169.254.43518/", "http://[::1]/",
    "http://[::ffff:169.254.169.254]/", "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::]/", "http://[fd00:ec2::254]/", "http://[fe80::1]/", "http://1/",
]  # fmt: skip


@pytest.mark.parametrize("url", PRIVATE)
def test_a_stranger_cannot_send_tiles_into_private_networks(url: str) -> None:
    with pytest.raises(RequestError, match=r"public address|not an http"):
        choose(url, hints=Hints(is_trusted=False))
    assert isinstance(choose("http://127.0.0.1/"), HttpEndpoint)


def test_a_name_that_leads_to_a_private_address_is_never_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def resolved(*_: object, **__: object) -> list[dict[str, object]]:
        return [{"host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0,
                 "flags": 0, "hostname": "rebound.example"}]  # fmt: skip

    monkeypatch.setattr("aiohttp.ThreadedResolver.resolve", resolved)
    with serving(saying(EMPTY)) as server:
        port = int(server.url.split(":")[2].split("/")[0])
        url = f"http://rebound.example:{port}/"
        assert invoke_once(HttpEndpoint(url=url)) == EMPTY
        guarded = HttpEndpoint(url=url, public_only=True)
        with pytest.raises(EndpointError, match="not a public address"):
            invoke_once(guarded)
        with pytest.raises(EndpointError, match="not a public address"):
            asyncio.run(guarded.check())
    assert len(server.requests) == 1


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf")])
def test_limits_that_make_no_sense_are_refused(limit: float) -> None:
    with pytest.raises(RequestError, match="timeout_s: "):
        HttpEndpoint(url="http://127.0.0.1/", timeout_s=limit)
    if limit in {0, -1}:
        with pytest.raises(RequestError, match="concurrency: "):
            HttpEndpoint(url="http://127.0.0.1/", concurrency=int(limit))


def test_a_busy_server_is_asked_again() -> None:  # E2
    with serving(saying((503, {"Retry-After": "0"}), 503, EMPTY)) as server:
        reply = call(server.url)
    assert (reply.answer.body, reply.attempts) == (EMPTY, 3)


def test_a_dropped_connection_is_tried_again() -> None:  # E3
    async def handler(request: web.Request, number: int) -> web.StreamResponse:
        if number < 2:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(body=EMPTY)

    with serving(handler) as server:
        reply = call(server.url)
    assert (reply.answer.body, reply.attempts) == (EMPTY, 3)


def test_waiting_for_a_busy_server_takes_no_try_from_faults() -> None:
    busy = (429, {"Retry-After": "0"})
    with serving(saying(busy, busy, busy, busy, busy, 500, busy, 500, EMPTY)) as server:
        reply = call(server.url)
    assert (reply.answer.body, reply.attempts) == (EMPTY, 9)


def test_a_server_that_always_fails_fails_the_tile_after_four_attempts() -> None:  # E4
    with serving(saying(500)) as server, pytest.raises(TransientError) as caught:
        call(server.url)
    assert (caught.value.reason, caught.value.attempts) == ("HTTP_500", 4)
    assert len(server.requests) == 4


async def _silent(_request: web.Request, _number: int) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response(body=EMPTY)


async def _dripping(request: web.Request, _number: int) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(300):
        await response.write(b" ")
        await asyncio.sleep(0.1)
    return response


@pytest.mark.parametrize("handler", [_silent, _dripping])
def test_a_server_that_never_ends_its_answer_is_left_in_time(handler: Handler) -> None:  # E6
    with serving(handler) as server, pytest.raises(TransientError) as caught:
        invoke_once(HttpEndpoint(url=server.url, timeout_s=0.5))
    assert caught.value.reason == "TIMEOUT"


def test_an_untrusted_certificate_is_refused_unless_configured(tmp_path: Path) -> None:  # E7
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(trusted)
    with serving(saying(EMPTY), tls=context) as server:
        endpoint = HttpEndpoint(url=server.url)
        with pytest.raises(AuthError) as caught:
            invoke_once(endpoint)
        assert caught.value.reason == "TLS"
        with pytest.raises(AuthError):
            asyncio.run(endpoint.check())
        assert server.requests == []
        configured = HttpEndpoint(url=server.url, ca_file=str(trusted))
        asyncio.run(configured.check())
        assert invoke_once(configured) == EMPTY


def test_authorities_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    for ca_file in (str(tmp_path / "none.pem"), str(empty)):
        endpoint = HttpEndpoint(url="https://127.0.0.1:9/", ca_file=ca_file)
        with pytest.raises(AuthError, match=ca_file):
            asyncio.run(endpoint.check())
        with pytest.raises(AuthError, match=ca_file):
            invoke_once(endpoint)


def test_a_server_that_never_shakes_hands_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daskmr.endpoints._transport.CONNECT_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        endpoint = HttpEndpoint(url=f"https://127.0.0.1:{mute.getsockname()[1]}/")
        with pytest.raises(UnreachableError, match=r"no answer within 0\.2 s"):
            asyncio.run(endpoint.check())


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, CapacityError),
        (503, CapacityError),
        (500, TransientError),
        (502, TransientError),
        (504, TransientError),
        (530, TransientError),
        (408, TransientError),
        (401, AuthError),
        (403, AuthError),
        (400, PermanentError),
        (404, PermanentError),
        (413, PermanentError),
        (302, PermanentError),
        (204, BadResponseError),
    ],
)
def test_each_status_has_its_class(status: int, error: type[EndpointError]) -> None:
    with serving(saying(status)) as server, pytest.raises(error) as caught:
        invoke_once(HttpEndpoint(url=server.url))
    assert type(caught.value) is error
    assert caught.value.reason == f"HTTP_{status}"


def test_redirects_are_not_followed() -> None:
    with serving(saying(EMPTY)) as other:
        answer = (302, {"Location": other.url})
        with serving(saying(answer)) as server, pytest.raises(PermanentError):
            invoke_once(HttpEndpoint(url=server.url))
        assert other.requests == []


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daskmr.endpoints._transport.MAX_RESPONSE_BYTES", 1000)
    with serving(saying(b" " * 1001)) as server, pytest.raises(BadResponseError) as caught:
        invoke_once(HttpEndpoint(url=server.url))
    assert caught.value.reason == "TOO_LARGE"
    with serving(saying(b" " * 1000)) as server:
        assert len(invoke_once(HttpEndpoint(url=server.url))) == 1000


def test_no_more_calls_are_in_flight_than_the_share() -> None:
    async def slow(_request: web.Request, _number: int) -> web.StreamResponse:
        await asyncio.sleep(0.02)
        return web.Response(body=EMPTY)

    terms = Terms(job="x", capacity=5, share=5)
    with serving(slow) as server, Caller(HttpEndpoint(url=server.url), terms) as made:
        futures = [made.submit(b"x", "a/b") for _ in range(60)]
        replies = [future.result(60) for future in futures]
    assert len(replies) == 60
    assert server.widest == 5


def test_a_cancelled_call_ends_and_frees_its_place() -> None:
    begun = threading.Event()

    async def handler(_request: web.Request, number: int) -> web.StreamResponse:
        if number == 0:
            begun.set()
            await asyncio.sleep(30)
        return web.Response(body=EMPTY)

    terms = Terms(job="x", capacity=1, share=1)
    with serving(handler) as server, Caller(HttpEndpoint(url=server.url), terms) as made:
        first = made.submit(b"x", "a/b")
        assert begun.wait(20)
        assert first.cancel()
        assert made.submit(b"y", "a/b").result(20).answer.body == EMPTY


def test_nothing_listening_is_unreachable_by_name() -> None:
    with pytest.raises(
        UnreachableError, match=r"http://127\.0\.0\.1:9/x: cannot connect"
    ) as caught:
        invoke_once(HttpEndpoint(url="http://127.0.0.1:9/x?token=secret"))
    assert caught.value.exit_code == 5
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/y",
        "http://",
        "http:///x",
        "http://user:pw@host/x",
        "http://user:pw@host:port/x",
        "http://user:pw@[::1/x",
        "http://user:pw?@host/x",
        "http://a\\@b/",
        "http://a/b\\c",
        "http://a/b c",
        "http://a/b\r\nX-C: d",
        "http://a\n.b/",
        "http://a..b/",
        f"http://{'a' * 64}.b/",
        "http://a:99999/",
        "http://a:0/",
        "http://[::1/",
        "http://①②⑦.0.0.1/",
        "http://a/é",
        "http://a:x/?key=pw",
    ],
)
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(RequestError, match="model: ") as caught:
        HttpEndpoint(url=url)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://[::1]:8080/a%20b?c=d", "https://a_b.c-d.example./"])
def test_a_plain_url_is_taken_as_it_is(url: str) -> None:
    assert HttpEndpoint(url=url).url == url


def test_an_unknown_scheme_is_refused_with_every_known_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "calls-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: calls\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[daskmr.endpoint]\ngrpc = calls:Endpoint\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UnknownNameError) as caught:
        choose("ftp://host/model")
    assert str(caught.value) == (
        "model: 'ftp://host/model': unknown scheme 'ftp'; known: http://, https://, grpc://, "
        "sagemaker://, sagemaker-async://"
    )
