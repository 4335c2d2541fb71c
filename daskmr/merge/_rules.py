"""Options that all algorithms share."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from daskmr.core.arrays import Index
from daskmr.core.features import boxes, in_order
from daskmr.merge._greedy import Scene
from daskmr.merge._ranking import best, ranking
from daskmr.merge._shapes import THIN_PX, Metric, Shapes
from daskmr.registry import plugin


def _parse_json(value: Any) -> Any:
    """Parse JSON text, as options of the command line are written; return other values as is."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        msg = f"{value!r} is not JSON"
        raise ValueError(msg) from error


Share = Annotated[float, Field(ge=0, le=1)]
Shares = Annotated[Mapping[str, Share], BeforeValidator(_parse_json)]
Scores = Annotated[Mapping[str, float], BeforeValidator(_parse_json)]
Groups = Annotated[Sequence[Sequence[str]], BeforeValidator(_parse_json)]


@plugin
class Rules:
    """Rules by which features compete, and two of them are in conflict.

    Better is the higher score, then the smaller x_min, y_min, x_max, y_max, then the label and the
    content hash: never the order of arrival. A feature without a score is worse than any with one.
    """

    iou_threshold: Share = 0.75
    """Overlap strictly above this makes two features one."""
    metric: Metric = "iou"
    """Measure of overlap: intersection over union, or ``ios``: over the smaller of the two."""
    class_aware: bool = True
    """True when only features of one label compete."""
    class_groups: Groups = ()
    """Labels that compete with one another all the same: ``[["car", "van"]]``."""
    class_thresholds: Shares = Field(default_factory=dict)
    """`iou_threshold` of single labels; between two labels the lower one counts."""
    score_threshold: float | None = None
    """Features with a lower score are left out."""
    class_scores: Scores = Field(default_factory=dict)
    """`score_threshold` of single labels."""
    max_count: Annotated[int, Field(ge=1)] | None = None
    """Most features of the whole result, the best ones."""
    distance_px: Annotated[float, Field(ge=0)] = THIN_PX
    """Points that are no farther apart overlap wholly; those with a box are compared by it."""

    # Subclasses must name it again: dataclasses would give each a hash that fails on mappings.
    def __hash__(self) -> int:
        return hash(repr(self))

    @property
    def reach_px(self) -> float:
        """Distance up to which features compete: 0 but for points and thin boxes."""
        return max(THIN_PX, self.distance_px)

    def order(self, features: gpd.GeoDataFrame) -> Index:
        """Return numbers of the rows whose score is high enough, best first."""
        order = ranking(features)
        if self.score_threshold is None and not self.class_scores:
            return order
        least = self._of_label(features, self.score_threshold, self.class_scores)
        low = features["score"].to_numpy(dtype=np.float64) < least
        high: Index = order[~low[order]]
        return high

    def scene(self, features: gpd.GeoDataFrame, order: Index | None = None) -> Scene:
        """Return the scene of some rows, in this order; of all rows in theirs, without one."""
        rows = slice(None) if order is None else order
        threshold = self._of_label(features, self.iou_threshold, self.class_thresholds)
        shapes = Shapes(
            np.asarray(features.geometry.to_numpy(), dtype=object)[rows],
            boxes(features)[rows],
            metric=self.metric,
            distance_px=self.distance_px,
        )
        return Scene(shapes, threshold[rows], self.groups(features)[rows])

    def groups(self, features: gpd.GeoDataFrame) -> Index:
        """Return numbers of the groups within which rows compete."""
        if not self.class_aware:
            return np.zeros(len(features), dtype=np.int64)
        numbers, labels = pd.factorize(features["label"])
        alias = {label: names[0] for names in self.class_groups for label in names}
        shared = pd.factorize(np.array([alias.get(name, name) for name in labels], dtype=object))[0]
        groups: Index = (
            shared.astype(np.int64)[numbers] if len(labels) else numbers.astype(np.int64)
        )
        return groups

    def limit(self, features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """Return the best of the rows that survive, in canonical order."""
        return best(in_order(features), self.max_count)

    @staticmethod
    def _of_label(
        features: gpd.GeoDataFrame, value: float | None, special: Mapping[str, float]
    ) -> NDArray[np.float64]:
        """Return a number for each row, by its label."""
        if not special:
            return np.full(len(features), -np.inf if value is None else value)
        numbers, labels = pd.factorize(features["label"])
        usual = -np.inf if value is None else value
        table = np.array([special.get(label, usual) for label in labels], dtype=np.float64)
        return table[numbers] if len(labels) else np.empty(0)
