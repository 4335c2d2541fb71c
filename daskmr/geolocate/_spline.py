"""Thin-plate splines: the smoothest surfaces through values at nodes.

F. L. Bookstein, Principal warps: thin-plate splines and the decomposition of deformations, IEEE
PAMI 11 (1989): ``f(p) = a + b x + c y + sum of w_i U(|p - p_i|)`` with ``U(r) = r^2 log r^2``.
Sums are taken node by node, so that the result for a point is the same in any array.
"""

import numpy as np

from daskmr.geolocate.base import Points

BLOCK = 8192
_LEAST = np.finfo(np.float64).tiny
_OFF = 1e-6


def fit(nodes: Points, values: Points) -> Points:
    """Return weights of splines through values.

    Parameters
    ----------
    nodes
        Within about -1 and 1, all different and not on one line; shape (N, 2).
    values
        Shape (N, K).

    Returns
    -------
    Shape (N + 3, K): one weight a node, then those of 1, x, y.

    Raises
    ------
    numpy.linalg.LinAlgError
        When nodes coincide or lie on a line.
    """
    n = len(nodes)
    x, y = nodes.T
    flat = np.column_stack([np.ones(n), nodes])
    bent = _bend(x[:, None] - x, y[:, None] - y)[0]
    system = np.block([[bent, flat], [flat.T, np.zeros((3, 3))]])
    right = np.concatenate([values, np.zeros((3, values.shape[1]))])
    if np.linalg.matrix_rank(flat, tol=_OFF) < flat.shape[1]:
        msg = "the nodes lie on a line"
        raise np.linalg.LinAlgError(msg)
    weights: Points = np.linalg.solve(system, right)
    off = np.abs(system @ weights - right).max()
    if not off <= _OFF * max(float(np.ptp(values)), _LEAST):
        msg = f"the splines miss their points by {off}"
        raise np.linalg.LinAlgError(msg)
    return weights


def evaluate(nodes: Points, weights: Points, at: Points) -> Points:
    """Return values of splines, shape (M, K), at points of shape (M, 2)."""
    values = np.empty((len(at), weights.shape[1]))
    for start in range(0, len(at), BLOCK):
        x, y = np.ascontiguousarray(at[start : start + BLOCK].T)
        sums = [a + b * x + c * y for a, b, c in weights[-3:].T.tolist()]
        for (node_x, node_y), each in zip(nodes.tolist(), weights[:-3].tolist(), strict=True):
            bent, _ = _bend(x - node_x, y - node_y)
            for k, weight in enumerate(each):
                sums[k] += weight * bent
        values[start : start + BLOCK] = np.stack(sums, axis=1)
    return values


def slopes(nodes: Points, weights: Points, at: Points) -> Points:
    """Return derivatives of splines by x and y, shape (M, K, 2), at points of shape (M, 2)."""
    derivatives = np.empty((len(at), weights.shape[1], 2))
    for start in range(0, len(at), BLOCK):
        x, y = np.ascontiguousarray(at[start : start + BLOCK].T)
        sums = np.repeat(weights[-2:].T[:, :, None], len(x), axis=2)
        for (node_x, node_y), each in zip(nodes.tolist(), weights[:-3].tolist(), strict=True):
            dx, dy = x - node_x, y - node_y
            _, log = _bend(dx, dy)
            rise = 2.0 * log + 2.0
            for total, weight in zip(sums, each, strict=True):
                total[0] += weight * dx * rise
                total[1] += weight * dy * rise
        derivatives[start : start + BLOCK] = np.moveaxis(sums, 2, 0)
    return derivatives


def _bend(dx: Points, dy: Points) -> tuple[Points, Points]:
    """Return U and log r^2 of distances; at a node itself, U is 0 and the logarithm finite."""
    square = dx * dx + dy * dy
    log = np.log(np.maximum(square, _LEAST))
    return square * log, log
