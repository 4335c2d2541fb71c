"""Contract of merge algorithms: tests to inherit."""

from typing import Any, ClassVar

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from daskmr.core import features
from daskmr.core.boxes import Boxes, polygons
from daskmr.core.grid import Size, TileGrid, Window
from daskmr.core.truncation import flag_cuts
from daskmr.merge.base import Merge

GRID = TileGrid(
    window=Window(row=0, col=0, height=80, width=80), tile=Size.parse(30), overlap=Size.parse(4)
)
"""The tiles of `crowd`."""


def table(boxes: object, scores: object, labels: object = "") -> gpd.GeoDataFrame:
    """Return a feature table of boxes; the label may be one for all."""
    bounds: Boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    n = len(bounds)
    names = [labels] * n if isinstance(labels, str) else list(labels)  # type: ignore[call-overload]
    columns = {
        "score": np.asarray(scores, dtype=np.float64).reshape(-1),
        "label": names,
        "answer_index": np.arange(n),
        "feature_id": [f"{i:032x}" for i in range(n)],
    }
    return features.table(polygons(bounds), bounds, columns)


def crowd(n: int, seed: int) -> gpd.GeoDataFrame:
    """Return features of two labels that overlap a lot, with ties and missing scores.

    Most are boxes of objects that several tiles see, and that their edges cut; some are oriented
    boxes, bow ties, lines, and points.
    """
    random = np.random.default_rng(seed)
    boxes, tile = _cut_boxes(n, random)
    scores = random.integers(0, 5, n) / 4
    scores[random.random(n) < 0.1] = np.nan
    rows = table(boxes, scores, random.choice(["car", "ship"], n).tolist())
    rows = rows.assign(
        tile_row=tile[:, 1],
        tile_col=tile[:, 0],
        classes=[f'[{{"iri":"{label}","score":0.5}}]' for label in rows["label"]],
    ).astype(dict(features.COLUMNS))
    rows = rows.set_geometry(_geometries(boxes, random.integers(0, 12, n)))
    return flag_cuts(rows, GRID, None)


def _cut_boxes(n: int, random: np.random.Generator) -> tuple[Boxes, NDArray[np.int64]]:
    """Return boxes cut by their tiles, and the first pixel column and row of the tile of each."""
    centre = random.integers(0, 80, (n // 4 + 1, 2))
    reach = random.integers(1, 14, centre.shape)
    objects = np.hstack([centre - reach, centre + reach])[random.integers(0, len(centre), n)]
    points = np.clip(random.integers(objects[:, :2], objects[:, 2:]), 0, 79)
    sides = [np.where(random.random(n) < 0.5, *_covering(points[:, axis])) for axis in (0, 1)]
    tile = np.stack(sides, axis=1)
    moved = objects + random.integers(-1, 2, (n, 4))
    visible = np.clip(moved, np.tile(tile, 2), np.tile(tile + 30, 2))
    corner = tile + random.integers(0, 22, (n, 2))
    others = np.hstack([corner, corner + random.integers(0, 8, (n, 2))])
    is_visible = (visible[:, 2:] > visible[:, :2]).all(axis=1, keepdims=True)
    return np.where(is_visible, visible, others).astype(np.float64), tile


def _covering(pixels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return first pixels of the last and of the first tile of an axis that cover a pixel."""
    last = GRID.cols[np.searchsorted(GRID.cols, pixels, side="right") - 1]
    return last, GRID.cols[np.searchsorted(GRID.cols, pixels - 29, side="left")]


def _geometries(boxes: Boxes, kinds: NDArray[np.int64]) -> gpd.GeoSeries:
    """Return geometries in boxes: of kinds 0 to 3 something else, of others the box."""
    x0, y0, x1, y1 = boxes.T
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    geometries = polygons(boxes)
    diamonds = shapely.polygons(np.stack([[x, y0], [x1, y], [x, y1], [x0, y]]).transpose(2, 0, 1))
    ties = shapely.polygons(np.stack([[x0, y0], [x1, y1], [x1, y0], [x0, y1]]).transpose(2, 0, 1))
    lines = shapely.linestrings(np.stack([[x0, y0], [x1, y1]]).transpose(2, 0, 1))
    for kind, shapes in enumerate((diamonds, ties, lines, shapely.points(x, y))):
        geometries = np.where(kinds == kind, shapes, geometries)
    return gpd.GeoSeries(geometries)


def ids(rows: gpd.GeoDataFrame) -> list[str]:
    """Return the feature ids of rows, in their order."""
    return [str(value) for value in rows["feature_id"]]


def content(rows: gpd.GeoDataFrame) -> list[tuple[Any, ...]]:
    """Return all values of rows, to the last bit, in their order; NaN as text."""
    plain = rows.drop(columns="geometry").astype(object)
    columns = [[repr(value) for value in plain[name]] for name in sorted(plain.columns)]
    return list(zip(shapely.to_wkb(rows.geometry.to_numpy()), *columns, strict=True))


class MergeContract:
    """Tests of one algorithm: inherit, name the class ``Test...``, define `make`."""

    joins: ClassVar[bool] = False
    """True if rows change, by losing score to one another or by being joined."""
    keeps_best: ClassVar[bool] = True
    """True if the row with the highest score is always kept."""

    def make(self) -> Merge:
        """Return the algorithm under test."""
        raise NotImplementedError

    def test_an_empty_table_stays_empty(self) -> None:
        assert len(self.make()(features.empty())) == 0

    def test_rows_are_never_invented(self) -> None:
        before = crowd(200, 1)
        untouched = content(before)
        after = self.make()(before)
        assert 0 < len(after) <= len(before)
        assert content(before) == untouched
        assert len(set(ids(after))) == len(after)
        known = before.set_index("feature_id").loc[ids(after)]
        assert known["label"].tolist() == after["label"].tolist()
        assert after.sort_values(features.CANONICAL).index.tolist() == list(range(len(after)))
        if not self.joins:
            assert after.set_index("feature_id").equals(known)

    def test_columns_keep_their_types(self) -> None:
        for n in (0, 1, 50):
            after = self.make()(crowd(50, n).iloc[:n])
            kinds = after.dtypes.to_dict()
            assert {name: kinds[name] for name in features.COLUMNS} == dict(features.COLUMNS)
            assert after.crs is None

    def test_the_answer_does_not_depend_on_the_order_of_rows(self) -> None:
        before = crowd(200, 2)
        expected = content(self.make()(before))
        for seed in range(5):
            shuffled = before.sample(frac=1, random_state=seed).reset_index(drop=True)
            assert content(self.make()(shuffled)) == expected

    def test_merging_again_changes_nothing(self) -> None:
        if not self.joins:
            once = self.make()(crowd(200, 3))
            assert ids(self.make()(once)) == ids(once)

    def test_rows_that_no_chain_of_links_joins_may_be_merged_apart(self) -> None:
        for seed, n in ((5, 300), (6, 60)):
            merge, before = self.make(), crowd(n, seed)
            group = connected_components(merge, before)
            apart = [content(merge(before[group == number])) for number in np.unique(group)]
            assert sorted(row for rows in apart for row in rows) == sorted(content(merge(before)))

    def test_links_reach_no_farther_than_they_say(self) -> None:
        merge, before = self.make(), crowd(300, 5)
        bounds, reach = features.boxes(before), merge.reach_px
        for one, other in merge.links(before):
            assert reach is not None
            gaps = np.maximum(bounds[one, :2], bounds[other, :2]) - np.minimum(
                bounds[one, 2:], bounds[other, 2:]
            )
            assert gaps.max(initial=-np.inf) <= reach

    def test_the_best_row_always_stays(self) -> None:
        before = crowd(200, 4)
        if self.keeps_best:
            assert (self.make()(before)["score"] == before["score"].max()).any()


def connected_components(merge: Merge, rows: gpd.GeoDataFrame) -> NDArray[np.int64]:
    """Return for each row the smallest number of a row in its connected component of links."""
    group = np.arange(len(rows))
    while True:
        joined = group.copy()
        for one, other in merge.links(rows):
            least = np.minimum(joined[one], joined[other])
            np.minimum.at(joined, one, least)
            np.minimum.at(joined, other, least)
        if (joined == group).all():
            return group
        group = joined
