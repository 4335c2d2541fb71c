"""Files that GDAL reads: headers, windows, masks, empty blocks, and what goes wrong."""

import multiprocessing
import pickle
import threading
import uuid
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daskmr.core.grid import Window
from daskmr.core.imagery import Pixels
from daskmr.errors import ImageError, ImageReadError, SourceChangedError
from daskmr.image import Image, open_image
from daskmr.image.raster import RasterSource
from daskmr.testing.contracts_image import SourceContract
from daskmr.testing.images import HALF_METRE, UTM, write_image, write_sparse, writing

PIXELS = np.random.default_rng(0).integers(0, 255, (3, 200, 300), dtype=np.uint8)
WHOLE = Window(row=0, col=0, height=200, width=300)
PART = Window(row=37, col=101, height=64, width=150)


def source(image: Image) -> RasterSource:
    assert isinstance(image.source, RasterSource)
    return image.source


class TestRasterSource(SourceContract):
    def make(self, pixels: Pixels, folder: Path) -> RasterSource:
        path = write_image(folder / "x.tif", pixels, tiled=True, compress="deflate")
        return RasterSource(url=str(path))


def test_a_header_says_what_the_file_says(tmp_path: Path) -> None:
    path = write_image(
        tmp_path / "x.tif",
        PIXELS,
        crs=UTM,
        transform=HALF_METRE,
        nodata=3,
        tiled=True,
        blockxsize=128,
        blockysize=64,
    )
    info = open_image(path).info
    assert (info.height, info.width, info.bands, info.dtype) == (200, 300, 3, "uint8")
    assert (info.block_height, info.block_width, info.nodata) == (64, 128, 3.0)
    assert info.transform == HALF_METRE
    assert "UTM zone 18N" in str(info.crs)
    assert (info.driver, info.format, info.has_mask, info.has_affine) == (
        "GTiff",
        "TIFF",
        False,
        True,
    )
    assert info.url == str(path)
    assert info.colorinterp == ("red", "green", "blue")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "complex64"])
def test_a_window_is_the_same_part_of_the_whole(dtype: str, tmp_path: Path) -> None:
    pixels = PIXELS.astype(dtype)
    made = source(open_image(write_image(tmp_path / "x.tif", pixels)))
    assert np.array_equal(made.read(WHOLE), pixels)
    found = made.read(PART)
    assert found.dtype == np.dtype(dtype)
    assert np.array_equal(found, pixels[:, 37:101, 101:251])


def test_a_source_works_after_pickling_and_in_many_threads(tmp_path: Path) -> None:
    path = write_image(tmp_path / "x.tif", PIXELS, compress="deflate", tiled=True)
    made: RasterSource = pickle.loads(pickle.dumps(source(open_image(path))))  # noqa: S301
    windows = [Window(row=r, col=c, height=40, width=50) for r in range(0, 160, 8) for c in (0, 99)]
    with ThreadPoolExecutor(8) as pool:
        for window, found in zip(windows, pool.map(made.read, windows), strict=True):
            expected = PIXELS[:, window.row : window.row_stop, window.col : window.col_stop]
            assert np.array_equal(found, expected)


def test_the_lazy_array_is_the_file(tmp_path: Path) -> None:
    image = open_image(write_image(tmp_path / "x.tif", PIXELS, crs=UTM, transform=HALF_METRE))
    data = image.data
    assert data.dims == ("band", "y", "x")
    assert data.chunks[0] == (3,)
    assert np.array_equal(data.values, PIXELS)
    cut = image.chunked((30, 34), (100, 50), window=PART)
    assert cut.chunks == ((3,), (30, 34), (100, 50))
    assert np.array_equal(cut.values, PIXELS[:, 37:101, 101:251])
    assert float(cut.x[0]) == 583_000 + 0.5 * 101.5


def test_truncated_files_are_refused_or_fail_where_they_are_broken(tmp_path: Path) -> None:
    path = write_image(tmp_path / "x.tif", PIXELS)
    whole = path.read_bytes()
    path.write_bytes(whole[:60])
    with pytest.raises(ImageError, match=r"x\.tif"):
        open_image(path)
    path.write_bytes(whole[: len(whole) // 2])
    made = source(open_image(path))
    assert np.array_equal(made.read(Window(row=0, col=0, height=20, width=300)), PIXELS[:, :20])
    with pytest.raises(ImageReadError, match=r"x\.tif: cannot read rows 150 to 200"):
        made.read(Window(row=150, col=0, height=50, width=300))


def test_a_file_that_changed_since_it_was_planned_is_not_read(tmp_path: Path) -> None:
    path = write_image(tmp_path / "x.tif", PIXELS)
    made = source(open_image(path))
    write_image(path, PIXELS[:, :100])
    with pytest.raises(SourceChangedError, match="changed since it was planned"):
        made.read(PART)


def test_empty_blocks_are_known_from_the_index(tmp_path: Path) -> None:
    path = write_sparse(tmp_path / "x.tif", height=1500, width=2100, bands=2, nodata=0)
    image = open_image(path)
    found = image.empty_blocks()
    assert found is not None
    assert found.shape == (3, 5)
    assert found.all()
    profile = {
        "driver": "GTiff",
        "height": 1500,
        "width": 2100,
        "count": 2,
        "dtype": "uint8",
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
        "sparse_ok": True,
    }
    for interleave in ("pixel", "band"):
        some = tmp_path / f"{interleave}.tif"
        with writing(some, {**profile, "interleave": interleave}) as write:
            write(600, 1100, np.ones((2, 10, 10), np.uint8))
        expected = np.ones((3, 5), bool)
        expected[1, 2] = False
        partly = open_image(some).empty_blocks()
        assert partly is not None
        assert np.array_equal(partly, expected)
    png = write_image(tmp_path / "x.png", PIXELS, driver="PNG")
    assert open_image(png).empty_blocks() is None


def test_an_alpha_band_says_what_is_valid(tmp_path: Path) -> None:
    pixels = np.full((4, 64, 64), 255, np.uint8)
    pixels[3, :32] = 0
    path = write_image(tmp_path / "x.tif", pixels, photometric="RGB", alpha="yes")
    image = open_image(path)
    assert image.info.has_mask
    valid = source(image).read_valid(Window(row=30, col=0, height=4, width=5))
    assert valid is not None
    assert valid.tolist() == [[False] * 5, [False] * 5, [True] * 5, [True] * 5]


def test_an_internal_mask_says_what_is_valid(tmp_path: Path) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:, 3:] = 255
    profile = {"driver": "GTiff", "height": 64, "width": 64, "count": 3, "dtype": "uint8"}
    with (
        warnings.catch_warnings(action="ignore"),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"),
        rasterio.io.DatasetWriter(str(tmp_path / "x.tif"), "w", sparse_ok=True, **profile) as made,
    ):
        made.write_mask(mask)
    image = open_image(tmp_path / "x.tif")
    assert image.info.has_mask
    valid = source(image).read_valid(Window(row=9, col=1, height=2, width=4))
    assert valid is not None
    assert valid.tolist() == [[False, False, True, True]] * 2
    empty = image.empty_blocks()
    assert empty is not None
    assert empty.all()


def test_a_nodata_value_is_no_mask(tmp_path: Path) -> None:
    image = open_image(write_image(tmp_path / "x.tif", PIXELS, nodata=int(PIXELS[0, 0, 0])))
    assert not image.info.has_mask
    assert source(image).read_valid(PART) is None


def test_an_alpha_band_counts_beside_a_nodata_value(tmp_path: Path) -> None:
    pixels = np.full((4, 64, 64), 255, np.uint8)
    pixels[3, :32] = 0
    path = write_image(tmp_path / "x.tif", pixels, photometric="RGB", alpha="yes", nodata=255)
    image = open_image(path)
    assert image.info.has_mask
    valid = source(image).read_valid(Window(row=31, col=0, height=2, width=2))
    assert valid is not None
    assert valid.tolist() == [[False, False], [True, True]]


def test_complex_integers_are_read_as_complex_floats(tmp_path: Path) -> None:
    profile = {"driver": "GTiff", "height": 8, "width": 9, "count": 1, "dtype": "complex_int16"}
    with writing(tmp_path / "x.tif", profile) as write:
        write(0, 0, np.full((1, 8, 9), 3 - 4j, np.complex64))
    image = open_image(tmp_path / "x.tif")
    found = source(image).read(Window(row=1, col=1, height=2, width=2))
    assert image.info.dtype == found.dtype.name == image.data.dtype.name == "complex64"
    assert np.unique(found).tolist() == [3 - 4j]


def test_a_window_that_leaves_the_image_is_an_error_and_not_a_smaller_one(tmp_path: Path) -> None:
    made = source(open_image(write_image(tmp_path / "x.tif", PIXELS)))
    with pytest.raises(ImageReadError, match=r"rows 150 to 201, .* the image is 300 x 200 only"):
        made.read(Window(row=150, col=0, height=51, width=10))


def test_few_files_stay_open_however_many_are_read(tmp_path: Path) -> None:
    path = tmp_path / "0.tif"
    write_image(path, PIXELS)
    sources = []
    for number in range(40):
        copy = tmp_path / f"{number}.tif"
        if number:
            copy.write_bytes(path.read_bytes())
        sources.append(source(open_image(copy)))
    for made in (*sources, *sources):
        assert np.array_equal(made.read(PART), PIXELS[:, 37:101, 101:251])
    held = [file for file in psutil.Process().open_files() if Path(file.path).parent == tmp_path]
    assert 0 < len(held) <= 16


def test_the_lazy_array_is_read_in_other_processes(tmp_path: Path) -> None:
    path = write_image(tmp_path / "x.tif", PIXELS, tiled=True, blockxsize=64, blockysize=64)
    cut = open_image(path).chunked((30, 34), (150,), window=PART)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        assert np.array_equal(cut.compute(scheduler=pool).values, PIXELS[:, 37:101, 101:251])


FILES = {"GTiff": "x.tif", "NITF": "x.ntf", "PNG": "x.png", "JP2OpenJPEG": "x.jp2"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    made = {}
    for driver, name in FILES.items():
        made[name] = write_image(folder / name, PIXELS, driver=driver).read_bytes()
    return made


# GDAL words some complaints in bytes that rasterio's log cannot decode.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", FILES.values())
@settings(
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(drawn=st.data())
def test_broken_bytes_give_an_image_or_an_image_error(
    name: str, files: dict[str, bytes], tmp_path: Path, drawn: st.DataObject
) -> None:
    broken = bytearray(files[name])
    for _ in range(drawn.draw(st.integers(1, 6))):
        broken[drawn.draw(st.integers(0, 1500))] = drawn.draw(st.integers(0, 255))
    path = tmp_path / f"{uuid.uuid4().hex}{name}"
    path.write_bytes(broken[: drawn.draw(st.integers(20, len(broken)))])
    with suppress(ImageError):
        image = open_image(path)
        image.empty_blocks()
        assert min(image.info.height, image.info.width, image.info.bands) >= 1
        if max(image.info.height, image.info.width) < 4096:
            window = Window(row=0, col=0, height=1, width=1)
            source(image).read_valid(window)
            assert source(image).read(window).shape == (image.info.bands, 1, 1)


class _Ranges(BaseHTTPRequestHandler):
    """Serves one file by ranges and counts the bytes."""

    content: bytes = b""
    sent: list[int]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        wanted = self.headers.get("Range")
        start, stop = 0, len(self.content)
        if wanted:
            first, last = wanted.removeprefix("bytes=").split("-")
            start, stop = int(first), min(int(last or stop - 1) + 1, stop)
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(self.content)}")
        self.end_headers()
        if body:
            self.sent.append(stop - start)
            self.wfile.write(self.content[start:stop])

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def ranges() -> Iterator[Any]:
    """URL of a server for some bytes, and the sizes of what it sent."""
    servers = []

    def serve(content: bytes) -> tuple[str, list[int]]:
        handler = type("Handler", (_Ranges,), {"content": content, "sent": []})
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/x.tif", handler.sent  # type: ignore[attr-defined]

    yield serve
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


def test_opening_over_http_reads_the_header_only(ranges: Any, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (3, 2000, 2000), dtype=np.uint8)
    path = write_image(tmp_path / "x.tif", pixels, tiled=True)
    url, sent = ranges(path.read_bytes())
    image = open_image(url)
    assert image.info.width == 2000
    assert image.data.shape == (3, 2000, 2000)
    assert sum(sent) < path.stat().st_size / 20
    window = Window(row=300, col=500, height=200, width=100)
    assert np.array_equal(source(image).read(window), pixels[:, 300:500, 500:600])


def test_images_in_object_stores_are_read(s3: Any, tmp_path: Path) -> None:
    path = write_image(tmp_path / "x.tif", PIXELS, tiled=True)
    s3.upload_file(str(path), "bucket", "some/x.tif")
    image = open_image("s3://bucket/some/x.tif")
    assert np.array_equal(source(image).read(PART), PIXELS[:, 37:101, 101:251])
    with pytest.raises(ImageError, match=r"s3://bucket/none\.tif"):
        open_image("s3://bucket/none.tif")
