"""Ranking of features: a total order that is independent of their arrival."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from daskmr.core.arrays import Index
from daskmr.core.features import boxes, in_order


def ranking(features: gpd.GeoDataFrame) -> Index:
    """Return row numbers from best to worst.

    Better is the higher score, then the smaller x_min, y_min, x_max, y_max, then the label and the
    content hash. Each key is compared only where all before it tie.
    """
    order = np.arange(len(features))
    places, run = order.copy(), np.zeros(len(features), dtype=np.int64)
    for key in _keys(features):
        value = key(order[places])
        again = np.lexsort([value, run]) if run[-1:].any() else np.argsort(value, kind="stable")
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


def best(features: gpd.GeoDataFrame, n: int | None) -> gpd.GeoDataFrame:
    """Return the n best rows of a table in pixels, in canonical order; all when n is None."""
    if n is None or len(features) <= n:
        return features
    return in_order(features.iloc[ranking(features)[:n]])


def _keys(features: gpd.GeoDataFrame) -> Iterator[Callable[[Index], NDArray[Any]]]:
    """Yield sort keys, most important first: functions of row numbers, smaller is better."""
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
    """Return the ranks of some rows' texts among their sorted distinct texts."""
    return pd.factorize(text.iloc[rows], sort=True)[0]
