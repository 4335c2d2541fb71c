"""Conversion between longitude, latitude, height and geocentric coordinates (WGS 84).

Cartesian points are arrays of shape (3, N): x, y, z in metres, z towards the north pole, x towards
longitude 0. All arithmetic is point by point, so that the result for a point is the same to the
last bit in any array.
"""

from typing import NamedTuple

import numpy as np

from daskmr.geolocate.base import Points

EQUATOR_M = 6_378_137.0
_FLATTENING = 1 / 298.257223563
_POLE_M = EQUATOR_M * (1 - _FLATTENING)
_SQUARED = _FLATTENING * (2 - _FLATTENING)
_SECOND_SQUARED = _SQUARED / (1 - _SQUARED)
_ROUNDS = 2


class Vertical(NamedTuple):
    """Heights of points, and the directions of the verticals there."""

    height: Points
    """Metres above the ellipsoid; shape (N,)."""
    up: Points
    """Unit vectors; shape (3, N)."""


def dot(a: Points, b: Points) -> Points:
    """Return inner products of vectors, shape (3, N) each, or (3, 1) for one with all."""
    products: Points = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return products


def cross(a: Points, b: Points) -> Points:
    """Return cross products of vectors.

    Examples
    --------
    >>> cross(np.array([[1.0], [0], [0]]), np.array([[0.0], [1], [0]])).ravel().tolist()
    [0.0, 0.0, 1.0]
    """
    return np.stack(
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    )


def cartesian(lon: Points, lat: Points, height: Points | float) -> Points:
    """Return geocentric points of longitudes, latitudes in degrees and heights in metres.

    Examples
    --------
    >>> cartesian(np.array([5.0]), np.array([10.0]), 0.0).ravel().round().tolist()
    [6257968.0, 547501.0, 1100249.0]
    """
    along, north = np.radians(lon), np.radians(lat)
    sine, cosine = np.sin(north), np.cos(north)
    normal = EQUATOR_M / np.sqrt(1.0 - _SQUARED * sine * sine)
    flat = (normal + height) * cosine
    return np.stack(
        [flat * np.cos(along), flat * np.sin(along), (normal * (1 - _SQUARED) + height) * sine]
    )


def vertical(points: Points) -> Vertical:
    """Return heights and verticals of points, by Bowring's method (Survey Review 23, 1976).

    Two iterations are exact to a nanometre for all heights between the sea floor and space.
    """
    x, y, z = points
    flat = np.sqrt(x * x + y * y)
    rise, run = EQUATOR_M * z, _POLE_M * flat
    for last in range(_ROUNDS):
        size = np.sqrt(rise * rise + run * run)
        sine, cosine = rise / size, run / size
        rise = z + _SECOND_SQUARED * _POLE_M * sine * sine * sine
        run = flat - _SQUARED * EQUATOR_M * cosine * cosine * cosine
        if last < _ROUNDS - 1:
            rise, run = _POLE_M * rise, EQUATOR_M * run
    size = np.sqrt(rise * rise + run * run)
    sine, cosine = rise / size, run / size
    height = flat * cosine + z * sine - EQUATOR_M * np.sqrt(1.0 - _SQUARED * sine * sine)
    out = cosine / np.where(flat > 0, flat, 1.0)
    return Vertical(height, np.stack([out * x, out * y, sine]))


def geodetic(points: Points, up: Points) -> tuple[Points, Points]:
    """Return lon, lat in degrees of points and their verticals."""
    lat = np.degrees(np.arctan2(up[2], np.sqrt(up[0] * up[0] + up[1] * up[1])))
    return np.degrees(np.arctan2(points[1], points[0])), lat
