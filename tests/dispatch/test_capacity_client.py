"""Shares of one capacity on a real cluster, and life without a coordinator."""

import asyncio
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

import daskmr
from daskmr.dispatch.capacity_client import install
from daskmr.testing.images import write_image
from daskmr.testing.servers import EMPTY, serving


@pytest.fixture
def image(tmp_path: Path) -> str:
    pixels = np.random.default_rng(3).integers(1, 255, (1, 512, 512), dtype=np.uint8)
    path = tmp_path / "noise.tif"
    write_image(path, pixels)
    return str(path)


def slow(seconds: float) -> Any:
    async def answer(_request: web.Request, _number: int) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return web.Response(body=EMPTY, content_type="application/json")

    return answer


def test_workers_together_never_make_more_calls_than_the_endpoint_stands(
    client: Any, image: str
) -> None:
    with serving(slow(0.05)) as server:
        report = daskmr.run(
            image, server.url, tile_size=32, overlap=0, concurrency=5, client=client
        ).report
    assert report.outcomes["SUCCEEDED"] == 256  # type: ignore[index]
    assert server.widest == 5


def test_an_endpoint_that_takes_one_call_gets_one_though_there_are_two_workers(
    client: Any, image: str
) -> None:
    with serving(slow(0.01)) as server:
        report = daskmr.run(
            image, server.url, tile_size=128, overlap=0, concurrency=1, client=client
        ).report
    assert report.outcomes["SUCCEEDED"] == 16  # type: ignore[index]
    assert server.widest == 1


def test_two_jobs_on_one_endpoint_share_it(client: Any, image: str) -> None:
    import threading

    ended: dict[str, float] = {}
    with serving(slow(0.05)) as server:

        def run(name: str, tile_size: int) -> None:
            daskmr.run(
                image, server.url, tile_size=tile_size, overlap=0, concurrency=4,
                client=client, job_id=name,
            )  # fmt: skip
            ended[name] = time.perf_counter()

        big = threading.Thread(target=run, args=("big", 32))
        big.start()
        time.sleep(0.5)
        run("small", 128)
        big.join()
    assert ended["small"] < ended["big"]
    assert len(server.requests) == 256 + 16
    assert server.widest == 4


def test_one_stuck_endpoint_does_not_hold_up_another(client: Any, image: str) -> None:
    import threading
    import warnings

    stop = threading.Event()

    async def stuck(_request: web.Request, _number: int) -> web.StreamResponse:
        while not stop.is_set():
            await asyncio.sleep(0.1)
        return web.Response(body=EMPTY, content_type="application/json")

    with serving(stuck) as away, serving(slow(0.0)) as fine:
        first = threading.Thread(
            target=daskmr.run, args=(image, away.url),
            kwargs={"tile_size": 32, "overlap": 0, "client": client, "concurrency": 4},
        )  # fmt: skip
        with warnings.catch_warnings():
            first.start()
            time.sleep(1.0)  # by now its regions sit in every slot of the cluster
            report = daskmr.run(image, fine.url, tile_size=64, overlap=0, client=client).report
            assert first.is_alive()
            stop.set()
            first.join(120)
    assert report.outcomes["SUCCEEDED"] == 64  # type: ignore[index]
    assert not first.is_alive()


def test_a_coordinator_is_installed_once(client: Any) -> None:
    assert install(client)
    assert install(client)
    plugins = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.plugins))
    assert plugins.count("daskmr-coordinator") == 1


def test_a_job_runs_where_no_coordinator_can_be(
    client: Any, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daskmr.dispatch.capacity_client.install", lambda _client: False)
    with serving(slow(0.01)) as server:
        report = daskmr.run(
            image, server.url, tile_size=64, overlap=0, concurrency=4, client=client
        ).report
    assert report.outcomes["SUCCEEDED"] == 64  # type: ignore[index]
    assert server.widest <= 4


def test_an_unknown_capacity_is_found(client: Any, image: str) -> None:
    async def answer(_request: web.Request, _number: int) -> web.StreamResponse:
        if server.in_flight > 6:
            return web.Response(status=429)
        await asyncio.sleep(0.05)
        return web.Response(body=EMPTY, content_type="application/json")

    with serving(answer) as server:
        report = daskmr.run(
            image, server.url, tile_size=32, overlap=0, concurrency="auto", client=client
        ).report
    assert report.outcomes["SUCCEEDED"] == 256  # type: ignore[index]
    assert len(server.requests) < 256 * 1.5
