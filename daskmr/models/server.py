"""A model server with the container API of SageMaker: ``/ping`` and ``/invocations``.

The custom attributes of a request select the model and its options::

    X-Amzn-SageMaker-Custom-Attributes: model_selection=flood,flood_volume=50,mock_latency_mean=200

``mock_latency_mean`` and ``mock_latency_std`` delay an answer, milliseconds.
"""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import lru_cache
from http import HTTPStatus
from math import isfinite
from typing import Any

import numpy as np
from aiohttp import web

from daskmr.errors import RequestError
from daskmr.models import MODELS, build, parse_attributes
from daskmr.models._tiles import TileError, read_tile
from daskmr.models.base import Model, ModelFault

HEADER = "X-Amzn-SageMaker-Custom-Attributes"
"""Request header of the custom attributes."""

MAX_BODY = 64 * 2**20
"""Largest size of an encoded tile, bytes."""

_THREADS = 16  # more than cores, since a failing model sleeps in its thread
_SPREAD = 0.1  # standard deviation of the latency, of its mean
_LONGEST_MS = 600_000.0
_GRACE_S = 1.0  # for running requests when the server stops

_DEFAULT: web.AppKey[str] = web.AppKey("default", str)
_POOL: web.AppKey[ThreadPoolExecutor] = web.AppKey("pool", ThreadPoolExecutor)


def make_app(default_model: str | None = None) -> web.Application:
    """Return the server as an aiohttp application.

    Parameters
    ----------
    default_model
        Model for requests without ``model_selection``; None to refuse them.

    Raises
    ------
    UnknownNameError
        When there is no such model.
    """
    if default_model is not None:
        MODELS.load(default_model)
    app = web.Application(client_max_size=MAX_BODY)
    app[_DEFAULT] = default_model or ""
    app.cleanup_ctx.append(_threads)
    app.add_routes([web.get("/ping", _ping), web.post("/invocations", _invocations)])
    return app


async def _threads(app: web.Application) -> AsyncIterator[None]:
    app[_POOL] = ThreadPoolExecutor(_THREADS, thread_name_prefix="model")
    yield
    app[_POOL].shutdown(wait=False, cancel_futures=True)


async def _ping(request: web.Request) -> web.Response:
    return web.Response(text="\n")


async def _invocations(request: web.Request) -> web.Response:
    """Answer one tile."""
    body = await request.read()
    try:
        model, delay_s = _requested_model(request.headers.get(HEADER, ""), request.app[_DEFAULT])
    except RequestError as error:
        return web.Response(status=HTTPStatus.BAD_REQUEST, text=str(error))
    loop = asyncio.get_running_loop()
    answer, _ = await asyncio.gather(
        loop.run_in_executor(request.app[_POOL], _answer, model, body), asyncio.sleep(delay_s)
    )
    return answer


def _requested_model(text: str, default: str) -> tuple[Model, float]:
    """Return the model of the custom attributes, and the delay of its answer, seconds."""
    attributes = parse_attributes(text)
    name = attributes.get("model_selection") or default
    if not name:
        msg = f"no model: send {HEADER}: model_selection=NAME; known: {', '.join(MODELS.names())}"
        raise RequestError(msg)
    return _model(name, text), _latency_s(attributes)


def _answer(model: Model, body: bytes) -> web.Response:
    """Return the response of a model to one encoded tile; runs in a thread."""
    try:
        answer = model.detect(read_tile(body))
    except TileError as error:
        return web.Response(status=HTTPStatus.BAD_REQUEST, text=f"unreadable tile: {error}")
    except ModelFault as fault:
        return web.Response(status=fault.status, text=str(fault))
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return web.Response(text=text, content_type="application/json")


@lru_cache(maxsize=64)
def _model(name: str, text: str) -> Model:
    return build(name, text)


def _latency_s(attributes: Mapping[str, str]) -> float:
    """Return a delay in seconds, drawn from a normal distribution and never negative."""
    mean = _milliseconds(attributes, "mock_latency_mean", 0.0)
    spread = _milliseconds(attributes, "mock_latency_std", _SPREAD * mean)
    drawn = float(np.random.default_rng().normal(mean, spread))
    return min(max(drawn, 0.0), _LONGEST_MS) / 1000


def _milliseconds(attributes: Mapping[str, str], key: str, default: float) -> float:
    text = attributes.get(key)
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = -1.0
    if not isfinite(value) or value < 0:
        msg = f"custom attribute {key}={text!r} is not a number of milliseconds"
        raise RequestError(msg)
    return value


@asynccontextmanager
async def _listening(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    """Yield the base URL of the server, which stops at the end of the block."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_GRACE_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        name, number = runner.addresses[0][:2]
        yield f"http://[{name}]:{number}" if ":" in name else f"http://{name}:{number}"
    finally:
        await runner.cleanup()


def serve(
    model: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    ready: Callable[[str], None],
) -> None:
    """Serve in this thread, the main one, until SIGINT or SIGTERM.

    Parameters
    ----------
    model
        Model for requests without ``model_selection``.
    host, port
        Address to listen on; port 0 selects a free one.
    ready
        Called with the base URL when the server accepts requests.

    Raises
    ------
    UnknownNameError
        When there is no such model.
    OSError
        When the address cannot be listened on.
    """
    app = make_app(model)

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # Windows: Ctrl-C raises KeyboardInterrupt
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with _listening(app, host, port) as url:
            ready(url)
            await stop.wait()

    asyncio.run(main())


@contextmanager
def running(model: str | None = None) -> Iterator[str]:
    r"""Run a server on a free loopback port, in a thread, until the end of the block.

    Yields
    ------
    The base URL.

    Examples
    --------
    >>> import httpx
    >>> with running("centerpoint") as url:
    ...     httpx.get(f"{url}/ping").text
    '\n'
    """
    app = make_app(model)
    started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        async with _listening(app, "127.0.0.1", 0) as url:
            started.set_result((url, asyncio.get_running_loop(), stop))
            await stop.wait()

    with ThreadPoolExecutor(1, thread_name_prefix="model-server") as thread:
        task = thread.submit(asyncio.run, main())
        task.add_done_callback(lambda done: _forward_error(done, started))
        url, loop, stop = started.result()
        try:
            yield url
        finally:
            loop.call_soon_threadsafe(stop.set)
            task.result()


def _forward_error(ended: Future[None], started: Future[Any]) -> None:
    """Set the error of a server that has ended before it started."""
    if not started.done():
        started.set_exception(ended.exception() or RuntimeError("the server ended early"))
