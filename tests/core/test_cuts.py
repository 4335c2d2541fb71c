"""Features that the edge of a tile has cut: edges between tiles count, not those of the image."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core.cuts import cut
from daskmr.core.grid import Size, TileGrid, Window

GRID = TileGrid(
    window=Window(row=0, col=0, height=300, width=200), tile=Size.parse(100), overlap=Size.parse(0)
)


def cuts(box: tuple[float, float, float, float], row: int, col: int) -> bool:
    rows, cols = np.array([row]), np.array([col])
    return bool(cut(GRID, np.array([box]), rows=rows, cols=cols)[0])


def test_only_edges_between_tiles_cut() -> None:
    assert not cuts((10, 10, 20, 20), 0, 0)
    assert not cuts((0, 0, 20, 20), 0, 0)
    assert cuts((90, 10, 100, 20), 0, 0)
    assert cuts((10, 90, 20, 99.5), 0, 0)
    assert cuts((100, 10, 110, 20), 0, 100)
    assert not cuts((190, 10, 200, 20), 0, 100)
    assert cuts((10, 200, 20, 220), 200, 0)
    assert not cuts((10, 280, 20, 300), 200, 0)


@given(st.integers(0, 2), st.integers(0, 1), st.lists(st.floats(0, 100), min_size=4, max_size=4))
def test_a_box_well_inside_its_tile_is_whole(i: int, j: int, sides: list[float]) -> None:
    x0, x1 = sorted((2 + 0.96 * sides[0], 2 + 0.96 * sides[1]))
    y0, y1 = sorted((2 + 0.96 * sides[2], 2 + 0.96 * sides[3]))
    box = (j * 100 + x0, i * 100 + y0, j * 100 + x1, i * 100 + y1)
    assert not cuts(box, i * 100, j * 100)
