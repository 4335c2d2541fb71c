"""Calls of the model for the tiles of one region: in process, or many in flight to an endpoint."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from time import perf_counter
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from daskmr.core.batches import joined, split
from daskmr.core.effort import Stopwatch
from daskmr.core.features import Detections
from daskmr.core.grid import Size, Tile
from daskmr.core.imagery import Pixels
from daskmr.decode.answers import decode
from daskmr.endpoints.base import Endpoint
from daskmr.endpoints.caller import Caller, Reply
from daskmr.errors import (
    BadResponseError,
    DaskmrError,
    EncodeError,
    EndpointError,
    PermanentError,
)
from daskmr.pipeline.job import Asking

_IN_FLIGHT_BYTES = 128 * 2**20
"""Most bytes of payloads that one region keeps in flight, but for the least of two calls."""
_STALL_S = 5.0
"""Seconds without an answer after which a region stops holding up others."""
_LOOK_S = 0.25
"""Seconds without an answer after which a region looks whether it should go on."""


class TileLedger(Protocol):
    """Told how tiles end."""

    def answered(self, tile: Tile, detections: Detections, attempts: int) -> None:
        """A tile succeeded, after that many calls."""

    def failed(self, tile: Tile, error: DaskmrError, attempts: int) -> None:
        """A tile failed, after that many calls."""


class Calls(Protocol):
    """Where a region hands its tiles to; a ``with`` block that waits until every tile has ended."""

    def start(self, tile: Tile, pixels: Pixels) -> None:
        """Begin with one tile; the pixels are free again when this returns."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...  # fmt: skip


@dataclass
class LocalCalls:
    """Asks a model in this process: one tile after the other, or as many as it takes at once."""

    asking: Asking
    ledger: TileLedger
    watch: Stopwatch
    _batch: list[tuple[Tile, Pixels]] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Run the last tiles."""
        if kind is None and self._batch:
            self._run()

    def start(self, tile: Tile, pixels: Pixels) -> None:
        """Run the model on one tile, once enough of its size have come together."""
        n_most = min(getattr(self.asking.model, "max_batch", 1), self.asking.max_batch or 2**30)
        if self._batch and self._batch[0][1].shape != pixels.shape:
            self._run()
        self._batch.append((tile, pixels if n_most == 1 else np.array(pixels)))
        if len(self._batch) >= n_most:
            self._run()

    def _run(self) -> None:
        batch, self._batch = self._batch, []
        started = perf_counter()
        answers = self._asked([pixels for _, pixels in batch])
        self.watch.add("infer", perf_counter() - started)
        for (tile, _), answer in zip(batch, answers, strict=True):
            if isinstance(answer, EndpointError):
                self.ledger.failed(tile, answer, 1)
                continue
            started = perf_counter()
            try:
                detections = decode(answer, tile=_size(tile), form=self.asking.answers)
            except EndpointError as error:
                self.ledger.failed(tile, error, 1)
                continue
            finally:
                self.watch.add("decode", perf_counter() - started)
            self.ledger.answered(tile, detections, 1)

    def _asked(self, tiles: list[Pixels]) -> Sequence[Any]:
        model: Any = self.asking.model
        try:
            return [model.detect(tiles[0])] if len(tiles) == 1 else model.detect_batch(tiles)
        except EndpointError as error:
            return [error] * len(tiles)


@dataclass(kw_only=True)
class _Pending:
    """Tiles of one call whose answer is awaited."""

    tiles: list[tuple[Tile, bytes]]
    attempts: int = 0
    """Calls made before the present one."""
    n_bad: int = 0
    """Answers that were no features."""


@dataclass
class RemoteCalls:
    """Encodes tiles and keeps many calls of an endpoint in flight; decodes in this thread."""

    asking: Asking
    ledger: TileLedger
    watch: Stopwatch
    check: Callable[[], None]
    """Called about all the time; raises when the region should not go on."""
    stalled: Callable[[], None]
    """Called once when the endpoint lets the region wait for long."""
    _pending: "dict[Future[Reply], _Pending]" = field(default_factory=dict)
    _done: "SimpleQueue[Future[Reply]]" = field(default_factory=SimpleQueue)
    _batch: list[tuple[Tile, bytes]] = field(default_factory=list)
    _batched_at: float = 0.0
    _has_stalled: bool = False

    def __enter__(self) -> Self:
        """Join the process's way to the endpoint."""
        if not isinstance(self.asking.model, Endpoint):
            msg = f"{self.asking.model.name} is not a remote endpoint"
            raise TypeError(msg)
        endpoint: Any = self.asking.model
        self._caller = Caller(endpoint, self.asking.terms).__enter__()
        self._content_type = self.asking.encoder.content_type
        self._max_batch = min(getattr(endpoint, "max_batch", 1), self.asking.max_batch or 2**30)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Take the answers that are still out."""
        try:
            if kind is None:
                self._flush()
                while self._pending:
                    self._take()
        finally:
            for future in self._pending:
                future.cancel()
            self._caller.__exit__()

    def start(self, tile: Tile, pixels: Pixels) -> None:
        """Encode one tile and send it, once there is room."""
        started = perf_counter()
        try:
            payload = self.asking.encoded(pixels, tile.window)
            _check_size(payload, self.asking.model)
        except (EncodeError, PermanentError) as error:
            self.ledger.failed(tile, error, 0)
            return
        now = perf_counter()
        self.watch.add("encode", now - started)
        if self._batch and now - self._batched_at > self.asking.linger_s:
            self._flush()
        if not self._batch:
            self._batched_at = now
        self._batch.append((tile, payload))
        if len(self._batch) >= self._max_batch:
            self._flush()

    def _flush(self) -> None:
        """Send the tiles that were gathered, once there is room."""
        batch, self._batch = self._batch, []
        if not batch:
            return
        n_bytes = max(1, sum(len(payload) for _, payload in batch))
        # More than may be in flight: what waits here is a demand that others can see.
        room = min(2 * self._caller.limit, _IN_FLIGHT_BYTES // n_bytes)
        while len(self._pending) >= max(2, room):
            self._take()
        self._send(_Pending(tiles=batch))

    def _send(self, pending: _Pending) -> None:
        if len(pending.tiles) == 1:
            payload, content_type = pending.tiles[0][1], self._content_type
        else:
            payload, content_type = joined([p for _, p in pending.tiles], self._content_type)
        future = self._caller.submit(payload, content_type)
        self._pending[future] = pending
        future.add_done_callback(self._done.put)

    def _take(self) -> None:
        started = perf_counter()
        future = self._next()
        self.watch.add("wait", perf_counter() - started)
        pending = self._pending.pop(future)
        try:
            reply = future.result()
        except EndpointError as error:
            pending.attempts += error.attempts
            self._refused(pending, error)
            return
        pending.attempts += reply.attempts
        self.watch.add("infer", reply.seconds)
        self._read(pending, reply)

    def _next(self) -> "Future[Reply]":
        """The next call that ended."""
        started = perf_counter()
        while True:
            self.check()
            try:
                return self._done.get(timeout=_LOOK_S)
            except Empty:
                if not self._has_stalled and perf_counter() - started > _STALL_S:
                    self._has_stalled = True
                    self.stalled()

    def _read(self, pending: _Pending, reply: Reply) -> None:
        """Decode an answer; one that is no features is asked for again."""
        started = perf_counter()
        sizes = [_size(tile) for tile, _ in pending.tiles]
        try:
            many = [reply.answer] if len(sizes) == 1 else split(reply.answer, len(sizes))
            found = [
                decode(answer, tile=size, form=self.asking.answers)
                for answer, size in zip(many, sizes, strict=True)
            ]
        except BadResponseError as error:
            self._refused(pending, error)
            return
        finally:
            self.watch.add("decode", perf_counter() - started)
        for (tile, _), detections in zip(pending.tiles, found, strict=True):
            self.ledger.answered(tile, detections, pending.attempts)

    def _refused(self, pending: _Pending, error: EndpointError) -> None:
        """No features came of a call: again, its tiles one by one, or not at all."""
        if len(pending.tiles) > 1 and isinstance(error, BadResponseError | PermanentError):
            for one in pending.tiles:  # so that a bad tile does not take its neighbours with it
                self._send(_Pending(tiles=[one], attempts=pending.attempts))
            return
        is_bad = isinstance(error, BadResponseError) and error.reason != "TOO_LARGE"
        pending.n_bad += is_bad
        if is_bad and pending.n_bad < error.max_attempts:
            self._send(pending)
            return
        for tile, _ in pending.tiles:
            self.ledger.failed(tile, error, pending.attempts)


def _check_size(payload: bytes, model: Any) -> None:
    """Refuse what the endpoint is known to refuse, without sending it."""
    most = model.max_payload_bytes
    if most is not None and len(payload) > most:
        msg = f"{model.name}: the tile is {len(payload):,} bytes, more than the {most:,} it takes"
        raise PermanentError(msg, reason="PAYLOAD_TOO_LARGE")


def _size(tile: Tile) -> Size:
    return Size(height=tile.window.height, width=tile.window.width)
