"""Several tiles in one call, of a function and over HTTP; bad tiles keep their trouble."""

from email import message_from_bytes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

import daskmr
from daskmr.core.wire import Answer, join_tiles, split_answers
from daskmr.endpoints.http import HttpEndpoint
from daskmr.errors import BadResponseError
from daskmr.models._tiles import read_tile
from daskmr.testing.images import write_image
from daskmr.testing.servers import serving

BOX = {"properties": {"imageBBox": [1, 1, 5, 5]}}


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=6))
def test_a_joined_body_is_the_multipart_that_others_read(payloads: list[bytes]) -> None:
    body, content_type = join_tiles(payloads, "image/tiff")
    message = message_from_bytes(
        b"Content-Type: " + content_type.encode() + b"\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        + body
    )  # fmt: skip
    assert message.is_multipart()
    assert len(message.get_payload()) == len(payloads)
    assert body.count(b"Content-Type: image/tiff") >= len(payloads)


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"[1,2,3]", b"null", b"[" * 100_000, b"\xff"])
def test_what_is_not_an_answer_for_each_tile_is_refused(body: bytes) -> None:
    with pytest.raises(BadResponseError, match="answer to 2 tiles"):
        split_answers(Answer(body), 2)
    assert split_answers(Answer(b"[1, null]"), 2) == [1, None]


def image(path: Path, n: int = 8) -> str:
    """A row of n x n tiles of 32 pixels, each in its own grey."""
    greys = np.arange(1, n * n + 1, dtype=np.uint8).reshape(n, n)
    return str(write_image(path, np.kron(greys, np.ones((32, 32), np.uint8))[None]))


async def _parts(request: web.Request) -> list[float]:
    """Grey of each tile of a request, by hand: the body has been read already."""
    body = await request.read()
    if not request.content_type.startswith("multipart/"):
        return [float(read_tile(body).mean())]
    boundary = b"--" + request.headers["Content-Type"].partition("boundary=")[2].encode()
    parts = (part.partition(b"\r\n\r\n")[2][:-2] for part in body.split(boundary)[1:-1])
    return [float(read_tile(part).mean()) for part in parts]


def run(tmp_path: Path, handler: Any, client: Any, **options: Any) -> tuple[Any, Any]:
    with serving(handler) as server:
        model = HttpEndpoint(url=server.url, max_batch=3)
        result = daskmr.run(
            image(tmp_path / "a.tif"), model, tile_size=32, overlap=0, client=client,
            tile_format="NPY", merge="none", **options,
        )  # fmt: skip
    return result, server


def test_tiles_travel_together_over_http(tmp_path: Path, client: Any) -> None:
    sizes: list[int] = []

    async def handler(request: web.Request, _number: int) -> web.StreamResponse:
        greys = await _parts(request)
        sizes.append(len(greys))
        answers: list[Any] = [
            {"features": [{"properties": {"imageBBox": [0, 0, grey / 8, 1]}}]} for grey in greys
        ]
        return web.json_response(answers if len(greys) > 1 else answers[0])

    result, _ = run(tmp_path, handler, client, linger_s=5.0)
    assert result.report.outcomes == {"SUCCEEDED": 64}
    assert max(sizes) == 3
    assert sum(sizes) == 64
    widths = sorted(result.features.geometry.bounds.maxx % 32)
    assert widths == pytest.approx(sorted((np.arange(1, 65) / 8).tolist()))


def test_fewer_tiles_travel_together_when_asked_for(tmp_path: Path, client: Any) -> None:
    sizes: list[int] = []

    async def handler(request: web.Request, _number: int) -> web.StreamResponse:
        n = len(await _parts(request))
        sizes.append(n)
        return web.json_response([{"features": []}] * n if n > 1 else {"features": []})

    run(tmp_path, handler, client, batch=1)
    assert set(sizes) == {1}


def test_a_bad_tile_does_not_take_its_neighbours_with_it(tmp_path: Path, client: Any) -> None:
    async def handler(request: web.Request, _number: int) -> web.StreamResponse:
        greys = await _parts(request)
        if 7.0 in greys:
            return web.Response(status=422)
        answers = [{"features": [BOX]} for _ in greys]
        return web.json_response(answers if len(greys) > 1 else answers[0])

    with pytest.warns(UserWarning, match="1 of 64 tiles failed"):
        result, _ = run(tmp_path, handler, client, linger_s=5.0)
    assert result.report.outcomes == {"SUCCEEDED": 63, "FAILED": 1}
    (problem,) = result.report.problems
    assert (problem.row, problem.col, problem.reason) == (0, 6 * 32, "HTTP_422")


def test_a_function_that_takes_batches_gets_lists(tmp_path: Path, client: Any) -> None:
    def several(tiles: list[Any]) -> list[Any]:
        assert isinstance(tiles, list)
        assert len(tiles) <= 3
        return [{"boxes": [[0, 0, float(tile.mean()) / 8, 1]]} for tile in tiles]

    several.max_batch = 3  # type: ignore[attr-defined]
    result = daskmr.run(
        image(tmp_path / "a.tif"), several, tile_size=32, overlap=0, client=client, merge="none"
    )
    assert result.report.outcomes == {"SUCCEEDED": 64}
    widths = sorted(result.features.geometry.bounds.maxx % 32)
    assert widths == pytest.approx(sorted((np.arange(1, 65) / 8).tolist()))


def test_a_batched_function_that_fails_on_one_tile_fails_that_tile(
    tmp_path: Path, client: Any
) -> None:
    def several(tiles: list[Any]) -> list[Any]:
        if any(tile.mean() == 9 for tile in tiles):
            msg = "nine"
            raise ValueError(msg)
        return [{"boxes": []} for _ in tiles]

    several.max_batch = 4  # type: ignore[attr-defined]
    with pytest.warns(UserWarning, match="1 of 64 tiles failed"):
        report = daskmr.run(
            image(tmp_path / "a.tif"), several, tile_size=32, overlap=0, client=client
        ).report
    (problem,) = report.problems
    assert (problem.row, problem.col, problem.reason) == (32, 0, "MODEL_ERROR")
