"""A model server in a process of its own, with a log that outlives it.

The number of a tile is the grey of its first pixel. Each call is logged before it is answered, by
one write to a file that is only ever appended to: whoever is killed, what was answered is known.
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import click
from aiohttp import web

from daskmr.models._tiles import read_tile
from daskmr.testing import faults
from tests.chaos.faults import OK, SLOW, Box, FaultPlan, answer, boxes


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One line of the log."""

    t: float
    """When the call arrived, seconds of the clock of the wall."""
    tile: int
    """Number of the tile."""
    kind: str
    """What became of it: ``ok`` or the name of a fault."""
    boxes: Sequence[Box] | None
    """What was answered, in pixels of the tile; None when nothing was."""


def calls(log: Path) -> list[Call]:
    """Return all calls of a log, in its order; none when there is no log yet."""
    if not log.exists():
        return []
    said = map(json.loads, log.read_text(encoding="ascii").splitlines())
    return [
        Call(**{**line, "boxes": line["boxes"] and [tuple(box) for box in line["boxes"]]})
        for line in said
    ]


@dataclass
class FaultyModel:
    """Answers tiles as planned."""

    plan: FaultPlan
    """Which call meets which fault."""
    log: Path
    """File of the calls; what is in it already counts."""
    _n_calls: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Go on where the log ends."""
        self._n_calls.update(call.tile for call in calls(self.log))
        self._file = os.open(self.log, os.O_APPEND | os.O_CREAT | os.O_WRONLY)

    async def invoke(self, request: web.Request) -> web.StreamResponse:
        """Return one call."""
        at = time.time()
        tile = int(read_tile(await request.read()).flat[0])
        n = self._n_calls[tile]
        self._n_calls[tile] += 1
        await asyncio.sleep(self.plan.delay_s(tile, n))
        kind = self.plan.kind(tile, n)
        said = boxes(tile) if kind in {OK, SLOW} else None
        line = json.dumps({"t": at, "tile": tile, "kind": kind, "boxes": said})
        os.write(self._file, line.encode() + b"\n")
        if request.transport is not None:  # else nobody waits any more
            with suppress(ConnectionError):
                return await _response(kind, answer(tile))(request)
        return web.Response()


def _response(kind: str, body: bytes) -> faults.Fault:
    made = {
        "http_400": faults.status(400, b"no such thing in this tile"),
        "http_500": faults.status(500, b"out of luck"),
        "http_503": faults.status(503, headers={"Retry-After": "0"}),
        "reset": faults.reset(),
        "cut_off": faults.cut_off(body),
        "garbage": faults.saying(b'{"type":"FeatureColl'),
    }
    return made.get(kind, faults.saying(body))


def end_with_parent() -> None:
    """End this process when the other end of its standard input is closed."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


@click.command()
@click.option("--port", type=int, default=0, help="Port on loopback; 0 takes a free one.")
@click.option("--log", type=click.Path(path_type=Path), required=True, help="File of the calls.")
@click.option("--seed", type=int, required=True, help="Start of the random numbers.")
@click.option("--faults", "text", required=True, help="NAME=NUMBER,... see FaultPlan.parse.")
def main(*, port: int, log: Path, seed: int, text: str) -> None:
    """Serve until standard input ends; the port is said on standard output."""
    end_with_parent()
    model = FaultyModel(FaultPlan.parse(text, seed=seed), log)

    async def serve() -> None:
        app = web.Application()
        app.router.add_post("/invocations", model.invoke)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        click.echo(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
