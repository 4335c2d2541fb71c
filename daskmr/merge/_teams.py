"""Teams: a feature that NMS keeps, and the features that it suppresses."""

from collections.abc import Iterator

import geopandas as gpd
import numpy as np

from daskmr.core.arrays import Index
from daskmr.merge._greedy import Scene
from daskmr.merge._joining import join_groups
from daskmr.merge._rules import Rules
from daskmr.merge.base import Pairs
from daskmr.registry import plugin


@plugin
class TeamRules(Rules):
    """Rules of algorithms that join the features NMS keeps with those it suppresses."""

    __hash__ = Rules.__hash__

    def links(self, features: gpd.GeoDataFrame) -> Iterator[Pairs]:
        """Return pairs of rows in conflict."""
        conflicts = self.scene(features).conflicts(np.arange(len(features)))
        return ((one, other) for one, other, _ in conflicts)

    def join(self, features: gpd.GeoDataFrame, *, averaged: bool) -> gpd.GeoDataFrame:
        """Return one row for each feature that NMS keeps, joined with those it suppresses."""
        order = self.order(features)
        owner = _owners(self.scene(features, order))
        rows = features.iloc[order].reset_index(drop=True)
        return self.limit(join_groups(rows, owner, averaged=averaged))


def _owners(scene: Scene) -> Index:
    """Return for each row the best surviving row that it is in conflict with, or itself."""
    everyone = np.arange(len(scene.group))
    survives = np.zeros(len(everyone), dtype=np.bool_)
    survives[scene.survivors(everyone)] = True
    owner = np.where(survives, everyone, len(everyone))
    for better, worse, _ in scene.conflicts(everyone):
        wins = survives[better]
        np.minimum.at(owner, worse[wins], better[wins])
    return owner
