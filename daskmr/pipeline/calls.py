"""Calls of the model for the tiles of one region: in process, or many in flight to an endpoint."""

from collections import defaultdict
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from time import perf_counter
from typing import Any, Protocol

from daskmr.core.features import Detections
from daskmr.core.grid import Size, Tile
from daskmr.core.imagery import Pixels
from daskmr.decode.answers import decode
from daskmr.endpoints.base import Endpoint, LocalModel
from daskmr.endpoints.caller import Caller, Reply, caller
from daskmr.errors import BadResponseError, DaskmrError, EncodeError, EndpointError
from daskmr.pipeline.job import Job

Seconds = defaultdict[str, float]
"""Time by stage."""

_IN_FLIGHT_BYTES = 128 * 2**20
"""Most bytes of payloads that one region keeps in flight, but for the least of two tiles."""


class TileLedger(Protocol):
    """Told how tiles end."""

    def answered(self, tile: Tile, detections: Detections, attempts: int) -> None:
        """A tile succeeded, after that many calls."""

    def failed(self, tile: Tile, error: DaskmrError, attempts: int) -> None:
        """A tile failed, after that many calls."""


class Calls(Protocol):
    """Where a region hands its tiles to."""

    def start(self, tile: Tile, pixels: Pixels) -> None:
        """Begin with one tile; the pixels are free again when this returns."""

    def finish(self) -> None:
        """Wait until every tile has ended."""


@dataclass
class LocalCalls:
    """Asks a model in this process, one tile after the other."""

    model: LocalModel
    ledger: TileLedger
    seconds: Seconds

    def start(self, tile: Tile, pixels: Pixels) -> None:
        """Run the model on one tile."""
        started = perf_counter()
        try:
            answer = self.model.detect(pixels)
            asked = perf_counter()
            self.seconds["infer"] += asked - started
            detections = decode(answer, tile=_size(tile))
        except EndpointError as error:
            self.ledger.failed(tile, error, 1)
            return
        self.seconds["decode"] += perf_counter() - asked
        self.ledger.answered(tile, detections, 1)

    def finish(self) -> None:
        """Nothing is ever left to wait for."""


@dataclass(kw_only=True)
class _Pending:
    """One tile whose answer is awaited."""

    tile: Tile
    payload: bytes
    attempts: int = 0
    """Calls made before the present one."""
    n_bad: int = 0
    """Answers that were no features."""


@dataclass
class RemoteCalls:
    """Encodes tiles and keeps many calls of an endpoint in flight; decodes in this thread."""

    job: Job
    ledger: TileLedger
    seconds: Seconds
    _pending: "dict[Future[Reply], _Pending]" = field(default_factory=dict)
    _done: "SimpleQueue[Future[Reply]]" = field(default_factory=SimpleQueue)

    def __post_init__(self) -> None:
        """Join the process's caller of the endpoint."""
        if not isinstance(self.job.model, Endpoint):
            msg = f"{self.job.model.name} is not a remote endpoint"
            raise TypeError(msg)
        endpoint: Any = self.job.model
        self._caller: Caller = caller(endpoint, share=self.job.share)
        self._content_type = self.job.encoder.content_type

    def start(self, tile: Tile, pixels: Pixels) -> None:
        """Encode one tile and send it, once there is room."""
        started = perf_counter()
        try:
            payload = self.job.encoder.encode(pixels, self.job.info, tile.window)
        except EncodeError as error:
            self.ledger.failed(tile, error, 0)
            return
        self.seconds["encode"] += perf_counter() - started
        room = min(self.job.share, max(2, _IN_FLIGHT_BYTES // max(1, len(payload))))
        while len(self._pending) >= room:
            self._take()
        self._send(_Pending(tile=tile, payload=payload))

    def finish(self) -> None:
        """Take the answers that are still out."""
        while self._pending:
            self._take()

    def _send(self, pending: _Pending) -> None:
        future = self._caller.submit(pending.payload, self._content_type)
        self._pending[future] = pending
        future.add_done_callback(self._done.put)

    def _take(self) -> None:
        started = perf_counter()
        future = self._done.get()
        taken = perf_counter()
        self.seconds["wait"] += taken - started
        pending = self._pending.pop(future)
        try:
            reply = future.result()
        except EndpointError as error:
            self.ledger.failed(pending.tile, error, pending.attempts + error.attempts)
            return
        pending.attempts += reply.attempts
        self.seconds["infer"] += reply.seconds
        try:
            detections = decode(reply.body, tile=_size(pending.tile))
        except BadResponseError as error:
            pending.n_bad += 1
            if pending.n_bad < error.max_attempts:
                self._send(pending)
            else:
                self.ledger.failed(pending.tile, error, pending.attempts)
            return
        finally:
            self.seconds["decode"] += perf_counter() - taken
        self.ledger.answered(pending.tile, detections, pending.attempts)


def _size(tile: Tile) -> Size:
    return Size(height=tile.window.height, width=tile.window.width)
