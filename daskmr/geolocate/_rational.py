"""Pairs of rational cubics, as RPCs have them, for blocks of points and in both directions.

Cubics of x, y, h (longitude, latitude, height, all brought to about -1 to 1) are first brought to
the heights of their points; what remains are cubics of x, y with ten coefficients, each a number or
one number a point. All arithmetic is element by element, so that the result for a point is the same
to the last bit in any array.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np

from daskmr.core.arrays import Indices, Mask
from daskmr.geolocate.base import Place, Points

Flat = tuple[float | Points, ...]
"""Coefficients of 1, x, y, xy, xx, yy, xxx, xxy, xyy, yyy."""
Zeros = tuple[Flat, Flat]

_WHOLE_STEPS = 2
_SHORT_STEPS = 30
_LONGEST = 0.3
_POLE = 0.01
"""Least denominator, 1 at the centre, that is not too near to a pole."""


class Ratio(NamedTuple):
    """A numerator and a denominator, at the heights of their points."""

    over: Flat
    under: Flat

    def minus(self, target: Points) -> Flat:
        """Return the cubic that is 0 where the ratio equals its target."""
        return tuple(n - target * d for n, d in zip(*self, strict=True))

    def of(self, some: Indices) -> Self:
        """Return the ratio for some of the points."""
        return type(self)(*(_of(flat, some) for flat in self))


class MaskedPoints(NamedTuple):
    """Points, or ratios, with a mask of the valid ones."""

    x: Points
    y: Points
    right: Mask


class Pair(NamedTuple):
    """Two ratios, and the sign of the determinant of their derivatives at the centre.

    Where the determinant has another sign, or a denominator has gone to 0, the polynomials have
    folded over and are not valid.
    """

    first: Ratio
    second: Ratio
    sign: float = 1.0

    def values(self, at: Place) -> MaskedPoints:
        """Return both ratios at points."""
        unders = value(self.first.under, at), value(self.second.under, at)
        u = value(self.first.over, at) / unders[0]
        v = value(self.second.over, at) / unders[1]
        turned = determinant((self.first.minus(u), self.second.minus(v)), at)
        right = (unders[0] > _POLE) & (unders[1] > _POLE) & (turned * self.sign > 0)
        return MaskedPoints(u, v, right)

    def solve(self, targets: Place, within: tuple[float, float]) -> MaskedPoints:
        """Return points at which the ratios equal targets, by Newton's method.

        Every point takes a step from the centre and two more; the few that have not converged then
        start again with short steps.

        Parameters
        ----------
        targets
            One value a point for each ratio; shape (N,).
        within
            Largest final distance of each ratio from its target.
        """
        zeros = self.first.minus(targets[0]), self.second.minus(targets[1])
        at = np.zeros_like(targets[0]), np.zeros_like(targets[0])
        for _ in range(1 + _WHOLE_STEPS):
            at = step(zeros, at)
        right = self.converged(zeros, at, within)
        left = np.flatnonzero(~right)
        if len(left):
            some = self._replace(first=self.first.of(left), second=self.second.of(left))
            again = _solve_by_short_steps(some, (_of(zeros[0], left), _of(zeros[1], left)), within)
            for kept, update in zip((*at, right), again, strict=True):
                kept[left] = update
        return MaskedPoints(*at, right)

    def converged(self, zeros: Zeros, at: Place, within: tuple[float, float]) -> Mask:
        """Return a mask of points at which both cubics are 0 and the polynomials are valid."""
        there: Mask = determinant(zeros, at) * self.sign > 0
        for ratio, zero, least in zip((self.first, self.second), zeros, within, strict=True):
            under = value(ratio.under, at)
            there &= (under > _POLE) & (np.abs(value(zero, at)) <= least * under)
        return there


def at_height(c: Sequence[float] | Points, h: float | Points) -> Flat:
    """Return a cubic of x, y, h with the 20 terms of RPC00B in their order, at heights."""
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
    """Return the value of a cubic of x and y.

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
    """Return derivatives of a cubic by x and by y."""
    x, y = at
    _, x1, y1, xy, xx, yy, xxx, xxy, xyy, yyy = flat
    return (
        x1 + 2.0 * x * (xx + 1.5 * x * xxx + y * xxy) + y * (xy + y * xyy),
        y1 + 2.0 * y * (yy + 1.5 * y * yyy + x * xyy) + x * (xy + x * xxy),
    )


def determinant(zeros: Zeros, at: Place) -> Points:
    """Return the determinant of the derivatives of two cubics."""
    (a, b), (c, d) = (slopes(zero, at) for zero in zeros)
    return a * d - b * c


def step(zeros: Zeros, at: Place, *, longest: float = np.inf) -> Place:
    """Return the points after one of Newton's steps towards zeros of both cubics."""
    (a, b), (c, d) = (slopes(zero, at) for zero in zeros)
    u, v = (value(zero, at) for zero in zeros)
    scale = 1.0 / (a * d - b * c)
    by_x, by_y = scale * (b * v - d * u), scale * (c * u - a * v)
    if np.isfinite(longest):
        short = longest / np.maximum(np.hypot(by_x, by_y), longest)
        by_x, by_y = by_x * short, by_y * short
    return at[0] + by_x, at[1] + by_y


def _solve_by_short_steps(pair: Pair, zeros: Zeros, within: tuple[float, float]) -> MaskedPoints:
    n = np.shape(zeros[0][0])
    x, y, right = np.zeros(n), np.zeros(n), np.zeros(n, dtype=np.bool_)
    for _ in range(_SHORT_STEPS):
        nearer = step(zeros, (x, y), longest=_LONGEST)
        x, y = np.where(right, x, nearer[0]), np.where(right, y, nearer[1])
        right |= pair.converged(zeros, (x, y), within)
        if right.all():
            break
    return MaskedPoints(x, y, right)


def _of(flat: Flat, some: Indices) -> Flat:
    return tuple(c[some] if isinstance(c, np.ndarray) and c.ndim else c for c in flat)
