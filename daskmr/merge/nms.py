"""Non-maximum suppression over the whole image at once."""

from collections.abc import Iterator

import geopandas as gpd
import numpy as np

from daskmr.merge._rules import Rules
from daskmr.merge.base import Pairs
from daskmr.registry import plugin


@plugin
class Nms(Rules):
    """Of features of one class that overlap too much, keep the best."""

    __hash__ = Rules.__hash__

    def links(self, features: gpd.GeoDataFrame) -> Iterator[Pairs]:
        """Return pairs of rows in conflict."""
        conflicts = self.scene(features).conflicts(np.arange(len(features)))
        return ((one, other) for one, other, _ in conflicts)

    def __call__(self, features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """Return the surviving rows, in canonical order."""
        order = self.order(features)
        kept = self.scene(features, order).survivors(np.arange(len(order)))
        return self.limit(features.iloc[np.sort(order[kept])])
