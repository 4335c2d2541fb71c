"""Non-maximum suppression over the whole image at once."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from daskmr.core.boxes import Boxes
from daskmr.core.features import boxes, in_order
from daskmr.merge._greedy import Index, conflicts, keep_mask
from daskmr.merge.base import Pairs
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

    @property
    def reach_px(self) -> float:
        """Boxes that do not touch leave each other alone, but for the width of thin ones."""
        return _THIN_PX

    def links(self, features: gpd.GeoDataFrame) -> Iterator[Pairs]:
        """Pairs of rows in conflict."""
        return conflicts(
            _widened(boxes(features)), self.iou_threshold, group=self._groups(features)
        )

    def __call__(self, features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        """The surviving rows, in canonical order."""
        found = _widened(boxes(features))
        order = _ranking(features)
        group = self._groups(features)
        keep = keep_mask(found[order], self.iou_threshold, group=group[order])
        return in_order(features.iloc[order[keep]])

    def _groups(self, features: gpd.GeoDataFrame) -> Index:
        """Numbers of the groups within which rows compete."""
        if not self.class_aware:
            return np.zeros(len(features), dtype=np.int64)
        numbers: Index = pd.factorize(features["label"])[0].astype(np.int64)
        return numbers


def _widened(found: Boxes) -> Boxes:
    wide = found.copy()
    wide[:, 2:] += np.where(wide[:, 2:] == wide[:, :2], _THIN_PX, 0.0)
    return wide


def _ranking(features: gpd.GeoDataFrame) -> Index:
    """Row numbers from best to worst; each key is looked at only where all before it tie."""
    order = np.arange(len(features))
    places, run = order.copy(), np.zeros(len(features), dtype=np.int64)
    for key in _keys(features):
        value = key(order[places])
        again = np.lexsort([value, run])
        order[places] = order[places][again]
        value, run = value[again], run[again]
        new = np.ones(len(run), dtype=np.bool_)
        new[1:] = (value[1:] != value[:-1]) | (run[1:] != run[:-1])
        run = np.cumsum(new)
        tied = np.bincount(run)[run] > 1
        places, run = places[tied], run[tied]
        if not len(places):
            break
    return order


def _keys(features: gpd.GeoDataFrame) -> Iterator[Callable[[Index], NDArray[Any]]]:
    """What ranks rows, most important first: numbers of some rows, the smaller the better."""
    score = features["score"].to_numpy(dtype=np.float64)
    unknown = np.isnan(score)
    score = np.where(unknown, np.inf, -score)
    yield score.__getitem__
    yield unknown.__getitem__
    for side in boxes(features).T:
        yield side.__getitem__
    for name in ("label", "feature_id"):
        yield partial(_alphabetic, features[name])


def _alphabetic(text: "pd.Series[str]", rows: Index) -> NDArray[Any]:
    """Places of some rows' texts among their sorted distinct texts."""
    return pd.factorize(text.iloc[rows], sort=True)[0]
