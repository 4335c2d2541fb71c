"""Greedy non-maximum merging: duplicates are united with the best, not thrown away."""

import geopandas as gpd

from daskmr.merge._rules import Rules
from daskmr.merge._teams import TeamRules
from daskmr.registry import plugin


@plugin
class Nmm(TeamRules):
    """Of features of one class that overlap too much, keep the best and let it cover the others.

    Overlap is that of the features as the model returned them. A feature that has grown does not
    absorb more of its neighbours, so that neither the order of arrival nor a chain of neighbours
    matters.
    """

    __hash__ = Rules.__hash__

    def __call__(self, features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """Return one row for each object, in canonical order."""
        return self.join(features, averaged=False)
