"""Contract of tile encoders: tests to inherit."""

import io
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import ClassVar

import numpy as np
import pytest
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from daskmr.core.grid import Size, Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.encode.base import TileEncoder
from daskmr.errors import RequestError

DTYPES = (
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)
BANDS = (1, 2, 3, 4, 7)
WINDOW = Window(row=120, col=300, height=37, width=53)


def image(dtype: str = "uint8", bands: int = 3) -> ImageInfo:
    """Return the header of an image in UTM with pixels of half a metre."""
    return ImageInfo(
        url="/images/contract.tif",
        height=500,
        width=900,
        bands=bands,
        dtype=dtype,
        driver="GTiff",
        crs="EPSG:32631",
        transform=(0.5, 0.0, 600_000.0, 0.0, -0.5, 5_000_000.0),
    )


def noise(dtype: str, shape: tuple[int, int, int]) -> Pixels:
    """Return pixels that nothing can compress, over the whole range of an integer type."""
    random = np.random.default_rng(7)
    kind = np.dtype(dtype).kind
    if kind in "iu":
        limits = np.iinfo(dtype)
        low, high = limits.min, limits.max
        whole: Pixels = random.integers(low, high, shape, dtype=dtype, endpoint=True)
        return whole
    values = random.normal(0.0, 100.0, (2, *shape))
    mixed: Pixels = values[0] + 1j * values[1] if kind == "c" else values[0]
    return mixed.astype(dtype)


def slope(shape: tuple[int, int, int]) -> Pixels:
    """Return a smooth image of 8 bits, which lossy formats keep nearly as it is."""
    bands, height, width = shape
    x, y = np.arange(width) / width, np.arange(height)[:, None] / height
    return np.stack([40 + 60 * x + 90 * y + 5 * band for band in range(bands)]).astype(np.uint8)


def decode(payload: bytes) -> Pixels:
    """Return the pixels of a payload that numpy or GDAL can read, shape (band, y, x)."""
    if payload.startswith(b"\x93NUMPY"):
        loaded: Pixels = np.load(io.BytesIO(payload), allow_pickle=False)
        return loaded
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile(payload) as memory, memory.open() as file:
            pixels: Pixels = file.read()
    return pixels


class EncoderContract:
    """Tests of one encoder: inherit, name the class ``Test...``, define `make`."""

    content_type: ClassVar[str]
    """Media type of payloads."""
    lossless: ClassVar[bool] = True
    """True if decoded pixels equal the encoded ones."""

    def make(self) -> TileEncoder:
        """Return the encoder under test."""
        raise NotImplementedError

    def decode(self, payload: bytes) -> Pixels:
        """Return the pixels of a payload, shape (band, y, x); override if GDAL cannot read it."""
        return decode(payload)

    def accepts(self, dtype: str, bands: int) -> bool:
        """Return whether the encoder takes images of a type and number of bands."""
        try:
            self.make().check(image(dtype, bands))
        except RequestError:
            return False
        return True

    def test_it_declares_its_media_type(self) -> None:
        assert self.make().content_type == self.content_type

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("bands", BANDS)
    def test_what_it_accepts_comes_back_and_the_rest_is_refused_with_a_reason(
        self, dtype: str, bands: int
    ) -> None:
        encoder, info = self.make(), image(dtype, bands)
        if not self.accepts(dtype, bands):
            with pytest.raises(RequestError, match=rf"contract\.tif.*({dtype}|{bands} bands)"):
                encoder.check(info)
            return
        shape = (bands, WINDOW.height, WINDOW.width)
        pixels = noise(dtype, shape) if self.lossless else slope(shape)
        decoded = self.decode(encoder.encode(pixels, info, WINDOW))
        assert decoded.shape == shape
        assert decoded.dtype == np.dtype(dtype)
        if self.lossless:
            np.testing.assert_array_equal(decoded, pixels)
        else:
            assert np.abs(decoded.astype(float) - pixels).mean() < 3.0

    def test_it_accepts_an_ordinary_image(self) -> None:
        assert self.accepts("uint8", 1)
        assert self.accepts("uint8", 3)

    @pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (300, 1), (65, 129)])
    def test_any_shape_of_tile_comes_back(self, height: int, width: int) -> None:
        window = Window(row=3, col=5, height=height, width=width)
        pixels = slope((3, height, width))
        decoded = self.decode(self.make().encode(pixels, image(), window))
        assert decoded.shape == (3, height, width)
        if self.lossless:
            np.testing.assert_array_equal(decoded, pixels)

    def test_a_view_that_is_not_contiguous_comes_back(self) -> None:
        pixels = np.moveaxis(np.ascontiguousarray(np.moveaxis(slope((3, 37, 53)), 0, -1)), -1, 0)
        same = self.make().encode(np.ascontiguousarray(pixels), image(), WINDOW)
        assert self.make().encode(pixels, image(), WINDOW) == same

    def test_threads_and_repeats_give_the_same_bytes(self) -> None:
        encoder, info = self.make(), image()
        tiles = [slope((3, 37, 53)) + np.uint8(step) for step in range(4)] * 6
        alone = [encoder.encode(pixels, info, WINDOW) for pixels in tiles]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda pixels: encoder.encode(pixels, info, WINDOW), tiles))
        assert together == alone
        assert len(set(alone)) == 4

    @pytest.mark.parametrize("side", [1, 40, 300])
    def test_the_estimate_is_not_exceeded(self, side: int) -> None:
        tile, window = Size(height=side, width=side), Window(row=0, col=0, height=side, width=side)
        for dtype, bands in product(["uint8", "uint16", "float32"], BANDS):
            if self.accepts(dtype, bands):
                info, pixels = image(dtype, bands), noise(dtype, (bands, side, side))
                payload = self.make().encode(pixels, info, window)
                assert len(payload) <= self.make().payload_bytes(info, tile), (dtype, bands)

    def test_it_is_plain_data(self) -> None:
        encoder = self.make()
        assert pickle.loads(pickle.dumps(encoder)) == encoder  # noqa: S301
        assert hash(encoder) == hash(self.make())
