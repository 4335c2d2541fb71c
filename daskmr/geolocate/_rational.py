"""Pairs of rational cubics, as RPCs have them, for blocks of points and in both directions.

Cubics of x, y, h (longitude, latitude, height, all brought to about -1 to 1) are first brought to
the heights of their points; what remains are cubics of x, y with ten coefficients, each a number or
one number a point. All arithmetic is element by element, so that a point comes out the same to the
last bit whatever stands beside it.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from daskmr.geolocate.base import Points

Flat = tuple[float | Points, ...]
"""Coefficients of 1, x, y, xy, xx, yy, xxx, xxy, xyy, yyy."""
Zeros = tuple[Flat, Flat]
Place = tuple[Points, Points]
"""x and y, or two ratios, of points; shape (N,) each."""
Mask = NDArray[np.bool_]

_WHOLE_STEPS = 2
_SHORT_STEPS = 30
_LONGEST = 0.3
_POLE = 0.01
"""Denominators, 1 at the centre, that are too near to 0 for what they divide to mean anything."""


class Ratio(NamedTuple):
    """A numerator and a denominator, at the heights of their points."""

    over: Flat
    under: Flat

    def minus(self, target: Points) -> Flat:
        """The cubic that is 0 where the ratio has its target."""
        return tuple(n - target * d for n, d in zip(*self, strict=True))

    def of(self, some: NDArray[np.intp]) -> Self:
        """The ratio for some of the points."""
        return type(self)(*(_of(flat, some) for flat in self))


class Found(NamedTuple):
    """Points that were looked for, and which of them are right."""

    x: Points
    y: Points
    right: Mask


class Pair(NamedTuple):
    """Two ratios, and how the ground lies in the image at their centre.

    Where the determinant of their derivatives has another sign than there, or a denominator has
    gone to 0, the polynomials have folded over and say nothing about the image any more.
    """

    first: Ratio
    second: Ratio
    sign: float = 1.0

    def values(self, at: Place) -> Found:
        """Both ratios at points."""
        unders = value(self.first.under, at), value(self.second.under, at)
        u = value(self.first.over, at) / unders[0]
        v = value(self.second.over, at) / unders[1]
        turned = determinant((self.first.minus(u), self.second.minus(v)), at)
        right = (unders[0] > _POLE) & (unders[1] > _POLE) & (turned * self.sign > 0)
        return Found(u, v, right)

    def solve(self, targets: Place, within: tuple[float, float]) -> Found:
        """Points at which the ratios have given values, by Newton's method.

        Every point takes a step from the centre and two more; the few that are not there then
        start again with steps that are kept short.

        Parameters
        ----------
        targets
            One value a point for each ratio; shape (N,).
        within
            How far from its target each ratio may be in the end.
        """
        zeros = self.first.minus(targets[0]), self.second.minus(targets[1])
        at = np.zeros_like(targets[0]), np.zeros_like(targets[0])
        for _ in range(1 + _WHOLE_STEPS):
            at = step(zeros, at)
        right = self.arrived(zeros, at, within)
        left = np.flatnonzero(~right)
        if len(left):
            some = self._replace(first=self.first.of(left), second=self.second.of(left))
            again = _patiently(some, (_of(zeros[0], left), _of(zeros[1], left)), within)
            for kept, found in zip((*at, right), again, strict=True):
                kept[left] = found
        return Found(*at, right)

    def arrived(self, zeros: Zeros, at: Place, within: tuple[float, float]) -> Mask:
        """At which points both cubics are 0, and the polynomials to be believed."""
        there: Mask = determinant(zeros, at) * self.sign > 0
        for ratio, zero, least in zip((self.first, self.second), zeros, within, strict=True):
            under = value(ratio.under, at)
            there &= (under > _POLE) & (np.abs(value(zero, at)) <= least * under)
        return there


def at_height(c: Sequence[float] | Points, h: float | Points) -> Flat:
    """A cubic of x, y, h with the 20 terms of RPC00B in their order, for given heights."""
    return (
        c[0] + h * (c[3] + h * (c[9] + h * c[19])),
        c[1] + h * (c[5] + h * c[13]),
        c[2] + h * (c[6] + h * c[16]),
        c[4] + h * c[10],
        c[7] + h * c[17],
        c[8] + h * c[18],
        c[11],
        c[14],
        c[12],
        c[15],
    )


def value(flat: Flat, at: Place) -> Points:
    """A cubic of x and y.

    Examples
    --------
    >>> terms = [0.0] * 20
    >>> terms[:4], terms[12] = [42.0, 1.0, 2.0, 3.0], 100.0
    >>> value(at_height(terms, 30.0), (np.array([10.0]), np.array([20.0]))).tolist()
    [400182.0]
    """
    x, y = at
    one, x1, y1, xy, xx, yy, xxx, xxy, xyy, yyy = flat
    return (
        (one + x * (x1 + x * (xx + x * xxx)))
        + y * (y1 + x * (xy + x * xxy))
        + y * y * (yy + x * xyy + y * yyy)
    )


def slopes(flat: Flat, at: Place) -> Place:
    """Derivatives of a cubic by x and by y."""
    x, y = at
    _, x1, y1, xy, xx, yy, xxx, xxy, xyy, yyy = flat
    return (
        x1 + 2.0 * x * (xx + 1.5 * x * xxx + y * xxy) + y * (xy + y * xyy),
        y1 + 2.0 * y * (yy + 1.5 * y * yyy + x * xyy) + x * (xy + x * xxy),
    )


def determinant(zeros: Zeros, at: Place) -> Points:
    """Of the derivatives of two cubics."""
    (a, b), (c, d) = (slopes(zero, at) for zero in zeros)
    return a * d - b * c


def step(zeros: Zeros, at: Place, *, longest: float = np.inf) -> Place:
    """Where one of Newton's steps leads, on the way to where both cubics are 0."""
    (a, b), (c, d) = (slopes(zero, at) for zero in zeros)
    u, v = (value(zero, at) for zero in zeros)
    scale = 1.0 / (a * d - b * c)
    by_x, by_y = scale * (b * v - d * u), scale * (c * u - a * v)
    if np.isfinite(longest):
        short = longest / np.maximum(np.hypot(by_x, by_y), longest)
        by_x, by_y = by_x * short, by_y * short
    return at[0] + by_x, at[1] + by_y


def _patiently(pair: Pair, zeros: Zeros, within: tuple[float, float]) -> Found:
    n = np.shape(zeros[0][0])
    x, y, right = np.zeros(n), np.zeros(n), np.zeros(n, dtype=np.bool_)
    for _ in range(_SHORT_STEPS):
        nearer = step(zeros, (x, y), longest=_LONGEST)
        x, y = np.where(right, x, nearer[0]), np.where(right, y, nearer[1])
        right |= pair.arrived(zeros, (x, y), within)
        if right.all():
            break
    return Found(x, y, right)


def _of(flat: Flat, some: NDArray[np.intp]) -> Flat:
    return tuple(c[some] if isinstance(c, np.ndarray) and c.ndim else c for c in flat)
