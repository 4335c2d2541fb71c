"""Newton's method for two functions of two variables, for many points at once."""

from collections.abc import Callable

import numpy as np

from daskmr.core.arrays import Indices
from daskmr.geolocate.base import Points

Function = Callable[[Points, Indices], Points]
"""Values at coordinates, both of shape (2, n), for the points of some indices."""
_MOST = 16


def solve(
    function: Function,
    start: Points,
    *,
    step: float,
    within: float,
    longest: float = np.inf,
    most: int = _MOST,
) -> Points:
    """Find the zeros of a function by Newton's method, with differences for derivatives.

    Each point iterates until its own last step was short enough.

    Parameters
    ----------
    function
        Of coordinates and the indices of their points.
    start
        First coordinates; shape (2, N).
    step
        Step of the differences, in units of a coordinate.
    within
        Longest last step.
    longest
        Length to which longer steps are cut.
    most
        Maximal number of steps of a point.

    Returns
    -------
    Shape (2, N); NaN for points that did not converge.
    """
    solution = np.full_like(start, np.nan)
    left = np.flatnonzero(np.isfinite(start).all(axis=0))
    at = start[:, left]
    for _ in range(most):
        if not len(left):
            break
        move = _move(function, at, left, step=step)
        size = np.abs(move).max(axis=0)
        if np.isfinite(longest):
            move = move * (longest / np.maximum(size, longest))
        at = at + move
        converged = size <= within
        solution[:, left[converged]] = at[:, converged]
        more = ~converged & np.isfinite(size)
        at, left = at[:, more], left[more]
    return solution


def _move(function: Function, at: Points, left: Indices, *, step: float) -> Points:
    right, above = np.array([[step], [0.0]]), np.array([[0.0], [step]])
    u, v = function(at, left)
    a, c = (function(at + right, left) - (u, v)) / step
    b, d = (function(at + above, left) - (u, v)) / step
    scale = 1.0 / (a * d - b * c)
    return np.stack([scale * (b * v - d * u), scale * (c * u - a * v)])
