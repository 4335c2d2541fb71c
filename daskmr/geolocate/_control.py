"""Control points as arrays, in a plane without a seam between them."""

from typing import NamedTuple

import numpy as np
from pyproj.exceptions import ProjError

from daskmr.core.imagery import ControlPoints, ImageInfo
from daskmr.errors import ImageError
from daskmr.geolocate import _crs
from daskmr.geolocate.base import Points

_POLAR = 75.0
_HALF_TURN = 180.0
_POLE = 90.0


class Control(NamedTuple):
    """Pixels and their ground positions."""

    pixels: Points
    """x, y; shape (N, 2)."""
    plane: Points
    """Along the axes of `crs`; longitudes do not jump at the antimeridian; shape (N, 2)."""
    heights: Points
    """Metres; shape (N,)."""
    crs: str


def control(points: ControlPoints, info: ImageInfo) -> Control | None:
    """Return control points in their own CRS, or around a pole in one that has no seam there.

    Parameters
    ----------
    points
        From the header.
    info
        The rest of the header.

    Returns
    -------
    None when they do not lie on the Earth, or lie far from the image.

    Raises
    ------
    ImageError
        When PROJ does not understand the CRS, or numbers are not finite.
    """
    pixels = np.array(points.pixels, dtype=np.float64).reshape(-1, 2)
    ground = np.array(points.ground, dtype=np.float64).reshape(-1, 3)
    if not (np.isfinite(pixels).all() and np.isfinite(ground).all()):
        msg = f"{info.url}: {points.source} with numbers that are not finite"
        raise ImageError(msg)
    try:
        if not (_cover_image(pixels, info) and points.crs and _crs.on_earth(points.crs)):
            return None
        if not _crs.is_angular(points.crs):
            _crs.check(points.crs)
            return Control(pixels, ground[:, :2], ground[:, 2], points.crs)
        world = _crs.from_plane(points.crs, *np.ascontiguousarray(ground[:, :2].T))
        if np.isnan(world).any():
            return None
        crs = _without_seam(world)
        plane = np.stack(_crs.to_plane(crs, world, middle=_middle(world[:, 0])), axis=1)
        return Control(pixels, plane, ground[:, 2], crs)
    except ProjError as error:
        msg = f"{info.url}: {error}"
        raise ImageError(msg) from error


def _cover_image(pixels: Points, info: ImageInfo) -> bool:
    """Return whether the image lies among points, or no farther beside them than they span."""
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    span = high - low
    return bool((low - span <= [info.width, info.height]).all() and (high + span >= 0).all())


def _without_seam(world: Points) -> str:
    """Return a CRS in which points lie side by side: of degrees, or polar stereographic."""
    lat = world[:, 1]
    span = np.ptp(_crs.nearest_turn(world[:, 0], _middle(world[:, 0])))
    if np.abs(lat).min() < _POLAR and span < _HALF_TURN:
        return _crs.WGS84
    pole = np.copysign(_POLE, lat.mean())
    return f"+proj=stere +lat_0={pole:.0f} +lon_0=0 +datum=WGS84 +type=crs"


def _middle(lon: Points) -> float:
    """Return the mean of longitudes on their circle, degrees."""
    return float(np.degrees(np.angle(np.exp(1j * np.radians(lon)).sum())))
