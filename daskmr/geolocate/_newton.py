"""Where two functions of two numbers are both 0, for many points at once."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from daskmr.geolocate.base import Points

Function = Callable[[Points, NDArray[np.intp]], Points]
"""Values at places, shape (2, n) both, of the points with the given indices."""
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
    """Places at which a function is 0, by Newton's method with differences for derivatives.

    Each point goes on until its own last step was short enough.

    Parameters
    ----------
    function
        Of places and of which points they belong to.
    start
        Where to begin; shape (2, N).
    step
        How far derivatives look, in units of a place.
    within
        Longest last step.
    longest
        Steps beyond this are cut short.
    most
        Steps after which a point is given up.

    Returns
    -------
    Shape (2, N); NaN for points that did not arrive.
    """
    found = np.full_like(start, np.nan)
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
        arrived = size <= within
        found[:, left[arrived]] = at[:, arrived]
        more = ~arrived & np.isfinite(size)
        at, left = at[:, more], left[more]
    return found


def _move(function: Function, at: Points, left: NDArray[np.intp], *, step: float) -> Points:
    right, above = np.array([[step], [0.0]]), np.array([[0.0], [step]])
    u, v = function(at, left)
    a, c = (function(at + right, left) - (u, v)) / step
    b, d = (function(at + above, left) - (u, v)) / step
    scale = 1.0 / (a * d - b * c)
    return np.stack([scale * (b * v - d * u), scale * (c * u - a * v)])
