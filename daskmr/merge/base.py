"""What a merge algorithm is."""

from collections.abc import Iterator
from typing import Protocol

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Numbers of rows, those of the first and those of the second of each pair."""


class Merge(Protocol):
    """Makes one row of each object that several tiles saw.

    Frozen plain data (see `daskmr.registry.plugin`). The answer depends on the rows only, never on
    their order or on how the work was split.
    """

    @property
    def reach_px(self) -> float | None:
        """How far influence reaches between the boxes of two features, in pixels of either axis.

        None when no feature ever has an influence on another.
        """

    @property
    def max_count(self) -> int | None:
        """Most features of the whole result; None for any number."""

    def links(self, features: gpd.GeoDataFrame) -> Iterator[Pairs]:
        """Pairs of rows that may have an influence on one another, each once, in chunks.

        Rows that hang together by no chain of links may be merged apart, to the same answer.
        """

    def __call__(self, features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """The surviving rows of a table in pixels, in canonical order."""
