"""The tile grid: cover, overlap, full size, ownership; cases T of the ancestor."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core.grid import Region, RegionGrid, Size, Strategy, TileGrid, Window, starts


def grid(
    window: tuple[int, int, int, int], tile: int, overlap: int, *, strategy: Strategy = "cover"
) -> TileGrid:
    """A grid of square tiles; the window is row, col, width, height as the cases write it."""
    row, col, width, height = window
    return TileGrid(
        window=Window(row=row, col=col, height=height, width=width),
        tile=Size.parse(tile),
        overlap=Size.parse(overlap),
        strategy=strategy,
    )


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int, int]:
    tile = draw(st.integers(1, 4096))
    overlap = draw(st.integers(0, tile - 1))
    extent = draw(st.integers(1, 200_000))
    if (extent - overlap) // (tile - overlap) > 20_000:
        extent = tile + (tile - overlap) * draw(st.integers(0, 20_000))
    return extent, tile, overlap


@given(axes())
def test_tiles_of_an_axis_reach_its_end_with_full_size_and_least_overlap(
    axis: tuple[int, int, int],
) -> None:
    extent, tile, overlap = axis
    first = starts(extent, tile, overlap)
    if extent <= tile:
        assert first.tolist() == [0]
        return
    assert first[0] == 0
    assert first[-1] + tile == extent
    shared = first[:-1] + tile - first[1:]
    assert shared.min() >= overlap
    assert np.all(np.diff(first) > 0)
    assert len(first) == -(-(extent - overlap) // (tile - overlap))


@given(axes())
def test_fixed_tiles_keep_their_stride_and_reach_the_end(axis: tuple[int, int, int]) -> None:
    extent, tile, overlap = axis
    first = starts(extent, tile, overlap, strategy="fixed")
    assert np.all(np.diff(first) == tile - overlap)
    assert first[-1] < extent
    assert first[-1] + tile >= extent
    if extent > tile:
        assert extent - first[-1] > overlap


small_grids = st.builds(
    grid,
    st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(1, 300), st.integers(1, 300)),
    st.integers(8, 90),
    st.integers(0, 7),
    strategy=st.sampled_from(["cover", "fixed"]),
)


@given(small_grids)
def test_every_pixel_is_in_some_tile_and_no_tile_leaves_the_window(grid: TileGrid) -> None:
    seen = np.zeros((grid.window.height, grid.window.width), dtype=np.int64)
    for tile in grid.tiles():
        w = tile.window
        assert w.row >= grid.window.row
        assert w.col >= grid.window.col
        assert w.row_stop <= grid.window.row_stop
        assert w.col_stop <= grid.window.col_stop
        top, left = w.row - grid.window.row, w.col - grid.window.col
        seen[top : top + w.height, left : left + w.width] += 1
        if grid.strategy == "cover":
            assert w.height == min(grid.tile.height, grid.window.height)
            assert w.width == min(grid.tile.width, grid.window.width)
    assert seen.min() >= 1


@given(small_grids, st.integers(1, 9), st.integers(1, 9))
def test_each_tile_belongs_to_exactly_one_region(grid: TileGrid, high: int, wide: int) -> None:
    regions = RegionGrid(grid=grid, tiles_per_side=Size(height=high, width=wide))
    owned = [(t.row, t.col) for region in regions for t in grid.tiles(region)]
    assert sorted(owned) == sorted((t.row, t.col) for t in grid.tiles())
    assert len(set(owned)) == len(owned)


@given(small_grids, st.integers(1, 9), st.integers(1, 9))
def test_the_tiles_are_the_same_for_every_region_size(
    grid: TileGrid, first: int, second: int
) -> None:
    def tiles(side: int) -> set[Window]:
        regions = RegionGrid(grid=grid, tiles_per_side=Size.parse(side))
        return {t.window for region in regions for t in grid.tiles(region)}

    assert tiles(first) == tiles(second)


@given(small_grids, st.integers(1, 9))
def test_a_region_reads_exactly_the_union_of_its_tiles(grid: TileGrid, side: int) -> None:
    for region in RegionGrid(grid=grid, tiles_per_side=Size.parse(side)):
        windows = [t.window for t in grid.tiles(region)]
        found = grid.region_window(region)
        assert found.row == min(w.row for w in windows)
        assert found.col == min(w.col for w in windows)
        assert found.row_stop == max(w.row_stop for w in windows)
        assert found.col_stop == max(w.col_stop for w in windows)


@given(small_grids, st.integers(1, 9))
def test_region_cores_start_where_regions_start_and_fill_the_window(
    grid: TileGrid, side: int
) -> None:
    regions = RegionGrid(grid=grid, tiles_per_side=Size.parse(side))
    heights, widths = regions.cores()
    assert sum(heights) == grid.window.height
    assert sum(widths) == grid.window.width
    assert (len(heights), len(widths)) == regions.shape
    for region in regions:
        window = grid.region_window(region)
        assert window.row == grid.window.row + sum(heights[: region.row])
        assert window.col == grid.window.col + sum(widths[: region.col])


@given(small_grids)
def test_boxes_are_the_tiles_in_row_major_order(grid: TileGrid) -> None:
    expected = [
        [t.window.col, t.window.row, t.window.col_stop, t.window.row_stop] for t in grid.tiles()
    ]
    assert grid.boxes().tolist() == expected


COVER = {
    # case: window (row, col, width, height), tile, overlap, columns, rows
    "T5": (
        (0, 0, 25000, 12000),
        4096,
        100,
        [0, 3484, 6968, 10452, 13936, 17420, 20904],
        [0, 3952, 7904],
    ),
    "T6": ((0, 0, 7580, 8048), 4096, 100, [0, 3484], [0, 3952]),
    "T7": ((0, 20904, 4096, 8048), 4096, 100, [20904], [0, 3952]),
    "T8": ((7904, 13936, 7580, 4096), 4096, 100, [13936, 17420], [7904]),
    "T9": ((10, 50, 1024, 2048), 4096, 100, [50], [10]),
    "T10": (
        (200, 8000, 17000, 11800),
        4096,
        100,
        [8000, 11226, 14452, 17678, 20904],
        [200, 4052, 7904],
    ),
    "T11": ((0, 0, 12000, 2000), 4096, 100, [0, 3952, 7904], [0]),
    "T20": (
        (0, 0, 3376, 2576),
        512,
        128,
        [0, 358, 716, 1074, 1432, 1790, 2148, 2506, 2864],
        [0, 344, 688, 1032, 1376, 1720, 2064],
    ),
    "T28": ((0, 0, 1024, 1024), 1024, 50, [0], [0]),
    "T29": ((0, 0, 1025, 1024), 1024, 50, [0, 1], [0]),
    "T30": ((0, 0, 2000, 1024), 1024, 50, [0, 488, 976], [0]),
    "T31": ((0, 0, 2048, 1024), 1024, 50, [0, 512, 1024], [0]),
    "T32": ((0, 0, 5000, 1024), 1024, 50, [0, 795, 1590, 2386, 3181, 3976], [0]),
    "T37": ((0, 0, 5000, 5000), 1024, 0, [0, 994, 1988, 2982, 3976], [0, 994, 1988, 2982, 3976]),
    "T38": ((0, 0, 2000, 1500), 512, 128, [0, 372, 744, 1116, 1488], [0, 329, 659, 988]),
    "T39": ((0, 0, 1500, 40), 1024, 50, [0, 476], [0]),
    "T40": ((0, 0, 50, 50), 1024, 50, [0], [0]),
    "T41": ((0, 0, 51, 51), 1024, 50, [0], [0]),
    "T45": ((0, 0, 1024, 1024), 512, 128, [0, 256, 512], [0, 256, 512]),
}


@pytest.mark.parametrize("case", COVER)
def test_tile_origins_of_the_ancestors_cases(case: str) -> None:
    window, tile, overlap, cols, rows = COVER[case]
    made = grid(window, tile, overlap)
    assert made.cols.tolist() == cols
    assert made.rows.tolist() == rows


COUNTS = {
    "T21": ((0, 0, 6679, 3859), 512, 128, 18 * 10),
    "T23": ((0, 0, 10000, 10000), 1024, 50, 121),
    "T24": ((0, 0, 10000, 10000), 512, 128, 676),
    "T27": ((0, 0, 30000, 20000), 512, 128, 4056),
    "T36": ((0, 0, 200_000, 200_000), 512, 128, 271_441),
    "large": ((0, 0, 12987, 12438), 512, 128, 1122),
}


@pytest.mark.parametrize("case", COUNTS)
def test_as_many_tiles_as_the_ancestor_but_none_of_the_edge_lost(case: str) -> None:
    window, tile, overlap, n = COUNTS[case]
    made = grid(window, tile, overlap)
    assert made.shape[0] * made.shape[1] == n
    assert made.cols[-1] + tile == window[2]
    assert made.rows[-1] + tile == window[3]


def test_small_images_give_one_tile_of_their_own_size() -> None:
    (tile,) = grid((0, 0, 50, 50), 1024, 50).tiles()
    assert tile.window == Window(row=0, col=0, height=50, width=50)
    flat = [t.window for t in grid((0, 0, 1500, 40), 1024, 50).tiles()]
    assert [(w.height, w.width) for w in flat] == [(40, 1024), (40, 1024)]


FIXED = {
    "T1": (
        (5, 10, 1024, 1024),
        300,
        44,
        [(10, 300), (266, 300), (522, 300), (778, 256)],
        [(5, 300), (261, 300), (517, 300), (773, 256)],
    ),
    "T2": (
        (0, 0, 5000, 2500),
        2048,
        0,
        [(0, 2048), (2048, 2048), (4096, 904)],
        [(0, 2048), (2048, 452)],
    ),
    "T3": (
        (150, 150, 5000, 5000),
        2048,
        1024,
        [(150, 2048), (1174, 2048), (2198, 2048), (3222, 1928)],
        [(150, 2048), (1174, 2048), (2198, 2048), (3222, 1928)],
    ),
    "T15": (
        (0, 0, 10000, 10000),
        4096,
        100,
        [(0, 4096), (3996, 4096), (7992, 2008)],
        [(0, 4096), (3996, 4096), (7992, 2008)],
    ),
    "T16": (
        (0, 19800, 5200, 10000),
        4096,
        100,
        [(19800, 4096), (23796, 1204)],
        [(0, 4096), (3996, 4096), (7992, 2008)],
    ),
    "T17": (
        (9900, 9900, 10000, 2100),
        4096,
        100,
        [(9900, 4096), (13896, 4096), (17892, 2008)],
        [(9900, 2100)],
    ),
    "T43": (
        (0, 0, 2000, 2000),
        1024,
        50,
        [(0, 1024), (974, 1024), (1948, 52)],
        [(0, 1024), (974, 1024), (1948, 52)],
    ),
    "T44": ((0, 0, 1998, 1024), 1024, 50, [(0, 1024), (974, 1024)], [(0, 1024)]),
}


@pytest.mark.parametrize("case", FIXED)
def test_fixed_strategy_cuts_the_ancestors_crops(case: str) -> None:
    window, tile, overlap, cols, rows = FIXED[case]
    made = [t.window for t in grid(window, tile, overlap, strategy="fixed").tiles()]
    expected = [
        Window(row=row, col=col, height=height, width=width)
        for row, height in rows
        for col, width in cols
    ]
    assert made == expected


@pytest.mark.parametrize(
    ("window", "n_cols", "n_rows"),
    [
        ((0, 0, 25000, 12000), 7, 3),  # T12: 32 tiles there, since regions cut the grid anew
        ((200, 8000, 17000, 11800), 5, 3),  # T13: 20 there
        ((0, 0, 12000, 2000), 3, 1),  # T14
    ],
)
def test_fixed_tiles_do_not_depend_on_regions(
    window: tuple[int, int, int, int], n_cols: int, n_rows: int
) -> None:
    assert grid(window, 4096, 100, strategy="fixed").shape == (n_rows, n_cols)


@pytest.mark.parametrize(
    ("tile", "overlap", "named"),
    [(300, 301, "301"), (512, 512, "512"), (0, 0, "0"), (16, -1, "-1")],
)
def test_sizes_that_cannot_tile_are_refused_by_name(tile: int, overlap: int, named: str) -> None:
    with pytest.raises(ValueError, match=named):  # T4, T42 and the like
        TileGrid(
            window=Window(row=0, col=0, height=100, width=100),
            tile=Size(height=tile, width=tile),
            overlap=Size(height=overlap, width=overlap),
        )


def test_tiles_and_overlaps_may_be_rectangular() -> None:
    made = TileGrid(
        window=Window(row=0, col=0, height=1000, width=2000),
        tile=Size.parse("640x480"),
        overlap=Size.parse("64x0"),
    )
    assert made.tile == Size(height=480, width=640)
    assert [b - a <= 576 for a, b in pairwise(made.cols.tolist())] == [True] * 3
    assert made.rows.tolist() == [0, 260, 520]


@pytest.mark.parametrize("value", ["", "512x", "axb", "1x2x3", "-5", (1, 2, 3)])
def test_what_is_no_size_is_refused_by_name(value: object) -> None:
    with pytest.raises(ValueError, match="not a size"):
        Size.parse(value)  # type: ignore[arg-type]


def test_planning_a_huge_grid_makes_arrays_not_tiles() -> None:
    made = grid((0, 0, 200_000, 200_000), 512, 128)
    regions = RegionGrid(grid=made, tiles_per_side=Size.parse(16))
    assert regions.shape == (33, 33)
    last = regions.region(32, 32)
    assert last == Region(row=32, col=32, rows=range(512, 521), cols=range(512, 521))
    assert made.region_window(last).col_stop == 200_000
