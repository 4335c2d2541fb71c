"""Reading a region: each pixel once, one strip at a time, failures stay where they are."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core.grid import RegionGrid, Size, TileGrid, Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.errors import ImageReadError
from daskmr.worker.reader import tile_pixels


@dataclass
class Recording:
    """An image in memory that remembers what was read of it."""

    pixels: Pixels
    broken_rows: range = range(0)
    windows: list[Window] = field(default_factory=list)

    def header(self) -> ImageInfo:
        bands, height, width = self.pixels.shape
        return ImageInfo(
            url="memory", height=height, width=width, bands=bands, dtype="uint32", driver="array"
        )

    def read(self, window: Window) -> Pixels:
        self.windows.append(window)
        if any(window.row <= row < window.row_stop for row in self.broken_rows):
            msg = f"memory: {window} is broken"
            raise ImageReadError(msg)
        return self.pixels[:, window.row : window.row_stop, window.col : window.col_stop]

    def check(self) -> None:
        pass

    def read_valid(self, window: Window) -> None:
        return None


def image(height: int, width: int) -> Recording:
    return Recording(np.arange(2 * height * width, dtype=np.uint32).reshape(2, height, width))


def grid(height: int, width: int, tile: int, overlap: int) -> TileGrid:
    return TileGrid(
        window=Window(row=0, col=0, height=height, width=width),
        tile=Size.parse(tile),
        overlap=Size.parse(overlap),
    )


@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(4, 40),
    st.integers(0, 3),
    st.integers(1, 4),
    st.integers(0, 2**31),
)
def test_every_selected_tile_has_its_own_pixels_and_none_is_read_twice(
    height: int, width: int, tile: int, overlap: int, side: int, seed: int
) -> None:
    made = grid(height, width, tile, overlap)
    mask = np.random.default_rng(seed).random(made.shape) < 0.6
    for region in RegionGrid(grid=made, tiles_per_side=Size.parse(side)):
        source = image(height, width)
        own = mask[region.rows.start : region.rows.stop, region.cols.start : region.cols.stop]
        found = []
        for one, pixels in tile_pixels(made, region, own, source=source):
            w = one.window
            assert not isinstance(pixels, ImageReadError)
            whole = source.pixels[:, w.row : w.row_stop, w.col : w.col_stop]
            assert np.array_equal(pixels, whole)
            found.append((one.row, one.col))
        expected = [(i, j) for i in region.rows for j in region.cols if mask[i, j]]
        assert found == expected
        count = np.zeros((height, width), dtype=int)
        for window in source.windows:
            count[window.row : window.row_stop, window.col : window.col_stop] += 1
        assert count.max(initial=0) <= 1


def test_tiles_over_unreadable_rows_fail_and_the_others_do_not() -> None:
    made = grid(100, 40, 20, 0)
    source = image(100, 40)
    source.broken_rows = range(45, 46)
    (region,) = RegionGrid(grid=made, tiles_per_side=Size.parse(9))
    outcome = {
        (one.row, one.col): isinstance(pixels, ImageReadError)
        for one, pixels in tile_pixels(made, region, np.ones(made.shape, bool), source=source)
    }
    assert outcome == {(i, j): i == 2 for i in range(5) for j in range(2)}


def test_a_region_holds_one_row_of_tiles_at_most() -> None:
    made = grid(500, 500, 50, 10)
    source = image(500, 500)
    (region,) = RegionGrid(grid=made, tiles_per_side=Size.parse(99))
    n_tiles = sum(1 for _ in tile_pixels(made, region, np.ones(made.shape, bool), source=source))
    assert n_tiles == made.shape[0] * made.shape[1]
    assert max(window.height for window in source.windows) <= 50
