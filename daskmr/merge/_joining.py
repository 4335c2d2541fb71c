"""Joining of features: box, geometry, truncation and origins of the joined feature."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from daskmr.core.arrays import Index
from daskmr.core.boxes import Boxes, area, bounds, polygons
from daskmr.core.features import BOX, TEXT, boxes, dumps
from daskmr.core.truncation import BOTTOM, CUT, LEFT, MERGED_FROM, RIGHT, TOP, cuts
from daskmr.merge._shapes import ALMOST, corners, valid


@dataclass(frozen=True)
class Teams:
    """Rows to join: all members of all teams, a team after the other."""

    rows: gpd.GeoDataFrame
    """The members; within a team, best first."""
    starts: Index
    """Number of the first row of each team."""

    @property
    def leaders(self) -> gpd.GeoDataFrame:
        """The best row of each team."""
        return self.rows.iloc[self.starts]

    @property
    def number(self) -> Index:
        """The team of each member."""
        sizes = np.diff([*self.starts, len(self.rows)])
        return np.repeat(np.arange(len(self.starts)), sizes)

    def split(self, values: Any) -> list[Any]:
        """Split values of members into a sequence for each team."""
        stops = [*self.starts[1:].tolist(), len(self.rows)]
        return [values[a:b] for a, b in zip(self.starts.tolist(), stops, strict=True)]


def unite(teams: Teams) -> tuple[Boxes, NDArray[Any]]:
    """Return box and geometry that cover all members.

    Boxes become the box around them, oriented boxes the smallest rectangle around them, other
    polygons their union; what has no area takes the shape of the best.
    """
    geometry, is_box = _kinds(teams)
    around = _around(boxes(teams.rows), teams.starts)
    plain = np.logical_and.reduceat(is_box, teams.starts)
    geometries = np.asarray(teams.leaders.geometry.to_numpy(), dtype=object).copy()
    geometries[plain] = polygons(_around(bounds(geometry), teams.starts)[plain])
    # A loop: unions of few polygons each, of those teams only that are no plain boxes.
    for number, shapes in enumerate(teams.split(geometry)):
        if not plain[number]:
            geometries[number] = _union(valid(shapes), geometries[number])
    return around, geometries


def fuse(teams: Teams) -> tuple[Boxes, NDArray[Any]]:
    """Return the mean of the members' boxes, weighted by scores, and the best shape fitted to it.

    Scores that are missing or not above 0 have no weight, unless all are.
    """
    members, number = boxes(teams.rows), teams.number
    scores = np.nan_to_num(teams.rows["score"].to_numpy(dtype=np.float64), nan=0.0).clip(0, 1e300)
    weights = np.where(np.maximum.reduceat(scores, teams.starts)[number] > 0, scores, 1.0)
    weights = weights / np.maximum.reduceat(weights, teams.starts)[number]
    # bincount adds one after the other, so the sum of a team is the same whatever is beside it.
    total = np.bincount(number, weights)
    around = np.stack([np.bincount(number, weights * side) / total for side in members.T], axis=1)
    geometry, is_box = _kinds(teams)
    geometries = _move(geometry[teams.starts], members[teams.starts], around)
    plain = is_box[teams.starts]
    geometries[plain] = polygons(around[plain])
    return around, geometries


def join_groups(
    rows: gpd.GeoDataFrame, owner: Index, *, averaged: bool = False
) -> gpd.GeoDataFrame:
    """Return one row for each team.

    Its columns are those of the best member, but for box, geometry, and the columns of
    `daskmr.core.truncation`: a side is cut when a member is cut there and no other member's tile
    reaches farther.

    Parameters
    ----------
    rows
        A table in pixels, best first.
    owner
        For each row the number of the best row of its team.
    averaged
        True to average the members, False to unite them.
    """
    firsts = np.flatnonzero(owner == np.arange(len(owner)))
    joined = rows.iloc[firsts].reset_index(drop=True)
    joined = joined.assign(**{MERGED_FROM: "", CUT: cuts(joined)}).astype({MERGED_FROM: TEXT})
    members = np.flatnonzero(np.bincount(owner, minlength=len(owner))[owner] > 1)
    if not len(members):
        return joined
    members = members[np.lexsort([members, owner[members]])]
    starts = np.flatnonzero(np.diff(owner[members], prepend=-1))
    teams = Teams(rows.iloc[members], starts)
    around, geometry = (fuse if averaged else unite)(teams)
    places = np.searchsorted(firsts, owner[members[starts]])
    shapes = np.asarray(joined.geometry.to_numpy(), dtype=object).copy()
    shapes[places] = geometry
    columns = {name: joined[name].to_numpy().copy() for name in (*BOX, CUT)}
    for name, values in zip((*BOX, CUT), (*around.T, _cut_sides(teams)), strict=True):
        columns[name][places] = values
    origins = np.full(len(joined), "", dtype=object)
    origins[places] = _origins(teams)
    joined = joined.assign(**columns, **{MERGED_FROM: origins}).astype({MERGED_FROM: TEXT})
    return joined.set_geometry(gpd.GeoSeries(shapes, index=joined.index))


def _kinds(teams: Teams) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the geometry of all members, and a mask of plain boxes."""
    geometry = np.asarray(teams.rows.geometry.to_numpy(), dtype=object)
    own = shapely.area(geometry)
    is_box = (own > 0) & (own >= (1 - ALMOST) * area(bounds(geometry)))
    return geometry, is_box


def _around(members: Boxes, starts: Index) -> Boxes:
    low = np.minimum.reduceat(members[:, :2], starts)
    return np.hstack([low, np.maximum.reduceat(members[:, 2:], starts)])


def _union(shapes: NDArray[Any], otherwise: Any) -> Any:
    """Return the union of the geometries of a team that have an area."""
    shapes = shapes[shapely.area(shapes) > 0]
    if not len(shapes):
        return otherwise
    whole = shapely.union_all(shapes)
    is_right = not np.isnan(corners(shapes)).any()
    return shapely.oriented_envelope(whole) if is_right else whole


def _move(geometry: NDArray[Any], old: Boxes, new: Boxes) -> NDArray[Any]:
    """Return geometries moved and stretched with their boxes."""
    points, owner = shapely.get_coordinates(geometry, return_index=True)
    sides, wanted = old[:, 2:] - old[:, :2], new[:, 2:] - new[:, :2]
    scale = np.where(sides > 0, wanted / np.where(sides > 0, sides, 1.0), 1.0)
    points = (points - old[owner, :2]) * scale[owner] + new[owner, :2]
    return np.asarray(shapely.set_coordinates(shapely.force_2d(geometry), points), dtype=object)


def _cut_sides(teams: Teams) -> NDArray[np.uint8]:
    """Return the bits of the sides on which each team is cut."""
    bits, number = cuts(teams.rows), teams.number
    left = np.zeros(len(teams.starts), dtype=np.uint8)
    for name, low, high in (("tile_col", LEFT, RIGHT), ("tile_row", TOP, BOTTOM)):
        tile = teams.rows[name].to_numpy()
        for bit, last in ((low, np.minimum), (high, np.maximum)):
            is_last = tile == last.reduceat(tile, teams.starts)[number]
            left |= np.bitwise_or.reduceat(np.where(is_last, bits & bit, 0), teams.starts).astype(
                np.uint8
            )
    return left


def _origins(teams: Teams) -> Sequence[str]:
    """Return JSON of the origins of each team: number of features, first pixels of their tiles."""
    tiles = list(zip(teams.rows["tile_row"].tolist(), teams.rows["tile_col"].tolist(), strict=True))
    return [
        dumps({"count": len(members), "tiles": [[col, row] for row, col in sorted(set(members))]})
        for members in teams.split(tiles)
    ]
