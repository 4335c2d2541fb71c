"""Protocol of merge algorithms."""

from collections.abc import Iterator
from typing import Protocol

import geopandas as gpd

from daskmr.core.arrays import Index

Pairs = tuple[Index, Index]
"""Numbers of rows, those of the first and those of the second of each pair."""


class Merge(Protocol):
    """Merges the rows of each object that several tiles detected into one.

    Frozen plain data (see `daskmr.registry.plugin`). The result depends on the rows only, never on
    their order or on the split of the work.
    """

    @property
    def reach_px(self) -> float | None:
        """Largest distance of boxes of features that influence each other, pixels of either axis.

        None when no feature ever influences another.
        """

    @property
    def max_count(self) -> int | None:
        """Most features of the whole result; None for any number."""

    def links(self, features: gpd.GeoDataFrame) -> Iterator[Pairs]:
        """Return pairs of rows that may influence each other, each once, in chunks.

        Rows that no chain of links connects may be merged apart, with the same result.
        """

    def __call__(self, features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """Return the surviving rows of a table in pixels, in canonical order."""
