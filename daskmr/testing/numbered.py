"""A scene whose tiles are numbered, and a model that answers the number of a tile."""

import asyncio
from collections.abc import Collection
from pathlib import Path

import numpy as np
from aiohttp import web

from daskmr.models._tiles import read_tile
from daskmr.testing.images import write_image
from daskmr.testing.servers import Handler, Served

TILE = 32
"""Rows and columns of a tile."""


def write_numbered(path: Path, side: int) -> str:
    """Write a scene of side x side tiles without overlap, tile k in grey k; return its path."""
    greys = np.arange(side * side, dtype=np.uint16).reshape(side, side)
    return str(write_image(path, np.kron(greys, np.ones((TILE, TILE), np.uint16))[None]))


def numbered(seconds: float, refused: Collection[int] = ()) -> Handler:
    """Return a model that answers one box, labelled with the number of the tile.

    Parameters
    ----------
    seconds
        How long it takes.
    refused
        Numbers of tiles that it refuses for good, as the collection is at that moment.
    """

    async def answer(request: web.Request, _number: int) -> web.StreamResponse:
        number = number_of(await request.read())
        await asyncio.sleep(seconds)
        if number in refused:
            return web.Response(status=400)
        box = {"imageBBox": [1, 1, 5, 5], "featureClasses": [{"iri": str(number), "score": 1}]}
        return web.json_response({"features": [{"properties": box}]})

    return answer


def number_of(tile: bytes) -> int:
    """Return the number of an encoded tile."""
    return int(read_tile(tile).flat[0])


def requested_tiles(server: Served) -> list[int]:
    """Return the numbers of the tiles that a model server received, in their order."""
    return [number_of(body) for _, body in server.requests]
