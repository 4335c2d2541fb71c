"""Decay of scores by better neighbours: the loop of soft suppression, many rows at a time."""

import heapq

import numpy as np
from numpy.typing import NDArray

from daskmr.core.arrays import Floats
from daskmr.merge.base import Pairs

_ROUNDS = 50


def decay(scores: Floats, pairs: Pairs, weights: Floats, *, least: float) -> Floats:
    """Return the scores after soft suppression.

    The plain loop takes the row with the highest remaining score, then lowers the scores of its
    neighbours, until all are taken; a row whose score falls to `least` is never taken. Scores only
    fall, so a row that is above all its open neighbours will be taken before them, whatever happens
    elsewhere: all such rows are taken at once.

    Parameters
    ----------
    scores
        Shape (N,), best first; NaN is never lowered nor taken.
    pairs
        Neighbours, the better row first; each pair once.
    weights
        Factor of the score of one when the other is taken, 0 to 1.
    least
        Score at which a row is dropped, at least 0.
    """
    left = scores.copy()
    is_open = left > least
    one, other = pairs
    for _ in range(_ROUNDS):
        some = is_open[one] & is_open[other]
        one, other, weights = one[some], other[some], weights[some]
        if not len(one):
            return left
        first = (left[one] > left[other]) | ((left[one] == left[other]) & (one < other))
        winner, loser = np.where(first, one, other), np.where(first, other, one)
        waiting = np.zeros(len(left), dtype=np.bool_)
        waiting[loser] = True
        taken = np.flatnonzero(~waiting[winner])
        # Always in the order of rank: products of floats depend on it.
        taken = taken[np.lexsort([winner[taken], loser[taken]])]
        np.multiply.at(left, loser[taken], weights[taken])
        is_open[winner[taken]] = False
        is_open &= left > least
    _finish(left, is_open, (one, other), weights=weights, least=least)
    return left


def _finish(
    left: Floats,
    is_open: NDArray[np.bool_],
    pairs: Pairs,
    *,
    weights: Floats,
    least: float,
) -> None:
    """Run the plain loop for the long chains that are left."""
    near: dict[int, list[tuple[int, float]]] = {}
    for i, j, weight in zip(*(part.tolist() for part in (*pairs, weights)), strict=True):
        near.setdefault(i, []).append((j, weight))
        near.setdefault(j, []).append((i, weight))
    heap = [(-float(left[i]), i) for i in near if is_open[i]]
    heapq.heapify(heap)
    while heap:
        score, i = heapq.heappop(heap)
        if not is_open[i] or -score != left[i]:
            continue
        is_open[i] = False
        for j, weight in near[i]:
            if is_open[j]:
                left[j] *= weight
                is_open[j] = bool(left[j] > least)
                heapq.heappush(heap, (-float(left[j]), j))
