"""Which tiles are run: packing, areas of interest, empty storage blocks."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from daskmr.core.grid import Region, Size, TileGrid, Window
from daskmr.core.selection import Selection, over_empty_blocks, tiles_touching

masks = arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))


def grid(height: int, width: int, tile: int, overlap: int) -> TileGrid:
    return TileGrid(
        window=Window(row=0, col=0, height=height, width=width),
        tile=Size.parse(tile),
        overlap=Size.parse(overlap),
    )


@given(masks)
def test_a_packed_mask_comes_back_as_it_was(mask: np.ndarray) -> None:
    assert np.array_equal(Selection.of(mask).mask, mask)


def test_a_mask_is_inflated_once_and_cannot_be_changed() -> None:
    selection = Selection.of(np.ones((3, 4), dtype=bool))
    assert selection.mask is Selection.of(np.ones((3, 4), dtype=bool)).mask
    with pytest.raises(ValueError, match="read-only"):
        selection.mask[0, 0] = False


def test_a_region_sees_its_own_part_of_the_mask() -> None:
    mask = np.arange(20).reshape(4, 5) % 3 == 0
    region = Region(row=1, col=1, rows=range(2, 4), cols=range(3, 5))
    assert np.array_equal(Selection.of(mask).of_region(region), mask[2:4, 3:5])


def test_a_full_selection_of_a_huge_grid_is_small() -> None:
    assert len(Selection.of(np.ones((521, 521), dtype=bool)).packed) < 200


def test_tiles_that_share_area_are_selected_and_touching_ones_are_not() -> None:
    made = grid(300, 300, 100, 0)
    corner = shapely.box(0, 0, 100, 100)
    assert tiles_touching(made, corner).tolist() == [[True, False, False], [False] * 3, [False] * 3]
    hole = shapely.box(0, 0, 300, 300).difference(shapely.box(100, 100, 200, 200))
    assert tiles_touching(made, hole).tolist() == [[True] * 3, [True, False, True], [True] * 3]


@given(
    st.integers(1, 120),
    st.integers(1, 120),
    st.integers(8, 50),
    st.integers(4, 40),
    st.randoms(use_true_random=False),
)
def test_a_tile_is_empty_when_every_block_below_it_is(
    height: int, width: int, tile: int, block: int, random: "object"
) -> None:
    made = grid(height, width, tile, 3)
    shape = (-(-height // block), -(-width // block))
    generator = np.random.default_rng(getattr(random, "randint")(0, 2**31))  # noqa: B009
    empty = generator.random(shape) < 0.7
    pixels = np.kron(empty, np.ones((block, block), dtype=bool))[:height, :width]
    expected = [
        bool(pixels[w.row : w.row_stop, w.col : w.col_stop].all())
        for w in (t.window for t in made.tiles())
    ]
    assert over_empty_blocks(made, empty, (block, block)).ravel().tolist() == expected
