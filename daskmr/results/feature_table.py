"""The tables of a result for users: features on the ground, and their pixel geometry."""

import json
from typing import Any

import geopandas as gpd
import pandas as pd

from daskmr.core.features import IMAGE_BOX

IMAGE_BBOX = "image_bbox"
"""Column of the box of each feature as one tuple."""


class FeatureTable(gpd.GeoDataFrame):  # type: ignore[misc]
    """A GeoDataFrame whose JSON has times, which GeoPandas by itself refuses to write.

    Selections of rows are such tables, too.
    """

    def to_json(self, *args: Any, **kwargs: Any) -> str:
        """Return GeoJSON, with times in ISO 8601; see `geopandas.GeoDataFrame.to_json`."""
        return str(super().to_json(*args, **{"default": _plain, **kwargs}))

    def _constructor_from_mgr(self, mgr: Any, axes: Any) -> Any:
        made = super()._constructor_from_mgr(mgr, axes)
        if type(made) is gpd.GeoDataFrame:
            made.__class__ = FeatureTable
        return made


def feature_table(world: gpd.GeoDataFrame) -> FeatureTable:
    """Return the features of a world table, with one column of geometries.

    Parameters
    ----------
    world
        See `daskmr.geolocate.table.to_world`.

    Returns
    -------
    Its columns without ``image_geometry``, and `IMAGE_BBOX` behind the four columns of the box.
    """
    features = FeatureTable(world.drop(columns="image_geometry"), geometry="geometry")
    boxes = list(zip(*(features[side].tolist() for side in IMAGE_BOX), strict=True))
    column = pd.Series(boxes, index=features.index, dtype=object)
    features.insert(features.columns.get_loc(IMAGE_BOX[-1]) + 1, IMAGE_BBOX, column)
    return features


def pixel_table(world: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return the pixel geometry of a world table, with its index, ids, labels and scores."""
    columns = world[["feature_id", "label", "score"]]
    pixels = gpd.GeoSeries(world["image_geometry"].array, index=world.index, crs=None)
    return gpd.GeoDataFrame(pd.DataFrame(columns), geometry=pixels, crs=None)


def _plain(value: Any) -> Any:
    """Return what JSON can hold for a value of a cell that it cannot."""
    if isinstance(value, pd.Timestamp):
        return value.isoformat().replace("+00:00", "Z")
    return json.JSONEncoder().default(value)
