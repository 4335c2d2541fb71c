"""Areas of interest: parsed from any supported form into one polygon in lon, lat; its pixel box."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from daskmr.core.grid import Window
from daskmr.errors import RequestError
from daskmr.validation import shortened

MAX_VERTICES = 10_000
"""Most vertices of an area of interest."""
MAX_CROSSINGS = 10_000
"""Most crossings of edges; repairing them takes time."""
_TOLERANCE_PX = 1e-6
_BBOX = 4
_EDGES_AT_ONCE = 100
_MEETINGS = 16
"""Edges that an edge may touch without a crossing: as many as in a mosaic of squares."""
_KINDS = frozenset({"Polygon", "MultiPolygon"})


class _Unusable(Exception):  # noqa: N818  becomes a RequestError that names the value
    """A value is no area of interest; the argument is the reason."""


def parse_roi(value: Any, *, field: str = "roi") -> BaseGeometry:
    """Return an area of interest as a valid Polygon or MultiPolygon.

    Parameters
    ----------
    value
        WKT; GeoJSON as text or dict (geometry, Feature, FeatureCollection); west, south, east,
        north as four numbers or text; a shapely geometry; a GeoSeries or GeoDataFrame with a CRS.
        All in lon, lat in degrees; several polygons mean their union, heights are kept.
    field
        Name of the value in errors.

    Raises
    ------
    RequestError
        When it is none of these; the message shows the value.

    Examples
    --------
    >>> parse_roi("10,50,11,51").bounds
    (10.0, 50.0, 11.0, 51.0)
    """
    try:
        return _union(_check_polygons(_geometries(value)))
    except _Unusable as unusable:
        msg = f"{field}: {_abbreviate(value)} cannot be an area of interest: {unusable}"
        raise RequestError(msg) from None


def roi_window(polygon: BaseGeometry, *, height: int, width: int) -> Window | None:
    """Return the pixel box of an area of interest within an image.

    Parameters
    ----------
    polygon
        In full-image pixels.
    height, width
        Of the image.

    Returns
    -------
    The smallest window of whole pixels that contains the area within the image; None when the area
    lies outside. A millionth of a pixel beyond a border does not count.
    """
    bounds = np.asarray(shapely.bounds(polygon))
    if np.isnan(bounds).any():
        return None
    x_min, y_min, x_max, y_max = np.clip(bounds, 0, [width, height, width, height])
    left, top = _floor(x_min), _floor(y_min)
    right, bottom = _ceil(x_max), _ceil(y_max)
    if left >= right or top >= bottom:
        return None
    return Window(row=top, col=left, height=bottom - top, width=right - left)


def _floor(value: float) -> int:
    return math.floor(value + _TOLERANCE_PX)


def _ceil(value: float) -> int:
    return math.ceil(value - _TOLERANCE_PX)


def _geometries(value: Any) -> list[BaseGeometry]:
    """Return the geometries of a value, unchecked."""
    if isinstance(value, BaseGeometry):
        return [value]
    if hasattr(value, "to_crs"):
        return _of_table(value)
    if isinstance(value, Mapping):
        return _of_geojson(value)
    if isinstance(value, str):
        return _of_text(value.strip())
    return [_of_bbox(value)]


def _of_table(table: Any) -> list[BaseGeometry]:
    crs = table.crs if hasattr(table, "geometry") else None
    if crs is None:
        msg = "a table without a CRS"
        raise _Unusable(msg)
    try:
        return list(table.to_crs("EPSG:4326").geometry.dropna())
    except RuntimeError as error:  # of PROJ
        msg = f"its CRS {crs.name!r} has no way to lon, lat ({_line(error)})"
        raise _Unusable(msg) from None


def _of_text(text: str) -> list[BaseGeometry]:
    if text.startswith("{"):
        try:
            return _of_geojson(json.loads(text))
        except (ValueError, RecursionError) as error:
            msg = f"not JSON ({_line(error)})"
            raise _Unusable(msg) from None
    if text.count(",") == _BBOX - 1 and not text[:1].isalpha():
        return [_of_bbox(text.split(","))]
    if "COLLECTION" in text.upper():  # GEOS reads nested ones by recursion, without a limit
        msg = "a GeometryCollection, not a Polygon or MultiPolygon"
        raise _Unusable(msg)
    try:
        with np.errstate(all="ignore"):  # what is not finite is refused later
            return [shapely.from_wkt(text)]
    except (shapely.errors.GEOSException, NotImplementedError, ValueError) as error:
        msg = f"not WKT ({_line(error)})"
        raise _Unusable(msg) from None


def _of_geojson(value: Mapping[str, Any]) -> list[BaseGeometry]:
    members: Any = [value]
    if value.get("type") == "FeatureCollection":
        members = value.get("features")
        members = members if isinstance(members, list | tuple) else [members]
    geometries = []
    for member in members:  # one by one: JSON objects have no columns
        is_feature = isinstance(member, Mapping) and member.get("type") == "Feature"
        shape = member.get("geometry") if is_feature else member
        if shape is not None or not is_feature:
            geometries.append(_of_json_geometry(shape))
    return geometries


def _of_json_geometry(shape: Any) -> BaseGeometry:
    try:
        with np.errstate(all="ignore"):
            return shapely.from_geojson(json.dumps(shape, allow_nan=False))
    except (
        shapely.errors.GEOSException,
        NotImplementedError,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:
        msg = f"not GeoJSON ({_line(error)})"
        raise _Unusable(msg) from None


def _of_bbox(value: Any) -> BaseGeometry:
    try:
        numbers = () if isinstance(value, bytes | bytearray) else value
        west, south, east, north = (float(number) for number in numbers)
    except (TypeError, ValueError, OverflowError):
        msg = "neither WKT, GeoJSON, nor west, south, east, north"
        raise _Unusable(msg) from None
    if not (west < east and south < north):
        msg = "a box whose west, south are not below its east, north"
        raise _Unusable(msg)
    return shapely.box(west, south, east, north)


def _check_polygons(shapes: list[BaseGeometry]) -> list[BaseGeometry]:
    """Return the geometries, all polygons with coordinates in range and not too many vertices."""
    for shape in shapes:
        if shape.geom_type not in _KINDS:
            msg = f"a {shape.geom_type}, not a Polygon or MultiPolygon"
            raise _Unusable(msg)
    points = shapely.get_coordinates(shapes)
    if not len(points):
        msg = "empty"
        raise _Unusable(msg)
    if len(points) > MAX_VERTICES:
        msg = f"{len(points):,} vertices, more than {MAX_VERTICES:,}"
        raise _Unusable(msg)
    lon, lat = points.T
    inside = (np.abs(lat) <= 90) & (lon >= -180) & (lon <= 360)  # noqa: PLR2004 - degrees
    if not inside.all():
        worst = points[~inside][0].tolist()
        msg = f"{worst} is not lon, lat in degrees (is the order lon, lat?)"
        raise _Unusable(msg)
    return shapes


def _union(shapes: list[BaseGeometry]) -> BaseGeometry:
    """Return one valid geometry with area."""
    if len(shapes) == 1 and shapely.is_valid(shapes[0]):
        return shapes[0]
    _check_crossings(shapes)
    mended = shapely.make_valid(shapes, method="structure", keep_collapsed=False)
    area: BaseGeometry = shapely.union_all(mended)
    if area.is_empty or area.geom_type not in _KINDS:
        msg = f"a {shapes[0].geom_type} without area"
        raise _Unusable(msg)
    return area


def _check_crossings(shapes: list[BaseGeometry]) -> None:
    """Refuse edges that cross so often that repairing them would take minutes."""
    rings = shapely.get_rings(shapely.get_parts(shapes))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    same = ring[1:] == ring[:-1]
    edges = shapely.linestrings(np.stack([points[:-1], points[1:]], axis=1)[same])
    tree = shapely.STRtree(edges)
    limit = 2 * MAX_CROSSINGS + _MEETINGS * len(edges)  # each is found from both of its edges
    n_met = 0
    for start in range(0, len(edges), _EDGES_AT_ONCE):
        some = edges[start : start + _EDGES_AT_ONCE]
        n_met += tree.query(some, predicate="intersects").shape[1]
        if n_met > limit:
            msg = f"its edges cross each other more than {MAX_CROSSINGS:,} times"
            raise _Unusable(msg)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _abbreviate(value: Any) -> str:
    if isinstance(value, str | Mapping | Sequence):
        try:
            text = str(value)
        except RecursionError:
            return f"a deeply nested {type(value).__name__}"
        return repr(shortened(text))
    return f"a {type(value).__name__}"
