"""Contract of sources of pixels: tests to inherit."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from daskmr.core.grid import Window
from daskmr.core.imagery import Pixels
from daskmr.image.base import Source

PIXELS: Pixels = np.random.default_rng(8).integers(0, 9999, (2, 150, 210), dtype=np.uint16)
"""Pixels that a subclass stores, shape (band, y, x)."""


class SourceContract:
    """Tests of one source: inherit, name the class ``Test...``, define `make`."""

    def make(self, pixels: Pixels, folder: Path) -> Source:
        """Return a source of exactly these pixels, stored below *folder*."""
        raise NotImplementedError

    def test_the_header_tells_shape_and_type(self, tmp_path: Path) -> None:
        info = self.make(PIXELS, tmp_path).header()
        assert (info.bands, info.height, info.width) == PIXELS.shape
        assert info.dtype == "uint16"
        assert info.block_height >= 1
        assert info.block_width >= 1

    def test_a_window_is_the_same_part_of_the_whole(self, tmp_path: Path) -> None:
        source = self.make(PIXELS, tmp_path)
        whole = Window(row=0, col=0, height=150, width=210)
        assert np.array_equal(source.read(whole), PIXELS)
        for row, col, height, width in [(0, 0, 1, 1), (149, 209, 1, 1), (37, 64, 90, 101)]:
            pixels = source.read(Window(row=row, col=col, height=height, width=width))
            assert pixels.dtype == PIXELS.dtype
            assert np.array_equal(pixels, PIXELS[:, row : row + height, col : col + width])

    def test_it_works_after_pickling_and_in_many_threads(self, tmp_path: Path) -> None:
        source: Source = pickle.loads(pickle.dumps(self.make(PIXELS, tmp_path)))  # noqa: S301
        windows = [Window(row=r, col=9, height=20, width=80) for r in range(0, 130, 5)]
        with ThreadPoolExecutor(8) as pool:
            for window, pixels in zip(windows, pool.map(source.read, windows), strict=True):
                assert np.array_equal(pixels, PIXELS[:, window.row : window.row_stop, 9:89])

    def test_it_compares_and_hashes_by_value(self, tmp_path: Path) -> None:
        source = self.make(PIXELS, tmp_path)
        again = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own bytes
        assert again == source
        assert hash(again) == hash(source)
