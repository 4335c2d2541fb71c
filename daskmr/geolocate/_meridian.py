"""Cut of shapes that cross the antimeridian or surround a pole.

As RFC 7946, section 3.1.9, requires: into parts that touch at longitudes of 180 and -180 degrees.
"""

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from daskmr.geolocate.base import Points

_TURN = 360.0
_HALF_TURN = 180.0
_POLE = 90.0
_LEAST_EDGES = 3


def cut(shapes: NDArray[Any], centres: NDArray[np.float64]) -> NDArray[Any]:
    """Cut shapes at the antimeridian.

    Parameters
    ----------
    shapes
        Geometries in lon, lat, height; longitudes within -180 and 180. None stays None.
    centres
        Longitude of the middle of each shape; its edges are taken to pass there.

    Returns
    -------
    The same array when nothing had to be cut. Cut polygons and lines are multi-part ones; heights
    at a cut are interpolated.
    """
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    with np.errstate(invalid="ignore"):
        wide = np.flatnonzero(bounds[:, 2] - bounds[:, 0] > _HALF_TURN)
    if not len(wide):
        return shapes
    result = shapes.copy()
    result[wide] = [
        _cut(shapes[i], centres[i]) for i in wide
    ]  # few: those on one line of the world
    return result


def _cut(shape: BaseGeometry, centre: float) -> BaseGeometry:
    if shape.geom_type in {"Point", "MultiPoint"} or not np.isfinite(centre):
        return shape
    parts = shapely.get_parts(shape)
    flat = [_unroll(part, centre) for part in parts]
    turns = [turn * _TURN for turn in (-1, 0, 1)]
    bands = [shapely.box(-_HALF_TURN + t, -_POLE, _HALF_TURN + t, _POLE) for t in turns]
    pieces = [
        _move(shapely.intersection(part, band), -turn)
        for part in flat
        for band, turn in zip(bands, turns, strict=True)
    ]
    there = [piece for piece in shapely.get_parts(pieces) if _has_extent(piece, shape)]
    if not there:
        return shape
    joined: BaseGeometry
    if shape.geom_type.endswith("Polygon"):
        # Parts of a polar shape meet along the meridian where its ring begins.
        joined = shapely.orient_polygons(shapely.union_all(there))
    else:
        joined = shapely.multilinestrings(there)
    return joined


def _has_extent(piece: BaseGeometry, like: BaseGeometry) -> bool:
    """Return whether a piece has the dimension of the shape, and is not just a touching edge."""
    return bool(
        not piece.is_empty and shapely.get_dimensions(piece) == shapely.get_dimensions(like)
    )


def _unroll(part: BaseGeometry, centre: float) -> BaseGeometry:
    """Return a polygon or line at longitudes nearest to its centre; a polar one with its pole."""
    if isinstance(part, shapely.Polygon):
        ring = shapely.get_coordinates(part.exterior, include_z=True)
        if len(ring) > _LEAST_EDGES and abs(_winding(ring[:, 0])) > _HALF_TURN:
            return _with_pole(ring)
    return shapely.transform(part, lambda points: _near(points, centre), include_z=True)


def _near(points: Points, centre: float) -> Points:
    turns = np.round((points[:, 0] - centre) / _TURN)
    return np.column_stack([points[:, 0] - _TURN * turns, points[:, 1:]])


def _winding(lon: NDArray[np.float64]) -> float:
    """Return the winding of a ring around the axis of the Earth: 0, 360 or -360 degrees."""
    steps = np.diff(lon)
    return float((steps - _TURN * np.round(steps / _TURN)).sum())


def _with_pole(ring: Points) -> BaseGeometry:
    """Return the polygon between a ring around a pole and that pole, without holes."""
    lon = np.unwrap(ring[:, 0], period=_TURN)
    pole = np.copysign(_POLE, ring[:, 1].mean())
    height = ring[:, 2].mean()
    ends = [(lon[-1], pole, height), (lon[0], pole, height)]
    unrolled = np.concatenate([np.column_stack([lon, ring[:, 1:]]), ends])
    moved: BaseGeometry = shapely.Polygon(unrolled - [_TURN * np.round(lon.mean() / _TURN), 0, 0])
    return moved


def _move(shape: BaseGeometry, by: float) -> BaseGeometry:
    return shapely.transform(
        shape, lambda points: points + np.array([by, 0.0, 0.0]), include_z=True
    )
