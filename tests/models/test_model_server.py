import io
import signal
import statistics
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from daskmr.core.imagery import Pixels
from daskmr.errors import UnknownNameError
from daskmr.models import _tiles
from daskmr.models._tiles import TileError, read_tile
from daskmr.models.server import HEADER, MAX_BODY, _latency_s, make_app, running

RAMP = (np.arange(3 * 40 * 50) % 251).astype(np.uint8).reshape(3, 40, 50)


def npy(pixels: Pixels) -> bytes:
    stream = io.BytesIO()
    np.save(stream, pixels)
    return stream.getvalue()


def raster(pixels: Pixels, driver: str, **options: Any) -> bytes:
    count, height, width = pixels.shape
    shape = {"count": count, "height": height, "width": width, "dtype": pixels.dtype}
    with warnings.catch_warnings(), MemoryFile() as file:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with file.open(driver=driver, **shape, **options) as dataset:
            dataset.write(pixels)
        return bytes(file.read())


def coloured(*levels: int) -> bytes:
    return npy(np.broadcast_to(np.array(levels, np.uint8)[:, None, None], (3, 64, 64)))


def post(url: str, body: bytes, attributes: str = "") -> httpx.Response:
    headers = {HEADER: attributes} if attributes else {}
    return httpx.post(f"{url}/invocations", content=body, headers=headers, timeout=30)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as address:
        yield address


# ---- bytes of a tile ----


def test_an_array_is_read_as_it_was_written() -> None:
    for pixels in (RAMP, np.asfortranarray(RAMP), RAMP.astype(">f4"), RAMP.astype(np.complex64)):
        np.testing.assert_array_equal(read_tile(npy(pixels)), pixels)
    assert read_tile(npy(RAMP[0])).shape == (1, 40, 50)


@pytest.mark.parametrize(
    ("driver", "options"),
    [
        ("GTiff", {}),
        ("GTiff", {"BIGTIFF": "YES"}),
        ("GTiff", {"ENDIANNESS": "BIG"}),
        ("PNG", {}),
        ("NITF", {}),
        ("JP2OpenJPEG", {"QUALITY": "100", "REVERSIBLE": "YES"}),
        ("JP2OpenJPEG", {"QUALITY": "100", "REVERSIBLE": "YES", "CODEC": "J2K"}),
    ],
)
def test_a_lossless_picture_is_read_as_it_was_written(driver: str, options: dict[str, str]) -> None:
    np.testing.assert_array_equal(read_tile(raster(RAMP, driver, **options)), RAMP)


def test_a_jpeg_is_read_nearly_as_it_was_written() -> None:
    flat = np.full((3, 32, 32), 90, dtype=np.uint8)
    read = read_tile(raster(flat, "JPEG"))
    assert read.shape == flat.shape
    assert np.abs(read.astype(int) - 90).max() <= 3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"<VRTDataset/>",
        b"II*\x00" + bytes(100),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"\xff\xd8\xff" + bytes(100),
        b"NITF02.10" + bytes(500),
        b"\xffO\xffQ" + bytes(100),
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\x10\x00" + b"x" * 16,
        npy(RAMP)[:-1],
        npy(RAMP[0, 0]),
        npy(RAMP[:, :0]),
        npy(np.array([["a"]])),
        npy(np.zeros((1, 2, 2), dtype=[("a", "u1")])),
    ],
    ids=range(15),
)
def test_bytes_that_are_no_tile_are_refused(body: bytes) -> None:
    with pytest.raises(TileError):
        read_tile(body)


def test_pickled_arrays_are_refused() -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([[{}]]), allow_pickle=True)
    with pytest.raises(TileError):
        read_tile(stream.getvalue())


def test_a_small_file_that_asks_for_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|u1", "fortran_order": False, "shape": (1, 2**20, 2**20)}
    )
    with pytest.raises(TileError, match="1099511627776 bytes"):
        read_tile(stream.getvalue())
    picture = raster(RAMP, "PNG")
    monkeypatch.setattr(_tiles, "MAX_BYTES", RAMP.nbytes - 1)
    with pytest.raises(TileError, match="6000 bytes"):
        read_tile(picture)


def test_damaged_pictures_are_read_or_refused() -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for driver in ("GTiff", "PNG", "JPEG", "NITF"):
        whole = raster(RAMP, driver)
        for _ in range(25):
            body = bytearray(whole[: rng.integers(20, len(whole))])
            body[rng.integers(8, len(body))] ^= int(rng.integers(1, 256))
            try:
                read_tile(bytes(body))
            except TileError:
                refused += 1
    assert refused > 10


@pytest.mark.parametrize("name", ["affine/RGB.byte.tif", "nitf/rgb.ntf", "nogeo/no_geo2.jpg"])
def test_real_files_are_read_like_rasterio_reads_them(name: str, imagery: Path) -> None:
    found = read_tile((imagery / name).read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(imagery / name) as dataset:
            np.testing.assert_array_equal(found, dataset.read())


# ---- the server ----


def test_ping_answers_an_empty_line(url: str) -> None:
    reply = httpx.get(f"{url}/ping")
    assert (reply.status_code, reply.text) == (200, "\n")


def test_the_request_picks_the_model_and_its_options(url: str) -> None:
    reply = post(url, npy(RAMP), "model_selection=flood,flood_volume=50")
    assert reply.headers["content-type"].startswith("application/json")
    assert len(reply.json()["features"]) == 50
    reply = post(url, npy(RAMP), "model_selection=centerpoint")
    assert reply.json()["features"][0]["properties"]["imageBBox"] == [20.0, 16.0, 30.0, 24.0]


def test_the_default_answers_requests_that_pick_none() -> None:
    with running("flood") as other:
        assert len(post(other, npy(RAMP)).json()["features"]) == 100
        assert len(post(other, npy(RAMP), "model_selection=centerpoint").json()["features"]) == 1


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ("", "no model"),
        ("model_selection=", "no model"),
        ("model_selection=yolo", "yolo"),
        ("model_selection=flood,volume=1", "volume"),
        ("model_selection=flood,mock_latency_mean=soon", "mock_latency_mean='soon'"),
        ("model_selection=flood,mock_latency_std=-1", "mock_latency_std='-1'"),
        ("model_selection=flood,mock_latency_mean=nan", "mock_latency_mean"),
        ("flood", "flood"),
    ],
)
def test_a_request_without_a_usable_choice_is_refused(url: str, attributes: str, said: str) -> None:
    reply = post(url, npy(RAMP), attributes)
    assert reply.status_code == 400
    assert said in reply.text


def test_an_unreadable_tile_is_refused(url: str) -> None:
    reply = post(url, b"hello", "model_selection=flood")
    assert reply.status_code == 400
    assert "hello" in reply.text


def test_a_tile_that_is_too_large_is_refused(url: str) -> None:
    assert post(url, bytes(MAX_BODY + 1), "model_selection=flood").status_code == 413


@pytest.mark.parametrize(("levels", "status"), [((230, 10, 10), 500), ((10, 10, 230), 408)])
def test_faults_of_the_model_become_their_status(
    url: str, levels: tuple[int, ...], status: int
) -> None:
    reply = post(url, coloured(*levels), "model_selection=failure,delay_s=0.05")
    assert reply.status_code == status


def test_broken_json_of_the_model_is_passed_on_as_it_is(url: str) -> None:
    reply = post(url, coloured(10, 230, 10), "model_selection=failure")
    assert reply.status_code == 200
    with pytest.raises(ValueError, match="Expecting"):
        reply.json()


def test_every_tile_format_is_answered(url: str) -> None:
    for body in (npy(RAMP), *(raster(RAMP, d) for d in ("GTiff", "PNG", "JPEG", "NITF"))):
        reply = post(url, body, "model_selection=centerpoint")
        assert reply.json()["features"][0]["properties"]["imageBBox"] == [20.0, 16.0, 30.0, 24.0]


def test_held_back_answers_overlap(url: str) -> None:
    body = npy(RAMP)

    def seconds(_: int) -> float:
        began = time.perf_counter()
        attributes = "model_selection=centerpoint,mock_latency_mean=400,mock_latency_std=0"
        assert post(url, body, attributes).status_code == 200
        return time.perf_counter() - began

    began = time.perf_counter()
    with ThreadPoolExecutor(24) as threads:
        each = list(threads.map(seconds, range(24)))
    assert min(each) >= 0.4
    assert time.perf_counter() - began < 24 * 0.4 / 3


def test_latency_varies_by_a_tenth_of_its_mean_by_default() -> None:
    drawn = [_latency_s({"mock_latency_mean": "200"}) for _ in range(4000)]
    assert statistics.mean(drawn) == pytest.approx(0.2, rel=0.02)
    assert statistics.stdev(drawn) == pytest.approx(0.02, rel=0.1)
    wide = {"mock_latency_mean": "1", "mock_latency_std": "1000"}
    assert min(_latency_s(wide) for _ in range(100)) == 0


def test_an_unknown_default_is_refused_at_once() -> None:
    with pytest.raises(UnknownNameError, match="yolo"):
        make_app("yolo")


def test_a_server_is_gone_after_its_block() -> None:
    before = threading.active_count()
    with running("centerpoint") as address:
        assert httpx.get(f"{address}/ping").status_code == 200
        assert address.startswith("http://127.0.0.1:")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/ping")
    assert threading.active_count() <= before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_of_its_own_process_ends_on_a_signal(number: signal.Signals) -> None:
    program = (
        "from daskmr.models.server import serve\n"
        "serve('centerpoint', ready=lambda url: print(url, flush=True))\n"
        "print('ended')\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().decode().strip()
            assert len(post(address, npy(RAMP)).json()["features"]) == 1
            process.send_signal(number)
            assert process.stdout.read() == b"ended\n"
            assert process.wait(10) == 0
        finally:
            process.kill()
