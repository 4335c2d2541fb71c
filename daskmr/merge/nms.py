"""Non-maximum suppression over the whole image at once."""

from typing import Annotated, Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from daskmr.core.boxes import Boxes
from daskmr.core.features import boxes, in_order
from daskmr.merge._greedy import Index, keep_mask
from daskmr.registry import plugin

_THIN_PX = 0.1
"""Width given to a box without one, as Model Runner does, so that points can be compared."""


@plugin
class Nms:
    """Of features of one class that overlap too much, keep the best.

    Better is the higher score, then the smaller x_min, y_min, x_max, y_max, then the label and the
    content hash: never the order of arrival.
    """

    iou_threshold: Annotated[float, Field(ge=0, le=1)] = 0.75
    """Intersection over union strictly above this makes two features one."""
    class_aware: bool = True
    """Whether features of different labels leave each other alone."""

    def __call__(self, features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """The surviving rows, in canonical order."""
        found = _widened(boxes(features))
        order = _ranking(features, found)
        group = np.zeros(len(features), dtype=np.int64)
        if self.class_aware:
            group = pd.factorize(features["label"])[0].astype(np.int64)
        keep = keep_mask(found[order], self.iou_threshold, group=group[order])
        return in_order(features.iloc[order[keep]])


def _widened(found: Boxes) -> Boxes:
    wide = found.copy()
    wide[:, 2:] += np.where(wide[:, 2:] == wide[:, :2], _THIN_PX, 0.0)
    return wide


def _ranking(features: gpd.GeoDataFrame, found: Boxes) -> Index:
    """Row numbers from best to worst. Keys beyond the score are looked at only where scores tie."""
    score = -features["score"].fillna(-np.inf).to_numpy(dtype=np.float64)
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    same = np.zeros(len(order) + 1, dtype=np.bool_)
    same[1:-1] = ranked[1:] == ranked[:-1]
    places = np.flatnonzero(same[1:] | same[:-1])
    tied = order[places]
    keys: list[NDArray[Any]] = [
        pd.factorize(features[name].iloc[tied], sort=True)[0] for name in ("feature_id", "label")
    ]
    keys += [found[tied, i] for i in (3, 2, 1, 0)]
    order[places] = tied[np.lexsort([*keys, score[tied]])]
    return order.astype(np.int64)
