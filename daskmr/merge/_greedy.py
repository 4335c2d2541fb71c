"""Greedy suppression of boxes, exactly, at millions.

The answer is that of the plain loop: take boxes from best to worst, keep each one that no kept box
overlaps too much. It is the lexicographically first maximal independent set of the graph of
conflicts, so it may be computed in any order that decides a box after its better neighbours.

Conflicts are found with uniform grids, one for each size class of boxes. Memory is bounded: where
boxes lie so densely that their pairs are too many, the better half is decided first and removes
what it suppresses of the other half.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from daskmr.core.boxes import Boxes, iou

Index = NDArray[np.int64]
Pairs = tuple[Index, Index]

MAX_PAIRS = 20_000_000
"""Most candidate pairs that are decided at once."""
_CHUNK = 2_000_000
_ROUNDS = 50
_BASE = 4.0
_LEAST = 0.25  # pixels; with smaller cells their numbers would not fit 64 bits in a large scene


def keep_mask(boxes: Boxes, threshold: float, *, group: Index) -> NDArray[np.bool_]:
    """Which boxes survive.

    Parameters
    ----------
    boxes
        Shape (N, 4), best first, finite.
    threshold
        Intersection over union strictly above this is a conflict; 1 is above nothing.
    group
        Shape (N,); boxes conflict only within a group.

    Returns
    -------
    Shape (N,).
    """
    if threshold >= 1:
        return np.ones(len(boxes), dtype=np.bool_)
    keep = np.zeros(len(boxes), dtype=np.bool_)
    keep[_Scene(boxes, threshold, group).resolve(np.arange(len(boxes)))] = True
    return keep


def conflicts(boxes: Boxes, threshold: float, *, group: Index) -> Iterator[Pairs]:
    """All pairs of boxes in conflict, each once, in chunks; parameters as of `keep_mask`."""
    return iter(()) if threshold >= 1 else _Scene(boxes, threshold, group).conflicts()


class _Scene:
    """Boxes with what is needed to find their neighbours."""

    def __init__(self, boxes: Boxes, threshold: float, group: Index) -> None:
        self.boxes, self.threshold, self.group = boxes, threshold, group
        self.centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        sides = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0.0), _LEAST)
        # Exact, unlike a logarithm: sides of level k are at least 4 ** (k - 1) and below 4 ** k.
        self.levels = ((np.frexp(sides)[1] + 1) // 2).astype(np.int64)

    def resolve(self, index: Index) -> Index:
        """The survivors of some boxes (indices, best first)."""
        if self._n_candidates(index) <= MAX_PAIRS or len(index) <= _ROUNDS:
            return self._decide(index)
        half = len(index) // 2
        kept = self.resolve(index[:half])
        return np.concatenate([kept, self.resolve(self._without_conflicts(kept, index[half:]))])

    def conflicts(self) -> Iterator[Pairs]:
        """All pairs in conflict, in chunks."""
        return (self._conflicts(chunk) for chunk in self._pairs_within(np.arange(len(self.boxes))))

    def _decide(self, index: Index) -> Index:
        """Survivors by the graph of all conflicts among some boxes."""
        found = [pair for chunk in self._pairs_within(index) for pair in [self._conflicts(chunk)]]
        better = np.concatenate([pair[0] for pair in found]) if found else index[:0]
        worse = np.concatenate([pair[1] for pair in found]) if found else index[:0]
        lost = np.zeros(len(self.boxes), dtype=np.bool_)
        _suppress(better, worse, lost)
        return index[~lost[index]]

    def _without_conflicts(self, kept: Index, others: Index) -> Index:
        """Those of the others that no kept box suppresses."""
        lost = np.zeros(len(self.boxes), dtype=np.bool_)
        for first in np.unique(self.levels[kept]):
            queries = kept[self.levels[kept] == first]
            for second in np.unique(self.levels[others]):
                targets = others[self.levels[others] == second]
                if self._comparable(first, second):
                    for chunk in self._near(queries, targets, max(first, second)):
                        lost[self._conflicts(chunk)[1]] = True
        return others[~lost[others]]

    def _pairs_within(self, index: Index) -> Iterator[Pairs]:
        """Candidate pairs, each once, the better box first."""
        levels = self.levels[index]
        for queries, targets, level in self._combinations(index, levels):
            for one, other in self._near(queries, targets, level):
                if self.levels[one[0]] == self.levels[other[0]]:
                    once = one < other
                    yield one[once], other[once]
                else:
                    yield np.minimum(one, other), np.maximum(one, other)

    def _combinations(self, index: Index, levels: Index) -> Iterator[tuple[Index, Index, int]]:
        present = np.unique(levels)
        for i, small in enumerate(present):
            for large in present[i:]:
                if self._comparable(small, large):
                    yield index[levels == small], index[levels == large], int(large)

    def _comparable(self, first: int, second: int) -> bool:
        """Whether boxes of two size classes can overlap enough: IoU <= ratio of longest sides."""
        return bool(_BASE ** (1.0 - abs(int(first) - int(second))) > self.threshold)

    def _n_candidates(self, index: Index) -> int:
        levels = self.levels[index]
        return sum(
            int((stop - start).sum())
            for queries, targets, level in self._combinations(index, levels)
            for _, _, start, stop in self._ranges(queries, targets, level)
        )

    def _near(self, queries: Index, targets: Index, level: int) -> Iterator[Pairs]:
        """Pairs of a query and a target in neighbouring cells, in bounded chunks."""
        for ordered, sorted_targets, start, stop in self._ranges(queries, targets, level):
            ends = np.cumsum(stop - start)
            first = 0
            while first < len(ordered):
                before = ends[first - 1] if first else 0
                last = max(first + 1, int(np.searchsorted(ends, before + _CHUNK, side="right")))
                part = slice(first, last)
                count = (stop - start)[part]
                if count.any():
                    offset = np.repeat(start[part] - (np.cumsum(count) - count), count)
                    found = sorted_targets[offset + np.arange(count.sum())]
                    yield np.repeat(ordered[part], count), found
                first = last

    def _ranges(
        self, queries: Index, targets: Index, level: int
    ) -> Iterator[tuple[Index, Index, Index, Index]]:
        """For each row of cells beside a query's: where its neighbours lie among the targets."""
        cell = _BASE ** float(level)
        rows = np.floor(self.centres / cell).astype(np.int64)
        low = rows[targets].min(axis=0) - 2
        wide = int(max(rows[queries, 0].max(), rows[targets, 0].max()) - low[0] + 3)

        def keys(index: Index) -> Index:
            place = np.maximum(rows[index] - low, 0)
            key: Index = place[:, 1] * wide + place[:, 0]
            return key

        target_keys = keys(targets)
        order = np.argsort(target_keys, kind="stable")
        target_keys, sorted_targets = target_keys[order], targets[order]
        query_keys = keys(queries)
        query_order = np.argsort(query_keys, kind="stable")
        query_keys, ordered = query_keys[query_order], queries[query_order]
        for step in (-wide, 0, wide):
            start = np.searchsorted(target_keys, query_keys + (step - 1), side="left")
            stop = np.searchsorted(target_keys, query_keys + (step + 1), side="right")
            yield ordered, sorted_targets, start, stop

    def _conflicts(self, pairs: Pairs) -> Pairs:
        one, other = pairs
        same = self.group[one] == self.group[other]
        one, other = one[same], other[same]
        over = iou(self.boxes[one], self.boxes[other]) > self.threshold
        return one[over], other[over]


def _suppress(better: Index, worse: Index, lost: NDArray[np.bool_]) -> None:
    """Mark the boxes that lose, deciding all boxes without an undecided better one at once."""
    undecided = np.ones(len(lost), dtype=np.bool_)
    for _ in range(_ROUNDS):
        if not len(better):
            return
        waiting = np.zeros(len(lost), dtype=np.bool_)
        waiting[worse] = True
        wins = ~waiting[better]
        lost[worse[wins]] = True
        undecided[better[wins]] = False
        undecided[lost] = False
        open_pairs = undecided[better] & undecided[worse]
        better, worse = better[open_pairs], worse[open_pairs]
    # Long chains of ever weaker neighbours: few pairs are left, and a plain loop ends it.
    order = np.lexsort([worse, better])
    for u, v in zip(better[order].tolist(), worse[order].tolist(), strict=True):
        if not lost[u]:
            lost[v] = True
