"""Neighbour search among boxes: uniform grids, one for each size class of boxes.

Boxes that touch lie in the same cell of the larger one's grid, or in cells that touch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from daskmr.core.arrays import Index
from daskmr.core.boxes import Boxes
from daskmr.merge.base import Pairs

CHUNK = 2_000_000
"""Most pairs in one chunk."""
_BASE = 4.0
_LEAST = 0.25  # pixels; with smaller cells their numbers would not fit 64 bits in a large scene


@dataclass(frozen=True, slots=True)
class Span:
    """For each of some boxes, a range of others that lie beside it."""

    boxes: Index
    others: Index
    start: Index
    stop: Index

    @property
    def n_pairs(self) -> int:
        """Number of pairs."""
        return int((self.stop - self.start).sum())

    def pairs(self) -> Iterator[Pairs]:
        """Yield the pairs, in chunks of bounded size."""
        counts = self.stop - self.start
        ends = np.cumsum(counts)
        first = 0
        while first < len(self.boxes):
            before = ends[first - 1] if first else 0
            last = max(first + 1, int(np.searchsorted(ends, before + CHUNK, side="right")))
            count = counts[first:last]
            if count.any():
                offset = np.repeat(self.start[first:last] - (np.cumsum(count) - count), count)
                neighbours = self.others[offset + np.arange(count.sum())]
                yield np.repeat(self.boxes[first:last], count), neighbours
            first = last


class Neighbours:
    """Finds pairs of boxes that may touch.

    Parameters
    ----------
    boxes
        Shape (N, 4), finite.
    least_ratio
        Pairs whose longest sides have a smaller ratio than this may be left out; 0 leaves out none.
    """

    def __init__(self, boxes: Boxes, least_ratio: float) -> None:
        self._centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        sides = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0.0), _LEAST)
        # Exact, unlike a logarithm: sides of level k are at least 4 ** (k - 1) and below 4 ** k.
        self._levels = ((np.frexp(sides)[1] + 1) // 2).astype(np.int64)
        self._least_ratio = least_ratio

    def within(self, index: Index) -> list[Span]:
        """Return pairs among some boxes, each once."""
        levels = self._split(index)
        spans = [span for level, some in levels for span in self._alike(some, level)]
        for i, (small, some) in enumerate(levels):
            for large, others in levels[i + 1 :]:
                if self._comparable(small, large):
                    spans.extend(self._ranges(some, others, large))
        return spans

    def between(self, queries: Index, targets: Index) -> list[Span]:
        """Return pairs of a query and a target, each once."""
        return [
            span
            for first, some in self._split(queries)
            for second, others in self._split(targets)
            if self._comparable(first, second)
            for span in self._ranges(some, others, max(first, second))
        ]

    def _split(self, index: Index) -> list[tuple[int, Index]]:
        levels = self._levels[index]
        return [(int(level), index[levels == level]) for level in np.unique(levels)]

    def _comparable(self, first: int, second: int) -> bool:
        return bool(_BASE ** (1.0 - abs(first - second)) > self._least_ratio)

    def _alike(self, index: Index, level: int) -> Iterator[Span]:
        """Yield pairs among boxes of one size class: in the cell, the next, the row below."""
        (keys,), wide = self._keys([index], level)
        order = np.argsort(keys)
        keys, index = keys[order], index[order]
        later = np.arange(1, len(keys) + 1)
        yield Span(index, index, later, np.searchsorted(keys, keys + 1, side="right"))
        start = np.searchsorted(keys, keys + (wide - 1), side="left")
        stop = np.searchsorted(keys, keys + (wide + 1), side="right")
        yield Span(index, index, start, stop)

    def _ranges(self, queries: Index, targets: Index, level: int) -> Iterator[Span]:
        """Yield the range of targets beside each query, for each of three rows of cells."""
        (query_keys, target_keys), wide = self._keys([queries, targets], level)
        order = np.argsort(target_keys)
        target_keys, targets = target_keys[order], targets[order]
        order = np.argsort(query_keys)
        query_keys, queries = query_keys[order], queries[order]
        for step in (-wide, 0, wide):
            start = np.searchsorted(target_keys, query_keys + (step - 1), side="left")
            stop = np.searchsorted(target_keys, query_keys + (step + 1), side="right")
            yield Span(queries, targets, start, stop)

    def _keys(self, parts: Sequence[Index], level: int) -> tuple[list[Index], int]:
        """Return numbers of cells, row by row, and the number of cells in a row."""
        places = [np.floor(self._centres[p] / _BASE**level).astype(np.int64) for p in parts]
        low = np.min([place.min(axis=0) for place in places], axis=0) - 1
        wide = int(max(place[:, 0].max() for place in places) - low[0] + 2)
        return [(p[:, 1] - low[1]) * wide + (p[:, 0] - low[0]) for p in places], wide
