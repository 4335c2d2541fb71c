"""Transformations between the axes of a CRS and longitude, latitude on WGS 84."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from pyproj import CRS, Transformer
from pyproj.enums import TransformDirection
from pyproj.exceptions import CRSError

from daskmr.geolocate.base import Points

WGS84 = "EPSG:4326"
_EARTH_RADIUS_M = 6_378_137.0
_POLE = 90.0
_HALF_TURN = 180.0


def on_earth(crs: str) -> bool:
    """Return whether a CRS places points on the Earth: by its kind and the size of its ellipsoid.

    Raises
    ------
    pyproj.exceptions.CRSError
        When PROJ does not understand it.

    Examples
    --------
    >>> on_earth("EPSG:3857"), on_earth("IAU_2015:49900")
    (True, False)
    """
    parsed = _parse(crs)
    ellipsoid = parsed.ellipsoid
    if ellipsoid is None or not (parsed.is_geographic or parsed.is_projected):
        return False
    return math.isclose(ellipsoid.semi_major_metre, _EARTH_RADIUS_M, rel_tol=0.01)


def is_angular(crs: str) -> bool:
    """Return whether the axes of a CRS are angles."""
    return bool(_parse(crs).is_geographic)


@lru_cache(maxsize=64)
def is_wgs84(crs: str) -> bool:
    """Return whether a CRS is longitude, latitude on WGS 84, so that nothing has to be computed."""
    return bool(_parse(crs).equals(CRS.from_user_input(WGS84), ignore_axis_order=True))


def check(crs: str) -> None:
    """Refuse a CRS that PROJ cannot transform to WGS 84.

    Raises
    ------
    pyproj.exceptions.ProjError
        When there is no transformation.
    """
    _to_wgs84(crs)


def from_plane(crs: str, across: Points, up: Points) -> Points:
    """Return ground points of points along the axes of a CRS.

    Parameters
    ----------
    crs
        Anything that PROJ reads; of a compound one, the horizontal part.
    across, up
        Along its axes in GIS order; shape (N,) each, overwritten.

    Returns
    -------
    lon within -180 and 180, lat, and height 0; shape (N, 3); NaN where PROJ has no result.
    """
    world = np.zeros((len(across), 3))
    with np.errstate(invalid="ignore"):
        lon, lat = across, up
        if not is_wgs84(crs):
            lon, lat = _transform(crs, across, up, inplace=True)
        world[:, 0], world[:, 1] = wrap(lon), lat
        lost = ~(np.isfinite(lon) & (np.abs(lat) <= _POLE))
    world[lost] = np.nan
    return world


def to_plane(crs: str, world: Points, *, middle: float) -> tuple[Points, Points]:
    """Return points along the axes of a CRS of ground points.

    Parameters
    ----------
    crs
        As in `from_plane`.
    world
        lon, lat in degrees in the first two columns.
    middle
        Longitude (or angle of the CRS) to which angles are brought nearest by whole turns; unused
        where axes are lengths.

    Returns
    -------
    Two arrays of shape (N,); not finite where PROJ has no result.
    """
    across, up = _inverse(crs, world)
    if not is_wgs84(crs):
        # PROJ may use another path for the inverse (datum shifts): one correction closes the gap.
        again = _inverse(crs, from_plane(crs, across.copy(), up.copy()))
        with np.errstate(invalid="ignore"):
            across, up = (
                2.0 * there - back for there, back in zip((across, up), again, strict=True)
            )
    if turn := _turn(crs):
        with np.errstate(invalid="ignore"):
            across = nearest_turn(across, middle, turn=turn)
    return across, up


def _inverse(crs: str, world: Points) -> tuple[Points, Points]:
    with np.errstate(invalid="ignore"):
        lat = np.where(np.abs(world[:, 1]) <= _POLE, world[:, 1], np.inf)
    if is_wgs84(crs):
        return world[:, 0], lat
    return _transform(crs, world[:, 0], lat, direction=TransformDirection.INVERSE)


def _transform(crs: str, across: Points, up: Points, **options: Any) -> tuple[Points, Points]:
    """Transform points; up to numpy 2.3, pyproj treats an array of one point as a scalar."""
    if len(across) == 1:
        x, y = _to_wgs84(crs).transform(across.tolist(), up.tolist(), **options)
        return np.array(x), np.array(y)
    x, y = _to_wgs84(crs).transform(across, up, **options)
    return x, y


def at_heights(world: Points, heights: Points | None) -> Points:
    """Set the heights of ground points in place, and return them; None leaves them unchanged."""
    if heights is not None:
        world[:, 2] = np.where(np.isnan(world[:, 0]), np.nan, heights)
        world[~np.isfinite(world[:, 2])] = np.nan
    return world


def wrap(lon: Points) -> Points:
    """Return longitudes brought into -180 to 180 degrees; others are unchanged to the last bit.

    Examples
    --------
    >>> wrap(np.array([180.0, 181.0, -541.0])).tolist()
    [180.0, -179.0, 179.0]
    """
    turned = np.abs(lon) > _HALF_TURN
    lon[turned] = np.mod(lon[turned] + _HALF_TURN, 2 * _HALF_TURN) - _HALF_TURN
    return lon


def nearest_turn(angle: Points, middle: float, *, turn: float = 2 * _HALF_TURN) -> Points:
    """Return angles moved by whole turns to within half a turn of `middle`.

    Examples
    --------
    >>> nearest_turn(np.array([-179.0, 10.0]), 175.0).tolist()
    [181.0, 10.0]
    """
    return angle - turn * np.round((angle - middle) / turn)


@lru_cache(maxsize=64)
def _parse(crs: str) -> CRS:
    """Return the horizontal part of a CRS."""
    try:
        parsed = CRS.from_user_input(crs)
    except CRSError as error:
        msg = f"CRS {crs!r} is not one that PROJ understands"
        raise CRSError(msg) from error
    return parsed.sub_crs_list[0] if parsed.is_compound else parsed


@lru_cache(maxsize=64)
def _to_wgs84(crs: str) -> Transformer:
    """Return the transformer in GIS axis order; pyproj keeps one PROJ object for each thread."""
    return Transformer.from_crs(_parse(crs), WGS84, always_xy=True)


def _turn(crs: str) -> float:
    """Return a full circle in units of the CRS; 0 for one whose axes are not angles."""
    parsed = _parse(crs)
    if not parsed.is_geographic:
        return 0.0
    return 2 * math.pi / parsed.axis_info[0].unit_conversion_factor
