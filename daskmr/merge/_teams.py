"""What NMS would suppress, together with what suppresses it."""

from collections.abc import Iterator

import geopandas as gpd
import numpy as np

from daskmr.merge._greedy import Scene
from daskmr.merge._joining import joined
from daskmr.merge._ranking import Index
from daskmr.merge._rules import Rules
from daskmr.merge.base import Pairs
from daskmr.registry import plugin


@plugin
class TeamRules(Rules):
    """Rules of algorithms that join the features NMS keeps with those it suppresses."""

    __hash__ = Rules.__hash__

    def links(self, features: gpd.GeoDataFrame) -> Iterator[Pairs]:
        """Pairs of rows in conflict."""
        found = self.scene(features).conflicts(np.arange(len(features)))
        return ((one, other) for one, other, _ in found)

    def joined(self, features: gpd.GeoDataFrame, *, averaged: bool) -> gpd.GeoDataFrame:
        """One row for each feature that NMS keeps, of it and all that yield to it."""
        order = self.order(features)
        owner = _owners(self.scene(features, order))
        rows = features.iloc[order].reset_index(drop=True)
        return self.limited(joined(rows, owner, averaged=averaged))


def _owners(scene: Scene) -> Index:
    """For each row the best row that survives and that it is in conflict with, or itself."""
    everyone = np.arange(len(scene.group))
    survives = np.zeros(len(everyone), dtype=np.bool_)
    survives[scene.survivors(everyone)] = True
    owner = np.where(survives, everyone, len(everyone))
    for better, worse, _ in scene.conflicts(everyone):
        wins = survives[better]
        np.minimum.at(owner, worse[wins], better[wins])
    return owner
