"""Calls of the model for the tiles of one region: in process, or many in flight to an endpoint."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from time import perf_counter
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from daskmr.core.features import Detections
from daskmr.core.grid import Tile
from daskmr.core.imagery import Pixels
from daskmr.core.timings import Stopwatch
from daskmr.core.wire import join_tiles, split_answers
from daskmr.decode.answers import decode
from daskmr.decode.symptoms import check_readable
from daskmr.endpoints.base import Endpoint, max_batch
from daskmr.endpoints.caller import Caller, Reply
from daskmr.errors import (
    BadResponseError,
    DaskmrError,
    EncodeError,
    EndpointError,
    PermanentError,
)
from daskmr.worker.task import ModelCall

_IN_FLIGHT_BYTES = 128 * 2**20
"""Most bytes of payloads that one region keeps in flight, but for the least of two calls."""
_STALL_S = 5.0
"""Seconds without an answer after which a region stops holding up others."""
_LOOK_S = 0.25
"""Seconds without an answer after which a region looks whether it should go on."""


class TileLedger(Protocol):
    """Receives the outcome of each tile."""

    def answered(
        self, tile: Tile, detections: Detections, attempts: int, *, seconds: float
    ) -> None:
        """Record that a tile succeeded after *attempts* calls, the last of so many seconds."""

    def failed(self, tile: Tile, error: DaskmrError, attempts: int) -> None:
        """Record that a tile failed after *attempts* calls."""


class Calls(Protocol):
    """Takes the tiles of a region; a ``with`` block that waits until every tile has ended."""

    def start(self, tile: Tile, pixels: Pixels) -> None:
        """Begin with one tile; the pixels are free again when this returns."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...  # fmt: skip


@dataclass
class LocalCalls:
    """Calls a model in this process, one tile at a time or in batches."""

    call: ModelCall
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
        n_most = min(max_batch(self.call.model), self.call.max_batch or 2**30)
        if self._batch and self._batch[0][1].shape != pixels.shape:
            self._run()
        self._batch.append((tile, pixels if n_most == 1 else np.array(pixels)))
        if len(self._batch) >= n_most:
            self._run()

    def _run(self) -> None:
        batch, self._batch = self._batch, []
        started = perf_counter()
        answers = self._infer([pixels for _, pixels in batch])
        seconds = perf_counter() - started
        self.watch.add("infer", seconds)
        for (tile, _), answer in zip(batch, answers, strict=True):
            if isinstance(answer, EndpointError):
                self.ledger.failed(tile, answer, 1)
                continue
            started = perf_counter()
            try:
                detections = decode(answer, tile=tile.window.size, form=self.call.answers)
                check_readable(detections)
            except EndpointError as error:
                self.ledger.failed(tile, error, 1)
                continue
            finally:
                self.watch.add("decode", perf_counter() - started)
            self.ledger.answered(tile, detections, 1, seconds=seconds)

    def _infer(self, tiles: list[Pixels]) -> Sequence[Any]:
        model: Any = self.call.model
        try:
            return [model.detect(tiles[0])] if len(tiles) == 1 else model.detect_batch(tiles)
        except EndpointError as error:
            return [error] * len(tiles)


@dataclass(kw_only=True)
class _Pending:
    """Tiles of one call in flight."""

    tiles: list[tuple[Tile, bytes]]
    attempts: int = 0
    """Calls made before the present one."""
    n_bad: int = 0
    """Answers that were no features."""


@dataclass
class RemoteCalls:
    """Encodes tiles and keeps many calls of an endpoint in flight; decodes in this thread."""

    call: ModelCall
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
        """Join this process's caller of the endpoint."""
        if not isinstance(self.call.model, Endpoint):
            msg = f"{self.call.model.name} is not a remote endpoint"
            raise TypeError(msg)
        endpoint: Any = self.call.model
        self._caller = Caller(endpoint, self.call.terms).__enter__()
        self._content_type = self.call.encoder.content_type
        self._max_batch = min(max_batch(self.call.model), self.call.max_batch or 2**30)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Wait for the calls in flight."""
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
            payload = self.call.encoded(pixels, tile.window)
            _check_size(payload, self.call.model)
        except (EncodeError, PermanentError) as error:
            self.ledger.failed(tile, error, 0)
            return
        now = perf_counter()
        self.watch.add("encode", now - started)
        if self._batch and now - self._batched_at > self.call.linger_s:
            self._flush()
        if not self._batch:
            self._batched_at = now
        self._batch.append((tile, payload))
        if len(self._batch) >= self._max_batch:
            self._flush()

    def _flush(self) -> None:
        """Send the batched tiles once there is room."""
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
            payload, content_type = join_tiles([p for _, p in pending.tiles], self._content_type)
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
        """Return the next call that has ended."""
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
        """Decode an answer; call again if it cannot be decoded."""
        started = perf_counter()
        sizes = [tile.window.size for tile, _ in pending.tiles]
        try:
            many = [reply.answer] if len(sizes) == 1 else split_answers(reply.answer, len(sizes))
            detections_of_tiles = [
                decode(answer, tile=size, form=self.call.answers)
                for answer, size in zip(many, sizes, strict=True)
            ]
        except BadResponseError as error:
            self._refused(pending, error)
            return
        finally:
            self.watch.add("decode", perf_counter() - started)
        for (tile, _), detections in zip(pending.tiles, detections_of_tiles, strict=True):
            try:
                check_readable(detections)
            except BadResponseError as error:  # asked again, it would answer the same
                self.ledger.failed(tile, error, pending.attempts)
            else:
                self.ledger.answered(tile, detections, pending.attempts, seconds=reply.seconds)

    def _refused(self, pending: _Pending, error: EndpointError) -> None:
        """Call again, split a failed batch into single tiles, or let the tiles fail."""
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
    """Raise if a payload is larger than the endpoint is known to accept."""
    most = model.max_payload_bytes
    if most is not None and len(payload) > most:
        msg = f"{model.name}: the tile is {len(payload):,} bytes, more than the {most:,} it takes"
        raise PermanentError(msg, reason="PAYLOAD_TOO_LARGE")
