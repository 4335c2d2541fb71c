"""The feature table: one row a detection, the same columns everywhere.

In pixels (``crs`` is None) a table has the columns of `COLUMNS`, and `geometry` in full-image
pixels. Geolocation derives the world table from it: there `geometry` is lon, lat, and height where
it is known; pixel geometry is kept as `image_geometry`, and the box has the columns `IMAGE_BOX`.
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
IMAGE_BOX = ["image_xmin", "image_ymin", "image_xmax", "image_ymax"]
"""Columns of the box in the world table."""

_COMPACT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)

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
"""Sort keys that give a set of features one order, independent of workers and time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """Decoded answer of a model to one tile: N detections in tile pixels.

    Plain columns: a table for each tile would cost more than reading the tile.
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
    example: str = ""
    """The first of these, shortened; empty when there is none."""
    symptoms: Mapping[str, str] = field(default_factory=dict)
    """What the reader of the answer found odd about it: an example by name, see
    `daskmr.decode.symptoms`."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """The detections of one tile, with the tile and the time."""

    tile: Window
    """The tile, in the full image."""
    inferred_at: str
    """ISO 8601, UTC."""
    detections: Detections
    """The decoded answer."""


def gather(sightings: Sequence[Sighting]) -> gpd.GeoDataFrame:
    """Return one table in full-image pixels of the detections of many tiles, in canonical order."""
    answered = sorted(
        (s for s in sightings if len(s.detections)), key=lambda s: (s.tile.row, s.tile.col)
    )
    if not answered:
        return empty()
    counts = [len(s.detections) for s in answered]
    rows = np.repeat([s.tile.row for s in answered], counts)
    cols = np.repeat([s.tile.col for s in answered], counts)
    offsets = np.stack([cols, rows], axis=1).astype(np.float64)
    geometry = np.concatenate([s.detections.geometry for s in answered])
    coordinates, owner = shapely.get_coordinates(geometry, return_index=True)
    geometry = shapely.set_coordinates(geometry.copy(), coordinates + offsets[owner])
    columns: dict[str, Any] = {
        "label": [v for s in answered for v in s.detections.labels],
        "score": [v for s in answered for v in s.detections.scores],
        "classes": [v for s in answered for v in s.detections.classes],
        "properties": [v for s in answered for v in s.detections.properties],
        "inferred_at": [s.inferred_at for s in answered for _ in range(len(s.detections))],
        "tile_row": rows,
        "tile_col": cols,
        "answer_index": np.concatenate([np.arange(n) for n in counts]),
    }
    columns["feature_id"] = _ids(columns, geometry)
    shifted = np.concatenate([s.detections.boxes for s in answered]) + np.tile(offsets, 2)
    return table(geometry, shifted, columns)


def _ids(columns: Mapping[str, Any], geometry: NDArray[Any]) -> list[str]:
    """Return content hashes of tile, position in its answer, geometry, classes and properties."""
    keys = ("tile_row", "tile_col", "answer_index", "classes", "properties")
    plain = ([str(value) for value in columns[key]] for key in keys)
    parts = zip(shapely.to_wkb(geometry), *plain, strict=True)
    return [
        hashlib.blake2b(wkb + repr(rest).encode("utf-8", "replace"), digest_size=16).hexdigest()
        for wkb, *rest in parts
    ]


def empty() -> gpd.GeoDataFrame:
    """Return a table without rows, in pixels."""
    return table(np.empty(0, dtype=object), np.empty((0, 4)), {})


def table(geometry: NDArray[Any], boxes: Boxes, columns: Mapping[str, Any]) -> gpd.GeoDataFrame:
    """Return a feature table in pixels.

    Parameters
    ----------
    geometry
        shapely geometries, shape (N,), full-image pixels.
    boxes
        Shape (N, 4), full-image pixels.
    columns
        The other names of `COLUMNS`, each of length N; a missing one is empty text or 0.
    """
    values = {**columns, **dict(zip(BOX, boxes.T, strict=True))}
    blank = {name: "" if dtype is TEXT else 0 for name, dtype in COLUMNS.items()}
    data = {
        name: pd.Series(values.get(name, [blank[name]] * len(boxes)), dtype=dtype)
        for name, dtype in COLUMNS.items()
    }
    return gpd.GeoDataFrame(data, geometry=geometry, crs=None)


def boxes(features: gpd.GeoDataFrame) -> Boxes:
    """Return the boxes of a table in pixels as an array of shape (N, 4)."""
    array: Boxes = features[BOX].to_numpy(dtype=np.float64)
    return array


def concat(tables: Sequence[gpd.GeoDataFrame]) -> gpd.GeoDataFrame:
    """Return all rows of tables in pixels, in canonical order."""
    rows = [t for t in tables if len(t)]
    if not rows:
        return empty()
    joined = pd.concat(rows, ignore_index=True)
    return in_order(gpd.GeoDataFrame(joined, geometry="geometry", crs=None))


def in_order(features: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return the same rows in canonical order, numbered from 0."""
    order = np.lexsort([features[key].to_numpy() for key in reversed(CANONICAL)])
    return features.iloc[order].reset_index(drop=True)


def dumps(value: object) -> str:
    """Return compact JSON: no spaces, keys in their order, non-ASCII characters unescaped."""
    return _COMPACT.encode(value)
