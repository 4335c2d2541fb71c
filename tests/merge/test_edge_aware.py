"""Merging of what the edges of tiles have cut."""

import json
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core.boxes import polygons
from daskmr.core.features import boxes, table
from daskmr.core.grid import Size, TileGrid, Window
from daskmr.core.truncation import MERGED_FROM, cuts, flag_cuts
from daskmr.merge.edge_aware import EdgeAware
from daskmr.merge.nms import Nms
from daskmr.testing.contracts_merge import MergeContract, crowd, ids


class TestEdgeAware(MergeContract):
    joins = True
    keeps_best = False

    def make(self) -> EdgeAware:
        return EdgeAware(iou_threshold=0.3)


class TestEdgeAwareAcrossClasses(MergeContract):
    joins = True
    keeps_best = False

    def make(self) -> EdgeAware:
        return EdgeAware(iou_threshold=0.5, class_aware=False, metric="ios")


def grid(overlap: int, side: int = 100, extent: int = 280) -> TileGrid:
    return TileGrid(
        window=Window(row=0, col=0, height=extent, width=extent),
        tile=Size.parse(side),
        overlap=Size.parse(overlap),
        strategy="fixed",
    )


def seen(objects: object, tiles: TileGrid, *, least: float = 0.3) -> gpd.GeoDataFrame:
    """What a perfect detector says: of each object that a tile sees enough of, the part in it."""
    whole = np.asarray(objects, dtype=np.float64).reshape(-1, 4)
    windows = tiles.boxes()
    i, j = (part.ravel() for part in np.meshgrid(range(len(whole)), range(len(windows))))
    found = np.hstack([
        np.maximum(whole[i, :2], windows[j, :2]), np.minimum(whole[i, 2:], windows[j, 2:])
    ])  # fmt: skip
    sides = np.maximum(found[:, 2:] - found[:, :2], 0)
    share = sides.prod(axis=1) / (whole[i, 2:] - whole[i, :2]).prod(axis=1)
    found, share, i, j = (part[share >= least] for part in (found, share, i, j))
    columns = {
        "score": 0.5 + share / 4,
        "label": [f"{n}" for n in i % 2],
        "tile_col": windows[j, 0].astype(int),
        "tile_row": windows[j, 1].astype(int),
        "answer_index": i,
        "feature_id": [f"{a:016x}{b:016x}" for a, b in zip(i, j, strict=True)],
    }
    return flag_cuts(table(polygons(found), found, columns), tiles, None)


def whole(objects: object, overlap: int) -> list[list[float]]:
    """Boxes after merging, in order."""
    return sorted(boxes(EdgeAware()(seen(objects, grid(overlap)))).tolist())


def test_pieces_yield_to_a_complete_feature_of_another_tile() -> None:
    objects = [[50, 10, 90, 40], [70, 70, 85, 85]]  # a tile starts at 60 and cuts the first
    rows = seen(objects, grid(40))
    assert len(rows) == 6
    assert (cuts(rows) > 0).sum() == 1
    after = EdgeAware()(rows)
    assert boxes(after).tolist() == objects
    assert cuts(after).tolist() == [0, 0]
    assert after[MERGED_FROM].tolist() == ["", ""]


def test_pieces_of_neighbours_are_joined() -> None:
    long = [20.0, 30.0, 170.0, 45.0]
    rows = seen([long], grid(20))
    assert len(rows) == 2
    after = EdgeAware()(rows)
    assert boxes(after).tolist() == [long]
    assert after.geometry.to_numpy()[0].equals(shapely.box(20, 30, 170, 45))
    assert cuts(after).tolist() == [0]
    assert json.loads(after[MERGED_FROM][0]) == {"count": 2, "tiles": [[0, 0], [80, 0]]}
    assert after["score"][0] == rows["score"].max()


@pytest.mark.parametrize("overlap", [0, 1, 10, 40, 60])
def test_an_object_over_a_corner_is_one(overlap: int) -> None:
    at = 100 - overlap // 2
    large = [at - 45, at - 40, at + 40, at + 45]
    rows = seen([large], grid(overlap), least=0.1)
    assert len(rows) >= 4
    assert boxes(EdgeAware()(rows)).tolist() == [large]


def test_neighbours_in_a_row_stay_apart_at_an_edge() -> None:
    row = [[85, 10.0 + 12 * i, 115, 20.0 + 12 * i] for i in range(6)]
    assert whole(row, 0) == row
    assert whole(row, 10) == row


def test_what_finds_no_other_piece_is_truncated() -> None:
    rows = seen([[20, 30, 115, 45]], grid(0))
    assert len(rows) == 1
    after = EdgeAware()(rows)
    assert boxes(after).tolist() == [[20, 30, 100, 45]]
    assert (cuts(after) > 0).tolist() == [True]


def test_small_features_in_a_large_one_stay() -> None:
    objects = [[10, 10, 90, 90], [40, 20, 50, 30], [20, 20, 30, 30], [50, 60, 60, 70]]
    rows = seen(objects, grid(0)).assign(label="one")
    assert len(EdgeAware()(rows)) == 4


def test_without_cuts_it_is_nms() -> None:
    rows = crowd(300, 3).drop(columns="cut")
    assert ids(EdgeAware(iou_threshold=0.3)(rows)) == ids(Nms(iou_threshold=0.3)(rows))


def test_classes_leave_each_other_alone() -> None:
    rows = seen([[20, 30, 170, 45]], grid(20))
    rows["label"] = ["car", "van"]
    assert len(EdgeAware()(rows)) == 2
    assert len(EdgeAware(class_aware=False)(rows)) == 1
    assert len(EdgeAware(class_groups=[["car", "van"]])(rows)) == 1


def ship(x: float, y: float, *, length: float, turn: float) -> shapely.Polygon:
    box = shapely.box(-length / 2, -6, length / 2, 6)
    return shapely.affinity.translate(shapely.affinity.rotate(box, turn, origin=(0, 0)), x, y)


@pytest.mark.parametrize("turn", [20.0, 45.0, 70.0])
def test_pieces_of_oriented_boxes_agree_by_what_both_tiles_see(turn: float) -> None:
    across = 20 * np.array([-np.sin(np.radians(turn)), np.cos(np.radians(turn))])
    ships = [ship(*([92, 60] + i * across), length=70, turn=turn) for i in (0, 1)]
    tiles = grid(16, extent=184)
    shapes: list[Any] = []
    columns: dict[str, list[Any]] = {"tile_col": [], "tile_row": [], "score": []}
    for window in tiles.boxes():
        for one in ships:
            part = one.intersection(shapely.box(*window))
            if part.area > 0.2 * one.area:
                shapes.append(shapely.oriented_envelope(part))
                columns["tile_col"].append(int(window[0]))
                columns["tile_row"].append(int(window[1]))
                columns["score"].append(part.area / one.area)
    columns["answer_index"] = list(range(len(shapes)))
    columns["feature_id"] = [f"{i:032x}" for i in range(len(shapes))]
    geometry = np.array(shapes, dtype=object)
    rows = flag_cuts(table(geometry, shapely.bounds(geometry), columns), tiles, None)
    assert len(rows) > 2
    after = EdgeAware()(rows)
    assert len(after) == 2
    for one, found in zip(ships, sorted(after.geometry, key=lambda g: g.centroid.y), strict=True):
        assert len(found.exterior.coords) == 5
        assert found.intersection(one).area / found.union(one).area > 0.7


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(3, 34), st.integers(3, 34)),
        min_size=1, max_size=12, unique_by=lambda one: one[:2],
    ),
    st.sampled_from([0, 3, 8, 20]),
)  # fmt: skip
def test_objects_six_pixels_apart_all_come_back_whole(
    cells: list[tuple[int, int, int, int]], overlap: int
) -> None:
    objects = [[40.0 * i, 40.0 * j, 40.0 * i + w, 40.0 * j + h] for i, j, w, h in cells]
    rows = seen(objects, grid(overlap), least=0.0001)
    rows = rows[(boxes(rows)[:, 2:] > boxes(rows)[:, :2]).all(axis=1)].reset_index(drop=True)
    after = EdgeAware(iou_threshold=0.5)(rows)
    assert sorted(boxes(after).tolist()) == sorted(objects)


def test_a_large_image_has_each_object_once() -> None:  # D24
    tiles = TileGrid(
        window=Window(row=0, col=0, height=12_000, width=25_000),
        tile=Size.parse(4096),
        overlap=Size(width=612, height=144),
    )
    random = np.random.default_rng(24)
    cells = np.stack(np.meshgrid(np.arange(50) * 500.0, np.arange(40) * 300.0), axis=-1)
    corner = cells.reshape(-1, 2)[:1796] + random.integers(0, 190, (1796, 2))
    objects = np.hstack([corner, corner + 100])
    rows = seen(objects, tiles).assign(label="one")
    assert len(rows) > 2000
    assert sorted(boxes(EdgeAware()(rows)).tolist()) == sorted(objects.tolist())
