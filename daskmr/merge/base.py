"""What a merge algorithm is."""

from typing import Protocol

import geopandas as gpd


class Merge(Protocol):
    """Makes one row of each object that several tiles saw.

    Frozen plain data (see `daskmr.registry.plugin`). The answer depends on the rows only, never on
    their order or on how the work was split.
    """

    def __call__(self, features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """The surviving rows of a table in pixels, in canonical order."""
