"""No merging: every feature stays."""

from collections.abc import Iterator

import geopandas as gpd

from daskmr.core.features import in_order
from daskmr.merge.base import Pairs
from daskmr.registry import plugin


@plugin
class KeepAll:
    """Keep every row."""

    @property
    def reach_px(self) -> None:
        """None: no feature influences another."""
        return

    @property
    def max_count(self) -> None:
        """None: any number."""
        return

    def links(self, _features: gpd.GeoDataFrame) -> Iterator[Pairs]:
        """Return no pairs."""
        return iter(())

    def __call__(self, features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """Return all rows, in canonical order; ties are in the order of the content hash."""
        return in_order(features.sort_values("feature_id", kind="stable"))
