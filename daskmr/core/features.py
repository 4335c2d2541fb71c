"""The feature table: one row a detection, the same columns everywhere.

In pixels (``crs`` is None) a table has the columns of `COLUMNS`, and `geometry` in full-image
pixels. Geolocation makes the world's table of it: there `geometry` is lon, lat, height, the pixel
geometry is kept as `image_geometry`, and the box becomes the one column `image_bbox`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from daskmr.core.boxes import Boxes
from daskmr.core.grid import Window

TEXT = pd.StringDtype("pyarrow")
"""Dtype of columns of text."""
BOX = ["x_min", "y_min", "x_max", "y_max"]
"""Columns of the box."""

COLUMNS: Mapping[str, Any] = {
    "feature_id": TEXT,  # content hash: the same answer gives the same id
    "label": TEXT,  # class with the highest score, "" without classes
    "score": np.dtype("float64"),  # of that class; NaN when the model gave none
    "x_min": np.dtype("float64"),  # the box, in full-image pixels
    "y_min": np.dtype("float64"),
    "x_max": np.dtype("float64"),
    "y_max": np.dtype("float64"),
    "tile_row": np.dtype("int64"),  # first pixel row of the tile that saw it
    "tile_col": np.dtype("int64"),  # first pixel column of that tile
    "answer_index": np.dtype("int64"),  # place in that tile's answer
    "inferred_at": TEXT,  # ISO 8601, UTC, of the answer
    "classes": TEXT,  # JSON of featureClasses, [] when absent
    "properties": TEXT,  # JSON of whatever else the model said
}
"""Columns beside `geometry`, with their dtypes."""

CANONICAL = ["tile_row", "tile_col", "answer_index"]
"""Sort keys that give any set of features one order, whoever found them and when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """What a model answered for one tile, decoded; N detections in tile pixels.

    Plain columns and no table: a table a tile would cost more than reading the tile.
    """

    geometry: NDArray[Any]
    """shapely geometries, shape (N,), dtype object, tile pixels."""
    boxes: Boxes
    """Shape (N, 4), tile pixels; the model's box where it gave one, else the geometry's bounds."""
    labels: Sequence[str]
    """Class with the highest score; "" without classes."""
    scores: Sequence[float]
    """Score of that class; NaN when the model gave none."""
    classes: Sequence[str]
    """JSON of ``featureClasses``; ``[]`` when absent."""
    properties: Sequence[str]
    """JSON of whatever else the model said."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Features of the answer that could not be used, counted by reason (``NO_SHAPE``)."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """The detections of one tile, and where and when they were made."""

    tile: Window
    """The tile, in the full image."""
    inferred_at: str
    """ISO 8601, UTC."""
    detections: Detections
    """What the model answered."""


def gather(sightings: Sequence[Sighting]) -> gpd.GeoDataFrame:
    """One table in full-image pixels of the detections of many tiles, in canonical order."""
    seen = sorted(
        (s for s in sightings if len(s.detections)), key=lambda s: (s.tile.row, s.tile.col)
    )
    if not seen:
        return empty()
    counts = [len(s.detections) for s in seen]
    rows = np.repeat([s.tile.row for s in seen], counts)
    cols = np.repeat([s.tile.col for s in seen], counts)
    offsets = np.stack([cols, rows], axis=1).astype(np.float64)
    geometry = np.concatenate([s.detections.geometry for s in seen])
    coordinates, owner = shapely.get_coordinates(geometry, return_index=True)
    geometry = shapely.set_coordinates(geometry.copy(), coordinates + offsets[owner])
    columns: dict[str, Any] = {
        "label": [v for s in seen for v in s.detections.labels],
        "score": [v for s in seen for v in s.detections.scores],
        "classes": [v for s in seen for v in s.detections.classes],
        "properties": [v for s in seen for v in s.detections.properties],
        "inferred_at": [s.inferred_at for s in seen for _ in range(len(s.detections))],
        "tile_row": rows,
        "tile_col": cols,
        "answer_index": np.concatenate([np.arange(n) for n in counts]),
    }
    columns["feature_id"] = _ids(columns, geometry)
    found = np.concatenate([s.detections.boxes for s in seen]) + np.tile(offsets, 2)
    return table(geometry, found, columns)


def _ids(columns: Mapping[str, Any], geometry: NDArray[Any]) -> list[str]:
    """Content hashes: what was answered, by which tile, at which place of its answer."""
    keys = ("tile_row", "tile_col", "answer_index", "classes", "properties")
    plain = ([str(value) for value in columns[key]] for key in keys)
    parts = zip(shapely.to_wkb(geometry), *plain, strict=True)
    return [
        hashlib.blake2b(wkb + repr(rest).encode("utf-8", "replace"), digest_size=16).hexdigest()
        for wkb, *rest in parts
    ]


def empty() -> gpd.GeoDataFrame:
    """A table without rows, in pixels."""
    return table(np.empty(0, dtype=object), np.empty((0, 4)), {})


def table(geometry: NDArray[Any], boxes: Boxes, columns: Mapping[str, Any]) -> gpd.GeoDataFrame:
    """A feature table in pixels.

    Parameters
    ----------
    geometry
        shapely geometries, shape (N,), full-image pixels.
    boxes
        Shape (N, 4), full-image pixels.
    columns
        The other names of `COLUMNS`, each of length N; a missing one is empty text or 0.
    """
    given = {**columns, **dict(zip(BOX, boxes.T, strict=True))}
    blank = {name: "" if dtype is TEXT else 0 for name, dtype in COLUMNS.items()}
    data = {
        name: pd.Series(given.get(name, [blank[name]] * len(boxes)), dtype=dtype)
        for name, dtype in COLUMNS.items()
    }
    return gpd.GeoDataFrame(data, geometry=geometry, crs=None)


def boxes(features: gpd.GeoDataFrame) -> Boxes:
    """The boxes of a table in pixels as an array of shape (N, 4)."""
    found: Boxes = features[BOX].to_numpy(dtype=np.float64)
    return found


def concat(tables: Sequence[gpd.GeoDataFrame]) -> gpd.GeoDataFrame:
    """All rows of tables in pixels, in canonical order."""
    rows = [t for t in tables if len(t)]
    if not rows:
        return empty()
    joined = pd.concat(rows, ignore_index=True)
    return in_order(gpd.GeoDataFrame(joined, geometry="geometry", crs=None))


def in_order(features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """The same rows in canonical order, numbered from 0."""
    order = np.lexsort([features[key].to_numpy() for key in reversed(CANONICAL)])
    return features.iloc[order].reset_index(drop=True)


def dumps(value: object) -> str:
    """JSON of a value in one form: no spaces, keys as they came, non-ASCII kept."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
