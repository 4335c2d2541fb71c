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
        """No feature has an influence on another."""
        return

    @property
    def max_count(self) -> None:
        """Any number."""
        return

    def links(self, _features: gpd.GeoDataFrame) -> Iterator[Pairs]:
        """None."""
        return iter(())

    def __call__(self, features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """All rows, in canonical order; the content hash decides where that leaves a choice."""
        return in_order(features.sort_values("feature_id", kind="stable"))
