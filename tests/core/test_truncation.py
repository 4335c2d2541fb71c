"""Features that the edge of a tile has cut: edges between tiles count, not those of the image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core.arrays import Mask
from daskmr.core.boxes import polygons
from daskmr.core.features import COLUMNS, TEXT, table
from daskmr.core.grid import Size, TileGrid, Window
from daskmr.core.truncation import (
    BOTTOM,
    CUT,
    LEFT,
    MERGED_FROM,
    RIGHT,
    TOP,
    add_quality,
    cuts,
    distances,
    flag_cuts,
    is_joined,
    margin_px,
    sides,
)

GRID = TileGrid(
    window=Window(row=0, col=0, height=300, width=200), tile=Size.parse(100), overlap=Size.parse(0)
)
Box = tuple[float, float, float, float]


def bits(box: Box, row: int, col: int, run: Mask | None = None) -> int:
    rows, cols = np.array([row]), np.array([col])
    return int(sides(GRID, np.array([box]), rows=rows, cols=cols, run=run)[0])


def distance(box: Box, row: int, col: int) -> float:
    return float(distances(GRID, np.array([box]), rows=np.array([row]), cols=np.array([col]))[0])


def test_only_edges_between_tiles_cut() -> None:
    assert not bits((10, 10, 20, 20), 0, 0)
    assert not bits((0, 0, 20, 20), 0, 0)
    assert bits((90, 10, 100, 20), 0, 0) == RIGHT
    assert bits((10, 90, 20, 99.5), 0, 0) == BOTTOM
    assert bits((100, 10, 110, 20), 0, 100) == LEFT
    assert not bits((190, 10, 200, 20), 0, 100)
    assert bits((10, 200, 20, 220), 200, 0) == TOP
    assert not bits((10, 280, 20, 300), 200, 0)
    assert bits((0, 100, 100, 200), 100, 0) == TOP | RIGHT | BOTTOM


def test_edges_to_tiles_that_are_not_run_do_not_cut() -> None:
    run = np.array([[True, False], [False, True], [True, True]])
    assert not bits((90, 90, 100, 100), 0, 0, run)
    assert bits((100, 190, 110, 200), 100, 100, run) == BOTTOM
    assert bits((90, 200, 100, 210), 200, 0, run) == RIGHT


@pytest.mark.parametrize(("side", "near"), [(32, 1.0), (100, 3.0), (1000, 5.0), (4000, 8.0)])
def test_how_close_is_close_grows_with_the_tile(side: int, near: float) -> None:
    grid = TileGrid(
        window=Window(row=0, col=0, height=side, width=2 * side),
        tile=Size.parse(side),
        overlap=Size.parse(0),
    )
    assert margin_px(grid) == near
    found = np.array([[5.0, 5, side - near, 9], [5, 5, side - near + 0.01, 9]])
    at = np.zeros(2, dtype=np.int64)
    assert sides(grid, found, rows=at, cols=at).tolist() == [0, RIGHT]


@given(st.integers(0, 2), st.integers(0, 1), st.lists(st.floats(0, 100), min_size=4, max_size=4))
def test_a_box_well_inside_its_tile_is_whole(i: int, j: int, ends: list[float]) -> None:
    x0, x1 = sorted((3 + 0.94 * ends[0], 3 + 0.94 * ends[1]))
    y0, y1 = sorted((3 + 0.94 * ends[2], 3 + 0.94 * ends[3]))
    box = (j * 100 + x0, i * 100 + y0, j * 100 + x1, i * 100 + y1)
    assert not bits(box, i * 100, j * 100)


def test_the_distance_is_that_to_the_nearest_edge_that_could_cut() -> None:
    assert distance((10, 10, 70, 40), 0, 0) == 30
    assert distance((0, 10, 40, 95), 0, 0) == 5
    assert distance((70, 0, 120, 40), 0, 0) == 0
    alone = TileGrid(
        window=Window(row=0, col=0, height=90, width=90),
        tile=Size.parse(100),
        overlap=Size.parse(0),
    )
    at = np.zeros(1, dtype=np.int64)
    assert distances(alone, np.array([[1.0, 2, 3, 4]]), rows=at, cols=at).tolist() == [np.inf]


def test_a_merged_table_has_columns_of_the_quality_of_its_features() -> None:
    found = np.array([[90.0, 10, 100, 20], [10, 10, 20, 20]])
    rows = table(polygons(found), found, {"properties": ['{"truncated":"maybe","n":1}', "{}"]})
    rows = flag_cuts(rows, GRID, None)
    assert cuts(rows).tolist() == [RIGHT, 0]
    assert is_joined(rows).tolist() == [False, False]
    rows[MERGED_FROM] = ['{"count":2,"tiles":[[0,0],[100,0]]}', ""]
    assert is_joined(rows).tolist() == [True, False]
    after = add_quality(rows, GRID, None)
    quality = {"truncated": np.bool_, "edge_distance": np.float64, MERGED_FROM: TEXT}
    assert after.dtypes.drop("geometry").to_dict() == {**COLUMNS, **quality}
    assert after["properties"].equals(rows["properties"])
    assert after["truncated"].tolist() == [True, False]
    assert after["edge_distance"].tolist() == [0.0, 80.0]
    assert after[MERGED_FROM].tolist() == ['{"count":2,"tiles":[[0,0],[100,0]]}', ""]
    assert CUT in rows


def test_a_table_that_does_not_tell_of_cuts_has_none() -> None:
    found = np.array([[90.0, 10, 100, 20]])
    rows = table(polygons(found), found, {})
    assert cuts(rows).tolist() == [0]
    after = add_quality(rows, GRID, None)
    assert (after["truncated"].tolist(), after[MERGED_FROM].tolist()) == ([False], [""])
