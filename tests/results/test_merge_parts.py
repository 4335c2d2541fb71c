"""Merging part by part is merging at once; a spool gives back what it got, in order."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daskmr.core.boxes import polygons
from daskmr.core.features import boxes, concat, empty, in_order, table
from daskmr.core.grid import Size, TileGrid, Window
from daskmr.errors import StoreError
from daskmr.merge import MERGES, merger
from daskmr.results import georeference
from daskmr.results.georeference import Spool
from daskmr.results.merge_on_cluster import blocks_of, merge_on_cluster
from daskmr.results.merge_parts import Extent, Seam, at_most, extent_of, merge_parts
from daskmr.testing import contracts_merge
from daskmr.testing.contracts_merge import content

SIDE = 100


def crowd(n: int, seed: int, *, largest: int = 40) -> gpd.GeoDataFrame:
    """Boxes seen by the tiles of a 4 x 4 grid of 100 px, many of them twice; some far outside."""
    random = np.random.default_rng(seed)
    tiles = random.integers(0, 4, (n, 2)) * SIDE
    corners = tiles[:, ::-1] + random.integers(-10, SIDE, (n, 2)).astype(np.float64)
    twins = random.random(n) < 0.4
    near = np.clip(tiles[:, ::-1] + random.integers(-30, 130, (n, 2)), 0, 400).astype(np.float64)
    corners[twins] = near[random.integers(0, n, n)][twins] if n < 200 else near[twins]
    found = np.hstack([corners, corners + random.integers(1, largest, (n, 2))])
    if n:
        found[0, 2:] = 400.0  # one box over nearly all of it
    columns = {
        "score": random.integers(0, 6, n) / 6,
        "label": random.choice(["car", "ship"], n).tolist(),
        "tile_row": tiles[:, 0],
        "tile_col": tiles[:, 1],
        "answer_index": np.arange(n),
        "feature_id": [f"{i:032x}" for i in range(n)],
    }
    return table(polygons(found), found, columns)


def split(features: gpd.GeoDataFrame, part: np.ndarray) -> dict[str, gpd.GeoDataFrame]:
    return {f"p{k:02d}": features[part == k].reset_index(drop=True) for k in np.unique(part)}


def extents(parts: dict[str, gpd.GeoDataFrame]) -> list[Extent]:
    found = []
    for name, rows in parts.items():
        box = boxes(rows)
        tiles = rows[["tile_col", "tile_row"]].to_numpy()
        home = np.concatenate([tiles.min(axis=0) - SIDE / 2, tiles.max(axis=0) + 1.5 * SIDE])
        found.append(extent_of(name, box, home))
    return found


@dataclass(frozen=True)
class Reader:
    """Reads parts that travel with it; in one process only, if asked for."""

    parts: dict[str, gpd.GeoDataFrame]
    only_in: int = 0

    def __call__(self, names: Iterable[str]) -> Iterator[gpd.GeoDataFrame]:
        if self.only_in not in {0, os.getpid()}:
            msg = "no such folder on this machine"
            raise StoreError(msg)
        return (self.parts[name] for name in names)


def by_parts(merge: Any, parts: dict[str, gpd.GeoDataFrame]) -> gpd.GeoDataFrame:
    def read(names: Iterable[str]) -> Iterator[gpd.GeoDataFrame]:
        return (parts[name] for name in names)

    tables = [rows for rows in merge_parts(merge, extents(parts), read) if len(rows)]
    return in_order(pd.concat(tables, ignore_index=True)) if tables else empty()


@given(
    n=st.integers(0, 80),
    seed=st.integers(0, 2**32 - 1),
    n_parts=st.integers(1, 6),
    name=st.sampled_from(["nms", "none"]),
    iou=st.sampled_from([0.0, 0.3, 0.75]),
    by_tile=st.booleans(),
)
def test_part_by_part_is_all_at_once(
    *, n: int, seed: int, n_parts: int, name: str, iou: float, by_tile: bool
) -> None:
    features = crowd(n, seed) if n else empty()
    merge = merger(name, {"iou_threshold": iou})
    random = np.random.default_rng(seed)
    part = random.integers(0, n_parts, n)
    if by_tile and n:
        part = (features.tile_row // 200 * 2 + features.tile_col // 200).to_numpy()
    expected = merge(features)
    found = by_parts(merge, split(features, part))
    assert found.feature_id.tolist() == expected.feature_id.tolist()
    assert found.score.tolist() == expected.score.tolist()


@given(
    n=st.integers(0, 80),
    seed=st.integers(0, 2**32 - 1),
    n_parts=st.integers(1, 6),
    name=st.sampled_from(MERGES.names()),
    iou=st.sampled_from([0.0, 0.3, 0.75]),
    options=st.sampled_from([
        {}, {"metric": "ios"}, {"class_aware": False}, {"max_count": 7}, {"score_threshold": 0.5},
    ]),
    by_tile=st.booleans(),
)  # fmt: skip
def test_any_merge_part_by_part_is_the_same_to_the_last_bit(
    *,
    n: int,
    seed: int,
    n_parts: int,
    name: str,
    iou: float,
    options: dict[str, Any],
    by_tile: bool,
) -> None:
    features = contracts_merge.crowd(n, seed)
    merge = merger(name, {"iou_threshold": iou, **options})
    random = np.random.default_rng(seed)
    part = random.integers(0, n_parts, n)
    if by_tile:
        part = np.unique(features[["tile_row", "tile_col"]], axis=0, return_inverse=True)[1].ravel()
    order = random.permutation(n)
    parts = split(features.iloc[order].reset_index(drop=True), part[order])
    assert content(by_parts(merge, parts)) == content(merge(features))


def test_what_lies_far_from_unread_parts_is_not_held() -> None:
    features = crowd(4000, 1, largest=12)
    part = (features.tile_row // SIDE * 4 + features.tile_col // SIDE).to_numpy()
    parts = split(features, part)
    sizes = [len(t) for t in merge_parts(merger("nms", {"iou_threshold": 0.5}), extents(parts),
                                    lambda names: (parts[name] for name in names))]  # fmt: skip
    assert len(sizes) >= 14
    assert max(sizes) < 900


@given(
    seed=st.integers(0, 2**32 - 1),
    n_parts=st.integers(1, 9),
    size=st.integers(1, 60),
    name=st.sampled_from([name for name in MERGES.names() if name != "none"]),
    options=st.sampled_from([{}, {"iou_threshold": 0.0}, {"max_count": 7}]),
)
def test_blocks_and_their_borders_are_all_at_once_to_the_last_bit(
    *, seed: int, n_parts: int, size: int, name: str, options: dict[str, Any]
) -> None:
    features, merge = contracts_merge.crowd(60, seed), merger(name, options)
    parts = split(features, np.random.default_rng(seed).integers(0, n_parts, len(features)))
    reach = merge.reach_px
    assert reach is not None
    made = blocks_of(extents(parts), reach, size)
    assert [each.name for block in made for each in block.extents] == list(parts)
    seam, tables = Seam(merge, [block.extent for block in made]), []
    for number, block in enumerate(made):
        survivors, held = block.merged(merge, Reader(parts))
        tables += [survivors, *seam.take(held, number)]
    found = concat([empty(), *at_most(merge.max_count, tables)])
    assert content(in_order(found)) == content(merge(features))


@pytest.mark.parametrize("name", ["nms", "edge_aware"])
@pytest.mark.parametrize("fails_elsewhere", [False, True])
@pytest.mark.worker_errors("no such folder on this machine")
def test_blocks_on_workers_or_lost_by_them_are_all_at_once(
    client: Any, monkeypatch: pytest.MonkeyPatch, name: str, *, fails_elsewhere: bool
) -> None:
    monkeypatch.setattr("daskmr.results.merge_on_cluster.BLOCK", 300)
    features, merge = crowd(3000, 5, largest=12), merger(name, {"iou_threshold": 0.5})
    parts = split(features, (features.tile_row // SIDE * 4 + features.tile_col // SIDE).to_numpy())
    read = Reader(parts, only_in=os.getpid() if fails_elsewhere else 0)
    tables = list(merge_on_cluster(client, merge, extents(parts), read=read))
    assert len(tables) > 8
    assert content(in_order(concat(tables))) == content(merge(features))


@settings(max_examples=40)
@given(n=st.integers(0, 200), seed=st.integers(0, 1000), n_adds=st.integers(1, 5))
def test_a_spool_gives_rows_along_a_curve_over_the_tiles(n: int, seed: int, n_adds: int) -> None:
    features = crowd(n, seed) if n else empty()
    grid = TileGrid(
        window=Window(row=0, col=0, height=400, width=400),
        tile=Size.parse(SIDE),
        overlap=Size.parse(0),
    )
    counts = np.zeros((4, 4), dtype=np.int64)
    np.add.at(counts, (features.tile_row // SIDE, features.tile_col // SIDE), 1)
    part = np.random.default_rng(seed).integers(0, n_adds, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(georeference, "BATCH", 50)
        patch.setattr(georeference, "_WAITING", 70)
        with Spool(grid, counts, None) as spool:
            for rows in split(features, part).values():
                spool.add(rows)
            spool.close()
            batches = [len(rows) for rows in spool]
            found = spool.whole()
            assert [len(rows) for rows in spool] == batches
    place = georeference.curve((4, 4))
    rank = place[features.tile_row // SIDE, features.tile_col // SIDE]
    order = np.lexsort([features.answer_index, rank])
    assert found.feature_id.tolist() == features.feature_id.iloc[order].tolist()
    assert sum(batches) == spool.n_rows == n
    assert max(batches) <= 50 + counts.max()
    assert found.crs is None
