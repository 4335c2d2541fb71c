"""Greedy suppression, exactly, at millions.

The result is that of the plain loop: take rows from best to worst, keep each one that is in
conflict with no kept row. It is the lexicographically first maximal independent set of the graph of
conflicts, so it may be computed in any order that decides a row after its better neighbours.

Memory is bounded: where boxes lie so densely that their pairs are too many, the better half is
decided first and removes what it suppresses of the other half.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from daskmr.core.arrays import Floats, Index
from daskmr.merge._neighbours import Neighbours, Span
from daskmr.merge._shapes import Shapes
from daskmr.merge.base import Pairs

MAX_PAIRS = 10_000_000
"""Most candidate pairs that are decided at once."""
_ROUNDS = 50


@dataclass(frozen=True)
class Scene:
    """Rows that compete, best first, with an index to find their neighbours."""

    shapes: Shapes
    """Of N rows."""
    threshold: Floats
    """Shape (N,); two rows are in conflict when their overlap is strictly above the lower one."""
    group: Index
    """Shape (N,); rows compete only within a group."""
    _least: float = field(init=False)
    _near: Neighbours = field(init=False)

    def __post_init__(self) -> None:
        least = float(self.threshold.min(initial=1.0))
        # Only of boxes is the overlap at most the ratio of their sides.
        by_size = self.shapes.metric == "iou" and not len(self.shapes.shaped)
        object.__setattr__(self, "_least", least)
        near = Neighbours(self.shapes.boxes, least if by_size else 0.0)
        object.__setattr__(self, "_near", near)

    def survivors(self, index: Index) -> Index:
        """Return those of some rows (numbers, best first) that survive."""
        if self._least >= 1:
            return index
        spans = self._near.within(index)
        if sum(span.n_pairs for span in spans) <= MAX_PAIRS or len(index) <= _ROUNDS:
            return self._decide(index, spans)
        del spans
        half = len(index) // 2
        kept = self.survivors(index[:half])
        left = self._without_conflicts(kept, index[half:])
        return np.concatenate([kept, self.survivors(left)])

    def conflicts(self, index: Index) -> Iterator[tuple[Index, Index, Floats]]:
        """Yield pairs in conflict among some rows, the better row first, and their overlap."""
        if self._least >= 1:
            return
        for span in self._near.within(index):
            for one, other in span.pairs():
                better, worse = np.minimum(one, other), np.maximum(one, other)
                yield self.of_conflicts(better, worse)

    def of_conflicts(self, one: Index, other: Index) -> tuple[Index, Index, Floats]:
        """Return those of some pairs that are in conflict, and their overlap."""
        same = self.group[one] == self.group[other]
        one, other = one[same], other[same]
        overlap = self.shapes.overlap(one, other, above=self._least)
        over = overlap > np.minimum(self.threshold[one], self.threshold[other])
        return one[over], other[over], overlap[over]

    def candidates(self, queries: Index, targets: Index) -> Iterator[Pairs]:
        """Yield pairs of a query and a target of one group that may touch, in chunks."""
        for span in self._near.between(queries, targets):
            for one, other in span.pairs():
                same = self.group[one] == self.group[other]
                yield one[same], other[same]

    def _decide(self, index: Index, spans: Sequence[Span]) -> Index:
        """Return survivors by the graph of all conflicts among some rows."""
        better, worse = [index[:0]], [index[:0]]
        for span in spans:
            for one, other in span.pairs():
                conflicts = self.of_conflicts(np.minimum(one, other), np.maximum(one, other))
                better.append(conflicts[0])
                worse.append(conflicts[1])
        lost = suppress(np.concatenate(better), np.concatenate(worse), len(self.group))
        return index[~lost[index]]

    def _without_conflicts(self, kept: Index, others: Index) -> Index:
        """Return those of the others that no kept row suppresses."""
        lost = np.zeros(len(self.group), dtype=np.bool_)
        for one, other in self.candidates(kept, others):
            lost[self.of_conflicts(one, other)[1]] = True
        return others[~lost[others]]


def suppress(better: Index, worse: Index, n: int) -> NDArray[np.bool_]:
    """Return a mask of the rows that lose: those in conflict with a better row that does not lose.

    All rows without an undecided better rival are decided at once.

    Parameters
    ----------
    better, worse
        Pairs in conflict; ``better < worse``.
    n
        Number of rows.
    """
    lost, undecided = np.zeros(n, dtype=np.bool_), np.ones(n, dtype=np.bool_)
    for _ in range(_ROUNDS):
        if not len(better):
            return lost
        waiting = np.zeros(n, dtype=np.bool_)
        waiting[worse] = True
        wins = ~waiting[better]
        lost[worse[wins]] = True
        undecided[better[wins]] = False
        undecided[lost] = False
        is_open = undecided[better] & undecided[worse]
        better, worse = better[is_open], worse[is_open]
    # Long chains of ever weaker neighbours: few pairs are left, and a plain loop ends it.
    order = np.lexsort([worse, better])
    for u, v in zip(better[order].tolist(), worse[order].tolist(), strict=True):
        if not lost[u]:
            lost[v] = True
    return lost
