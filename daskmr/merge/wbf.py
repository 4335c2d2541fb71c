"""Weighted box fusion: duplicates are averaged with the best, by their scores."""

import geopandas as gpd

from daskmr.merge._rules import Rules
from daskmr.merge._teams import TeamRules
from daskmr.registry import plugin


@plugin
class Wbf(TeamRules):
    """Of features of one class that overlap too much, keep the best, with the mean of their boxes.

    Boxes are averaged with their scores as weights (Solovyev et al. 2021,
    doi:10.1016/j.imavis.2021.104117). Unlike there, features join by their overlap with the best
    one and not with a mean that moves, which would make the order of arrival matter; and the score
    stays the best one, since the number of tiles that show an object is no evidence. Good for
    repeated views of whole objects; where edges of tiles cut objects, use ``edge_aware``.
    """

    __hash__ = Rules.__hash__

    def __call__(self, features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """Return one row for each object, in canonical order."""
        return self.join(features, averaged=True)
