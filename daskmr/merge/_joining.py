"""Several features made one: where it lies, what shape it has, and what it was made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from daskmr.core.boxes import Boxes, area, bounds, polygons
from daskmr.core.cuts import BOTTOM, CUT, LEFT, MERGED_FROM, RIGHT, TOP, cuts
from daskmr.core.features import BOX, TEXT, boxes, dumps
from daskmr.merge._shapes import ALMOST, corners, valid

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Teams:
    """Rows that become one with others: all members of all teams, a team after the other."""

    rows: gpd.GeoDataFrame
    """The members; within a team, best first."""
    starts: Index
    """Where each team starts."""

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
        """Values of members, a sequence for each team."""
        stops = [*self.starts[1:].tolist(), len(self.rows)]
        return [values[a:b] for a, b in zip(self.starts.tolist(), stops, strict=True)]


def united(teams: Teams) -> tuple[Boxes, NDArray[Any]]:
    """Box and geometry that cover all members.

    Boxes become the box around them, oriented boxes the smallest rectangle around them, other
    polygons their union; what has no area takes the shape of the best.
    """
    geometry, is_box = _kinds(teams)
    around = _around(boxes(teams.rows), teams.starts)
    plain = np.logical_and.reduceat(is_box, teams.starts)
    made = np.asarray(teams.leaders.geometry.to_numpy(), dtype=object).copy()
    made[plain] = polygons(_around(bounds(geometry), teams.starts)[plain])
    # A loop: unions of few polygons each, of those teams only that are no plain boxes.
    for number, shapes in enumerate(teams.split(geometry)):
        if not plain[number]:
            made[number] = _union(valid(shapes), made[number])
    return around, made


def fused(teams: Teams) -> tuple[Boxes, NDArray[Any]]:
    """Mean of the members' boxes, weighted by their scores, and the best one's shape put into it.

    Scores that are missing or not above 0 weigh nothing, unless all are.
    """
    found, number = boxes(teams.rows), teams.number
    scores = np.nan_to_num(teams.rows["score"].to_numpy(dtype=np.float64), nan=0.0).clip(0, 1e300)
    weights = np.where(np.maximum.reduceat(scores, teams.starts)[number] > 0, scores, 1.0)
    weights = weights / np.maximum.reduceat(weights, teams.starts)[number]
    # bincount adds one after the other, so the sum of a team is the same whatever is beside it.
    total = np.bincount(number, weights)
    around = np.stack([np.bincount(number, weights * side) / total for side in found.T], axis=1)
    geometry, is_box = _kinds(teams)
    made = _moved(geometry[teams.starts], found[teams.starts], around)
    plain = is_box[teams.starts]
    made[plain] = polygons(around[plain])
    return around, made


def joined(rows: gpd.GeoDataFrame, owner: Index, *, averaged: bool = False) -> gpd.GeoDataFrame:
    """One row for each team.

    It is the best of its team in all but box, geometry, and the columns of `daskmr.core.cuts`: a
    side is cut when a member is cut there that no other member's tile reaches beyond.

    Parameters
    ----------
    rows
        A table in pixels, best first.
    owner
        For each row the number of the best row of its team.
    averaged
        Whether members are averaged, in place of being united.
    """
    firsts = np.flatnonzero(owner == np.arange(len(owner)))
    made = rows.iloc[firsts].reset_index(drop=True)
    made = made.assign(**{MERGED_FROM: "", CUT: cuts(made)}).astype({MERGED_FROM: TEXT})
    members = np.flatnonzero(np.bincount(owner, minlength=len(owner))[owner] > 1)
    if not len(members):
        return made
    members = members[np.lexsort([members, owner[members]])]
    starts = np.flatnonzero(np.diff(owner[members], prepend=-1))
    teams = Teams(rows.iloc[members], starts)
    around, geometry = (fused if averaged else united)(teams)
    places = np.searchsorted(firsts, owner[members[starts]])
    shapes = np.asarray(made.geometry.to_numpy(), dtype=object).copy()
    shapes[places] = geometry
    columns = {name: made[name].to_numpy().copy() for name in (*BOX, CUT)}
    for name, values in zip((*BOX, CUT), (*around.T, _left_cut(teams)), strict=True):
        columns[name][places] = values
    origins = np.full(len(made), "", dtype=object)
    origins[places] = _origins(teams)
    made = made.assign(**columns, **{MERGED_FROM: origins}).astype({MERGED_FROM: TEXT})
    return made.set_geometry(gpd.GeoSeries(shapes, index=made.index))


def _kinds(teams: Teams) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Geometry of all members, and which of them are plain boxes."""
    geometry = np.asarray(teams.rows.geometry.to_numpy(), dtype=object)
    own = shapely.area(geometry)
    is_box = (own > 0) & (own >= (1 - ALMOST) * area(bounds(geometry)))
    return geometry, is_box


def _around(found: Boxes, starts: Index) -> Boxes:
    low = np.minimum.reduceat(found[:, :2], starts)
    return np.hstack([low, np.maximum.reduceat(found[:, 2:], starts)])


def _union(shapes: NDArray[Any], otherwise: Any) -> Any:
    """One geometry of those of a team that have an area."""
    shapes = shapes[shapely.area(shapes) > 0]
    if not len(shapes):
        return otherwise
    whole = shapely.union_all(shapes)
    is_right = not np.isnan(corners(shapes)).any()
    return shapely.oriented_envelope(whole) if is_right else whole


def _moved(geometry: NDArray[Any], old: Boxes, new: Boxes) -> NDArray[Any]:
    """Geometries moved and stretched with their boxes."""
    points, owner = shapely.get_coordinates(geometry, return_index=True)
    sides, wanted = old[:, 2:] - old[:, :2], new[:, 2:] - new[:, :2]
    scale = np.where(sides > 0, wanted / np.where(sides > 0, sides, 1.0), 1.0)
    points = (points - old[owner, :2]) * scale[owner] + new[owner, :2]
    return np.asarray(shapely.set_coordinates(shapely.force_2d(geometry), points), dtype=object)


def _left_cut(teams: Teams) -> NDArray[np.uint8]:
    """Sides on which a team is cut."""
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
    """What each team was made of: how many features, and the first pixels of their tiles."""
    tiles = list(zip(teams.rows["tile_row"].tolist(), teams.rows["tile_col"].tolist(), strict=True))
    return [
        dumps({"count": len(seen), "tiles": [[col, row] for row, col in sorted(set(seen))]})
        for seen in teams.split(tiles)
    ]
