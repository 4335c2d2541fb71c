"""Pixel grids of radar images: range and range rate of each pixel.

Formulas: SICD volume 3, Image Projections Description Document (NGA.STND.0024-3), section 4.
Places in a grid are metres from the scene's centre, along the rows' axis first.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from daskmr.geolocate._ellipsoid import dot
from daskmr.geolocate.base import Place, Points
from daskmr.geolocate.radar.metadata_xml import Poly, Poly2, Vector

Track = tuple[Poly, Poly, Poly]
"""x, y, z in metres from the Earth's centre, over seconds."""


class Moment(NamedTuple):
    """Time, position and velocity of the sensor at the centre of aperture of each point."""

    time: Points
    """Seconds; shape (N,)."""
    position: Points
    """Metres; shape (3, N)."""
    velocity: Points
    """Metres a second; shape (3, N)."""


class Ranges(NamedTuple):
    """Range and range rate of points."""

    metres: Points
    rate: Points
    """Metres a second."""


class Grid(Protocol):
    """One kind of pixel grid."""

    def ranges(self, place: Place, moment: Moment, centre: Points) -> Ranges:
        """Return ranges of places.

        Parameters
        ----------
        place
            In the grid.
        moment
            Sensor at the centre of aperture of each place.
        centre
            Of the scene; shape (3, 1).
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneGrid:
    """Evenly spaced points of a plane: XRGYCR, XCTYAT, PLANE, and products on a plane."""

    row: Vector
    """Unit vector along which rows follow each other."""
    col: Vector

    def ranges(self, place: Place, moment: Moment, centre: Points) -> Ranges:
        """See `Grid.ranges`."""
        x, y = place
        points = centre + x * np.array(self.row)[:, None] + y * np.array(self.col)[:, None]
        return _between(moment, points)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolarGrid:
    """RGAZIM of the polar format algorithm."""

    angle: Poly
    """Radians over seconds."""
    scale: Poly
    """Scale of spatial frequency, over the angle."""

    def ranges(self, place: Place, moment: Moment, centre: Points) -> Ranges:
        """See `Grid.ranges`."""
        x, y = place
        angle = evaluate(self.angle, moment.time)
        sine, cosine = np.sin(angle), np.cos(angle)
        along, across = x * cosine + y * sine, y * cosine - x * sine
        scale = evaluate(self.scale, angle)
        slope = evaluate(derivative(self.scale), angle)
        turn = evaluate(derivative(self.angle), moment.time)
        start = _between(moment, centre)
        return Ranges(
            start.metres + scale * along,
            start.rate + (slope * along + scale * across) * turn,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AzimuthGrid:
    """RGAZIM of range and azimuth compression."""

    scale: float
    """Change of the cosine of the Doppler cone's angle, per metre."""

    def ranges(self, place: Place, moment: Moment, centre: Points) -> Ranges:
        """See `Grid.ranges`."""
        x, y = place
        start = _between(moment, centre)
        speed = np.sqrt(dot(moment.velocity, moment.velocity))
        return Ranges(start.metres + x, start.rate - speed * self.scale * y)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroDopplerGrid:
    """RGZERO: range and time of closest approach."""

    closest: float
    """Range of the scene's centre at closest approach, metres."""
    time: Poly
    """Time of closest approach, seconds, over metres across."""
    rate: Poly2
    """Scale of the Doppler rate."""
    track: Track

    def ranges(self, place: Place, moment: Moment, centre: Points) -> Ranges:
        """See `Grid.ranges`; the centre is defined by its range."""
        x, y = place
        closest = self.closest + x
        passed = evaluate(self.time, y)
        velocity = evaluate_track(tuple(map(derivative, self.track)), passed)
        late = moment.time - passed
        bend = evaluate2(self.rate, x, y) * dot(velocity, velocity) * late
        metres = np.sqrt(closest * closest + bend * late)
        return Ranges(metres, bend / metres)


def evaluate(poly: Poly, t: Points) -> Points:
    """Return the value of a polynomial.

    Examples
    --------
    >>> evaluate((1.0, 2.0, 3.0), np.array([0.0, 10.0])).tolist()
    [1.0, 321.0]
    """
    total = np.full_like(t, poly[-1])
    for term in poly[-2::-1]:
        total = total * t + term
    return total


def evaluate2(poly: Poly2, x: Points, y: Points) -> Points:
    """Return the value of a polynomial of two variables.

    Examples
    --------
    >>> evaluate2(((1.0, 2.0), (3.0, 4.0)), np.array([10.0]), np.array([100.0])).tolist()
    [4231.0]
    """
    total = evaluate(poly[-1], y)
    for row in poly[-2::-1]:
        total = total * x + evaluate(row, y)
    return total


def evaluate_track(track: tuple[Poly, ...], time: Points) -> Points:
    """Return values of three polynomials; shape (3, N)."""
    return np.stack([evaluate(poly, time) for poly in track])


def derivative(poly: Poly) -> Poly:
    """Return the derivative of a polynomial.

    Examples
    --------
    >>> derivative((1.0, 2.0, 3.0)), derivative((1.0,))
    ((2.0, 6.0), (0.0,))
    """
    return tuple(i * term for i, term in enumerate(poly))[1:] or (0.0,)


def _between(moment: Moment, points: Points) -> Ranges:
    offset = moment.position - points
    metres = np.sqrt(dot(offset, offset))
    return Ranges(metres, dot(moment.velocity, offset) / metres)
