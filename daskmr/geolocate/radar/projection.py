"""Projection of radar images: intersections of contours of range and range rate with the ground.

Formulas: SICD volume 3, Image Projections Description Document (NGA.STND.0024-3); the inverse is
solved here to far less than a pixel.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from daskmr.core.arrays import Indices
from daskmr.geolocate._crs import nearest_turn
from daskmr.geolocate._ellipsoid import cartesian, cross, dot, geodetic, vertical
from daskmr.geolocate._newton import solve
from daskmr.geolocate.base import Place, Points
from daskmr.geolocate.radar.metadata_xml import Poly2, Vector
from daskmr.geolocate.radar.pixel_grids import (
    Grid,
    Moment,
    Ranges,
    Track,
    derivative,
    evaluate2,
    evaluate_track,
)

_BLOCK = 8192
_WITHIN_M = 5e-8
_ROUNDS = 12
_LAST_STEP_PX = 1e-4
"""Last step of Newton's method; the remaining error is at most its square."""
_SPEED = 7500.0
"""Metres a second: scales errors of range rate to the size of errors of position."""
_HALF = 0.5
_POLE = 90.0
_WITH_HEIGHT = 3


class _Contour(NamedTuple):
    """Circles of equal range and range rate around the track of the sensor, one for each point."""

    moment: Moment
    ranges: Ranges

    def of(self, some: Indices) -> "_Contour":
        time, position, velocity = self.moment
        metres, rate = self.ranges
        return _Contour(
            Moment(time[some], position[:, some], velocity[:, some]),
            Ranges(metres[some], rate[some]),
        )


class _Plane(NamedTuple):
    """One plane for each point, through a point of it and square to a unit vector."""

    through: Points
    normal: Points

    def of(self, some: Indices) -> "_Plane":
        return _Plane(self.through[:, some], self.normal[:, some])


@dataclass(frozen=True, slots=True, kw_only=True)
class Radar:
    """The geometry of a monostatic radar image.

    Pixels are counted from the outer corner of the first pixel of the file here, from the centre of
    the first pixel of the full image in metadata; half a pixel is added and subtracted in `_place`
    and `_pixels`, and nowhere else.
    """

    centre: Vector
    """Centre of the scene, metres from the Earth's centre."""
    centre_pixel: tuple[float, float]
    """Row and column of the centre, from the centre of the file's first pixel."""
    spacing: tuple[float, float]
    """Metres between rows, and between columns."""
    row: Vector
    """Unit vector along which rows follow each other."""
    col: Vector
    time: Poly2
    """Time of the centre of aperture of a place, seconds."""
    track: Track
    """Track of the sensor."""
    grid: Grid

    def __post_init__(self) -> None:
        """Refuse an invalid geometry."""
        normal = np.cross(self.row, self.col)
        if not (min(self.spacing) > 0 and np.abs(normal).max() > 0):
            msg = f"rows and columns {self.spacing} m apart along {self.row} and {self.col}"
            raise ValueError(msg)
        if self.look == 0 or not np.isfinite(self.level):
            msg = f"a scene at {self.centre} below a sensor that does not look at it"
            raise ValueError(msg)

    @property
    def level(self) -> float:
        """Height of the centre, metres above the ellipsoid."""
        return float(vertical(self._middle()).height[0])

    @property
    def look(self) -> float:
        """1 when the sensor looks to its left, -1 to its right."""
        moment = self._moment((np.zeros(1), np.zeros(1)))
        return float(_side(moment, self._middle())[0])

    def to_world(self, pixels: Points, heights: Points | None) -> Points:
        """Return ground points of pixels; see `daskmr.geolocate.base.SensorModel.to_world`."""
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        levels = np.full(len(pixels), self.level) if heights is None else heights
        world = np.empty((len(pixels), 3))
        with np.errstate(all="ignore"):
            for start in range(0, len(pixels), _BLOCK):
                part = slice(start, start + _BLOCK)
                world[part] = self._meet(self._place(pixels[part]), levels[part])
        return world

    def to_image(self, world: Points) -> Points:
        """Return pixels of ground points; see `daskmr.geolocate.base.SensorModel.to_image`."""
        world = np.asarray(world, dtype=np.float64)
        pixels = np.empty((len(world), 2))
        level = self.level
        with np.errstate(all="ignore"):
            for start in range(0, len(world), _BLOCK):
                part = slice(start, start + _BLOCK)
                lon, lat = nearest_turn(world[part, 0], 0.0), world[part, 1]
                lat = np.where(np.abs(lat) <= _POLE, lat, np.nan)
                high = world[part, 2] if world.shape[1] >= _WITH_HEIGHT else level
                pixels[part] = self._pixels_of(cartesian(lon, lat, high))
        return pixels

    def _place(self, pixels: Points) -> Place:
        (row, col), (down, across) = self.centre_pixel, self.spacing
        return (pixels[:, 1] - (_HALF + row)) * down, (pixels[:, 0] - (_HALF + col)) * across

    def _pixels(self, place: Points) -> Points:
        (row, col), (down, across) = self.centre_pixel, self.spacing
        return np.stack([place[1] / across + (col + _HALF), place[0] / down + (row + _HALF)], 1)

    def _middle(self) -> Points:
        return np.array(self.centre)[:, None]

    def _moment(self, place: Place) -> Moment:
        time = evaluate2(self.time, *place)
        velocities = tuple(map(derivative, self.track))
        return Moment(time, evaluate_track(self.track, time), evaluate_track(velocities, time))

    def _contour(self, place: Place) -> _Contour:
        moment = self._moment(place)
        return _Contour(moment, self.grid.ranges(place, moment, self._middle()))

    def _meet(self, place: Place, levels: Points) -> Points:
        """Return ground points at heights, by planes that approach the ellipsoid."""
        world = np.full((len(levels), 3), np.nan)
        left, contour, look = np.arange(len(levels)), self._contour(place), self.look
        high, up = vertical(self._middle())
        plane = _Plane(self._middle() + (levels - high) * up, np.repeat(up, len(levels), axis=1))
        for _ in range(_ROUNDS):
            points = _on_plane(contour, plane, look)
            high, up = vertical(points)
            gap = high - levels[left]
            converged = np.abs(gap) <= _WITHIN_M
            lonlat = geodetic(points[:, converged], up[:, converged])
            world[left[converged]] = np.stack([*lonlat, levels[left[converged]]], axis=1)
            more = np.flatnonzero(~converged & np.isfinite(gap))
            if not len(more):
                break
            plane = _Plane(points - gap * up, up)
            if len(more) < len(left):
                left, contour, plane = left[more], contour.of(more), plane.of(more)
        return world

    def _pixels_of(self, points: Points) -> Points:
        """Return pixels of cartesian points."""

        def off(place: Points, some: Indices) -> Points:
            moment, ranges = self._contour((place[0], place[1]))
            offset = moment.position - points[:, some]
            metres = np.sqrt(dot(offset, offset))
            rate = dot(moment.velocity, offset) / metres
            return np.stack([metres - ranges.metres, (rate - ranges.rate) * metres / _SPEED])

        place = solve(off, self._guess(points), step=1.0, within=_LAST_STEP_PX * min(self.spacing))
        moment = self._moment((place[0], place[1]))
        hidden = dot(moment.position - points, vertical(points).up) <= 0
        hidden |= _side(moment, points) != self.look
        place[:, hidden] = np.nan
        return self._pixels(place)

    def _guess(self, points: Points) -> Points:
        """Return first places of points in the grid, projected along the centre's slant normal."""
        moment = self._moment((np.zeros(1), np.zeros(1)))
        middle = self._middle()
        slant = cross(moment.position - middle, moment.velocity)
        row, col = np.array(self.row)[:, None], np.array(self.col)[:, None]
        normal = cross(row, col)
        points = points - middle
        points = points - dot(points, normal) / dot(slant, normal) * slant
        u, v, lean = dot(points, row), dot(points, col), dot(row, col)
        return np.stack([u - lean * v, v - lean * u]) / (1.0 - lean * lean)


def _side(moment: Moment, points: Points) -> Points:
    """Return 1 for points to the left of the track, -1 to the right."""
    left = cross(moment.position, moment.velocity)
    return np.sign(dot(left, points - moment.position))


def _on_plane(contour: _Contour, plane: _Plane, look: float) -> Points:
    """Return intersections of circles and planes on the looked-at side; NaN where there is none."""
    moment, ranges = contour
    above = dot(moment.position - plane.through, plane.normal)
    above = np.where(above > 0, above, np.nan)  # nothing is seen from below
    away = np.sqrt(ranges.metres * ranges.metres - above * above)
    climb = dot(moment.velocity, plane.normal)
    ahead = moment.velocity - climb * plane.normal
    speed = np.sqrt(dot(ahead, ahead))
    ahead = ahead / speed
    cosine = (climb * above - ranges.rate * ranges.metres) / (speed * away)
    sine = look * np.sqrt(1.0 - cosine * cosine)
    across = cosine * ahead + sine * cross(plane.normal, ahead)
    points: Points = moment.position - above * plane.normal + away * across
    return points
