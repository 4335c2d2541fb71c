"""The machinery of one process: its loop, its callers, forks of it, and its end."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier

import pytest
from aiohttp import web

from daskmr.core.wire import Answer
from daskmr.endpoints.caller import Caller, Terms
from daskmr.endpoints.http import HttpEndpoint
from daskmr.endpoints.limiter import REFUSALS
from daskmr.errors import AuthError
from daskmr.testing.contracts_endpoints import invoke_once
from daskmr.testing.servers import EMPTY, saying, serving

BEGIN = """
import os, sys
from daskmr.endpoints.caller import Caller, Terms
from daskmr.endpoints.http import HttpEndpoint

def begin(job="job", share=1):
    terms = Terms(job=job, capacity=share, share=share)
    return Caller(HttpEndpoint(url=sys.argv[1]), terms).__enter__()

def ask(payload=b"tile", **terms):
    return begin(**terms).submit(payload, "image/tiff")
"""


def run(script: str, url: str) -> str:
    """What a process of its own has to say; it must end well and without a warning."""
    done = subprocess.run(
        [sys.executable, "-W", "default::ResourceWarning", "-c", BEGIN + script, url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_all_threads_share_one_limiter() -> None:
    endpoint = HttpEndpoint(url="http://127.0.0.1:9/shared")
    together = Barrier(8)

    def begun(_: int) -> tuple[int, int]:
        with Caller(endpoint, Terms(job="x", capacity=3, share=3)) as caller:
            together.wait(20)
            found = id(caller._channel.limiter), caller.limit
            together.wait(20)
            return found

    with ThreadPoolExecutor(8) as pool:
        ((_, limit),) = set(pool.map(begun, range(8)))
    assert limit == 3


def test_each_event_loop_has_its_own_connections() -> None:
    with serving(saying(EMPTY)) as server:
        endpoint = HttpEndpoint(url=server.url)
        assert [invoke_once(endpoint) for _ in range(2)] == [EMPTY, EMPTY]
    assert len(server.requests) == 2


def test_a_process_ends_in_silence_with_a_connection_open() -> None:
    with serving(saying(EMPTY)) as server:
        assert run("print(ask().result(30).attempts)", server.url) == "1\n"


def test_a_process_ends_in_silence_with_calls_under_way() -> None:
    with serving(saying((503, {"Retry-After": "60"}))) as server:
        script = "ask(); ask(); ask(share=2); import time; time.sleep(0.5); print('end')"
        assert run(script, server.url) == "end\n"


def test_a_forked_child_waits_for_no_call_of_its_parent() -> None:
    async def handler(request: web.Request, _number: int) -> web.StreamResponse:
        if await request.read() == b"held":
            return web.Response(status=503, headers={"Retry-After": "60"})
        return web.Response(body=b"x" * 42)

    script = """
import time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
held = ask(b"held")
with begin() as caller:
    while not caller._channel.limiter.in_flight:
        time.sleep(0.01)
child = os.fork()
if child == 0:
    code = 1
    try:
        code = len(ask(b"tile").result(30).answer.body)
    finally:
        os._exit(code)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), held.done())
"""
    with serving(handler) as server:
        assert run(script, server.url) == "42 False\n"


@dataclass(frozen=True)
class Renewing:
    """An endpoint whose credentials are good again after one renewal."""

    name: str
    concurrency: int = 1
    max_payload_bytes: int | None = None
    renewals: list[int] = field(default_factory=list, hash=False)
    helps: bool = True

    async def invoke(self, payload: bytes, *, content_type: str) -> Answer:
        if self.renewals and self.helps:
            return Answer(payload)
        msg = "expired"
        raise AuthError(msg, reason="EXPIRED")

    async def check(self) -> None:
        return

    async def refresh(self) -> None:
        self.renewals.append(1)


def test_refused_credentials_are_renewed_once_and_the_call_made_again() -> None:
    endpoint = Renewing(name="renewing")
    with Caller(endpoint, Terms(job="x", capacity=1, share=1)) as caller:
        reply = caller.submit(b"tile", "a/b").result(20)
    assert (reply.answer.body, reply.attempts, endpoint.renewals) == (b"tile", 2, [1])


def test_credentials_that_stay_refused_fail_the_call() -> None:
    endpoint = Renewing(name="refusing", helps=False)
    with Caller(endpoint, Terms(job="x", capacity=1, share=1)) as caller:
        with pytest.raises(AuthError) as caught:
            caller.submit(b"tile", "a/b").result(20)
        assert (caught.value.attempts, endpoint.renewals) == (2, [1])
        for _ in range(REFUSALS):
            with pytest.raises(AuthError):
                caller.submit(b"tile", "a/b").result(20)
    assert len(endpoint.renewals) == REFUSALS  # and then nobody asked any more


def test_an_endpoint_that_comes_back_is_waited_for_and_nothing_fails() -> None:
    back = time.monotonic() + 3

    async def handler(_request: web.Request, _number: int) -> web.StreamResponse:
        return web.Response(body=EMPTY) if time.monotonic() > back else web.Response(status=500)

    async def well(_request: web.Request, number: int) -> web.StreamResponse:
        return await handler(_request, number) if number else web.Response(body=EMPTY)

    with serving(well) as server:
        endpoint = HttpEndpoint(url=server.url)
        with Caller(endpoint, Terms(job="x", capacity=16, share=16)) as caller:
            caller.submit(b"first", "a/b").result(20)
            futures = [caller.submit(b"tile", "a/b") for _ in range(60)]
            assert {future.result(60).answer.body for future in futures} == {EMPTY}
    assert len(server.requests) < 60 + 60


def test_an_endpoint_that_stays_away_is_given_up_when_patience_ends() -> None:
    with serving(saying(503)) as server:
        terms = Terms(job="x", capacity=8, share=8, patience_s=2.0)
        with Caller(HttpEndpoint(url=server.url), terms) as caller:
            started = time.monotonic()
            futures = [caller.submit(b"tile", "a/b") for _ in range(20)]
            reasons = {str(future.exception(60)) for future in futures}
            assert time.monotonic() - started < 15
    assert all(reason.endswith("HTTP 503") for reason in reasons)


@dataclass(frozen=True)
class Scaling(Renewing):
    """An endpoint whose capacity others change."""

    stands: list[int] = field(default_factory=lambda: [4], hash=False)

    def resolved(self, *, key: str) -> "Scaling":
        return self

    def capacity(self) -> int | None:
        return self.stands[-1]


def test_an_endpoint_that_scales_is_followed_while_jobs_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("daskmr.endpoints.caller.CAPACITY_EVERY_S", 0.05)
    endpoint = Scaling(name="scaling")
    with Caller(endpoint, Terms(job="x", capacity=4, share=2, target=1.0)) as caller:
        assert caller.limit == 2
        endpoint.stands.append(40)
        end = time.monotonic() + 20
        while caller.limit != 20 and time.monotonic() < end:
            time.sleep(0.02)
        assert caller.limit == 20
