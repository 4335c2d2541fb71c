"""A way to merge: of points closer than some pixels, the one with the highest score stays."""

from collections.abc import Iterator

import geopandas as gpd
import numpy as np
from scipy.spatial import KDTree

from daskmr.core.features import in_order
from daskmr.merge.base import Pairs
from daskmr.registry import plugin


@plugin
class Nearest:
    """Points of one class that are close to each other are one."""

    distance_px: float = 8.0
    """Pixels between centres below which two features are one; a merge option."""

    @property
    def reach_px(self) -> float:
        """Largest distance, in pixels of either axis, at which features influence each other."""
        return self.distance_px

    @property
    def max_count(self) -> None:
        """No limit to the number of features."""
        return

    def links(self, features: gpd.GeoDataFrame) -> Iterator[Pairs]:
        """Yield pairs of rows that may influence each other."""
        pairs = KDTree(_centres(features)).query_pairs(self.distance_px, output_type="ndarray")
        yield pairs[:, 0], pairs[:, 1]

    def __call__(self, features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """Return the rows that stay; the result must not depend on the order of the rows."""
        ranked = in_order(features).sort_values("score", ascending=False, kind="stable")
        left, right = next(self.links(ranked)) if len(ranked) else ([], [])
        labels = ranked["label"].to_numpy()
        keep = np.ones(len(ranked), dtype=np.bool_)
        for better, worse in sorted(
            zip(np.minimum(left, right), np.maximum(left, right), strict=True)
        ):
            if keep[better] and labels[better] == labels[worse]:
                keep[worse] = False
        return in_order(ranked[keep])


def _centres(features: gpd.GeoDataFrame) -> np.ndarray:
    bounds = features.geometry.bounds.to_numpy()
    return (bounds[:, :2] + bounds[:, 2:]) / 2
