"""Areas of interest: from whatever a user has to one polygon in lon, lat, and to its pixel box."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from daskmr.core.grid import Window
from daskmr.errors import RequestError

MAX_VERTICES = 10_000
"""Most vertices of an area of interest."""
_TOLERANCE_PX = 1e-6
_BBOX = 4


def parse_roi(value: Any) -> BaseGeometry:
    """An area of interest as a valid Polygon or MultiPolygon.

    Parameters
    ----------
    value
        WKT; GeoJSON as text or dict (geometry, Feature, FeatureCollection); west, south, east,
        north as four numbers or text; a shapely geometry; a GeoSeries or GeoDataFrame with a CRS.
        All in lon, lat in degrees.

    Raises
    ------
    RequestError
        Says what came instead.

    Examples
    --------
    >>> parse_roi("10,50,11,51").bounds
    (10.0, 50.0, 11.0, 51.0)
    """
    shown = _shown(value)
    found = shapely.force_2d(_geometry(value, shown))
    _check(found, shown)
    valid = shapely.make_valid(found, method="structure", keep_collapsed=False)
    if valid.is_empty or valid.geom_type not in {"Polygon", "MultiPolygon"}:
        raise _refused(shown, f"a {found.geom_type} without area")
    return valid


def roi_window(polygon: BaseGeometry, *, height: int, width: int) -> Window | None:
    """The pixel box of an area of interest within an image.

    Parameters
    ----------
    polygon
        In full-image pixels.
    height, width
        Of the image.

    Returns
    -------
    The smallest window of whole pixels that holds the area's share of the image; None when the
    area lies outside. A millionth of a pixel beyond a border does not count.
    """
    x_min, y_min, x_max, y_max = shapely.bounds(polygon)
    if math.isnan(x_min):
        return None
    left, top = max(0, _floor(x_min)), max(0, _floor(y_min))
    right, bottom = min(width, _ceil(x_max)), min(height, _ceil(y_max))
    if left >= right or top >= bottom:
        return None
    return Window(row=top, col=left, height=bottom - top, width=right - left)


def _floor(value: float) -> int:
    return math.floor(value + _TOLERANCE_PX)


def _ceil(value: float) -> int:
    return math.ceil(value - _TOLERANCE_PX)


def _geometry(value: Any, shown: str) -> BaseGeometry:
    if isinstance(value, BaseGeometry):
        return value
    if hasattr(value, "to_crs"):
        return _of_table(value, shown)
    if isinstance(value, Mapping):
        return _of_geojson(value, shown)
    if isinstance(value, str):
        return _of_text(value.strip(), shown)
    return _of_bbox(value, shown)


def _of_table(table: Any, shown: str) -> BaseGeometry:
    if table.crs is None:
        raise _refused(shown, "a table without a CRS")
    placed: BaseGeometry = table.to_crs("EPSG:4326").geometry.union_all()
    return placed


def _of_text(text: str, shown: str) -> BaseGeometry:
    if text.startswith("{"):
        try:
            return _of_geojson(json.loads(text), shown)
        except (ValueError, RecursionError) as error:
            raise _refused(shown, f"not JSON ({error})") from None
    if text.count(",") == _BBOX - 1 and not text[:1].isalpha():
        return _of_bbox(text.split(","), shown)
    try:
        return shapely.from_wkt(text)
    except shapely.errors.GEOSException as error:
        raise _refused(shown, f"not WKT ({' '.join(str(error).split())})") from None


def _of_geojson(value: Any, shown: str) -> BaseGeometry:
    kind = value.get("type") if isinstance(value, Mapping) else None
    if kind == "FeatureCollection" and isinstance(value.get("features"), list):
        return shapely.union_all([_of_geojson(feature, shown) for feature in value["features"]])
    if kind == "Feature":
        return _of_geojson(value.get("geometry"), shown)
    try:
        return shapely.from_geojson(json.dumps(value))
    except (shapely.errors.GEOSException, TypeError, ValueError, RecursionError) as error:
        raise _refused(shown, f"not GeoJSON ({' '.join(str(error).split())})") from None


def _of_bbox(value: Any, shown: str) -> BaseGeometry:
    try:
        west, south, east, north = (float(number) for number in value)
    except (TypeError, ValueError):
        raise _refused(shown, "neither WKT, GeoJSON, nor west, south, east, north") from None
    if not (west < east and south < north):
        raise _refused(shown, "a box whose west, south are not below its east, north")
    return shapely.box(west, south, east, north)


def _check(geometry: BaseGeometry | None, shown: str) -> None:
    if geometry is None or geometry.is_empty:
        raise _refused(shown, "empty")
    if geometry.geom_type not in {"Polygon", "MultiPolygon"}:
        raise _refused(shown, f"a {geometry.geom_type}, not a Polygon or MultiPolygon")
    points = shapely.get_coordinates(geometry)
    if len(points) > MAX_VERTICES:
        raise _refused(shown, f"{len(points):,} vertices, more than {MAX_VERTICES:,}")
    lon, lat = points.T
    inside = (np.abs(lat) <= 90) & (lon >= -180) & (lon <= 360)  # noqa: PLR2004 - degrees
    if not inside.all():
        worst = points[~inside][0].tolist()
        raise _refused(shown, f"{worst} is not lon, lat in degrees (is the order lon, lat?)")


def _refused(shown: str, why: str) -> RequestError:
    return RequestError(f"roi: {shown} cannot be an area of interest: {why}")


def _shown(value: Any) -> str:
    if isinstance(value, str | Mapping | Sequence):
        text = str(value)
        return repr(text if len(text) <= 80 else f"{text[:77]}...")  # noqa: PLR2004
    return f"a {type(value).__name__}"
