"""Rows of a result as GeoJSON Features, with Model Runner's properties."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import shapely

from daskmr.core.features import dumps
from daskmr.sinks.base import Provenance, Rows

_BATCH = 10_000
_HALF_TURN = 180.0
_OURS = frozenset(
    {
        "imageGeometry",
        "imageBBox",
        "featureClasses",
        "center_longitude",
        "center_latitude",
        "inferenceMetadata",
        "sourceMetadata",
        "tile",
    }
)
_QUALITY = frozenset({"truncated", "mergedFrom", "edgeDistance"})
"""What `daskmr.core.cuts` says in the properties of each feature."""


def features(rows: Rows, provenance: Provenance) -> Iterator[str]:
    """GeoJSON text of one Feature after the other; full precision, no NaN.

    What a model or a request says of a feature never replaces what daskmr says.
    """
    given = {
        name: value
        for each in provenance.feature_properties
        for name, value in each.items()
        if name not in _QUALITY
    }
    source = list(provenance.source_metadata)
    for part in _parts(rows):
        world = _world(part)
        pixels = _geojson(np.asarray(part["image_geometry"].array, dtype=object))
        tiles = part[["tile_col", "tile_row"]].to_numpy().tolist()
        names = ("feature_id", "image_bbox", "classes", "properties", "inferred_at")
        each = zip(*(part[name] for name in names), tiles, pixels, *world, strict=True)
        for (
            feature_id, box, classes, own, moment, tile, image_geometry, geometry, bounds, centre,
        ) in each:  # fmt: skip
            said = {**json.loads(own), **given}
            properties = {
                **{name: value for name, value in said.items() if name not in _OURS},
                "imageBBox": [float(value) for value in box],
                "tile": tile,
                **centre,
                "inferenceMetadata": {"jobId": provenance.job_id, "inferenceDT": moment},
                "sourceMetadata": source,
            }
            yield (
                f'{{"type":"Feature","id":{json_text(feature_id)}{bounds},"geometry":{geometry},'
                f'"properties":{{"imageGeometry":{image_geometry},"featureClasses":{_finite_text(classes)},'
                f"{json_text(properties)[1:]}}}"
            )


def _parts(rows: Rows) -> Iterator[gpd.GeoDataFrame]:
    for table in rows:
        for start in range(0, len(table), _BATCH):
            yield table.iloc[start : start + _BATCH]


def _world(part: gpd.GeoDataFrame) -> tuple[list[str], list[str], list[Mapping[str, float]]]:
    """For each row: its geometry on the ground, its bounds, its centre; or that there is none."""
    flat = np.asarray(part.geometry.array, dtype=object)
    if part.crs is None:
        flat = np.full(len(part), None, dtype=object)
    bounds = _bounds(flat)
    heights, owner = _heights(flat)
    low, high = np.full(len(flat), np.inf), np.full(len(flat), -np.inf)
    np.minimum.at(low, owner, heights)
    np.maximum.at(high, owner, heights)
    boxes = [
        f',"bbox":{dumps([w, s, lo, e, n, hi])}' if known else ""
        for w, s, e, n, lo, hi, known in zip(
            *bounds.T.tolist(),
            low.tolist(),
            high.tolist(),
            (~np.isnan(bounds[:, 0]) & np.isfinite(low)).tolist(),
            strict=True,
        )
    ]
    centres: list[Mapping[str, float]] = [
        {"center_longitude": lon, "center_latitude": lat}
        if shape is not None and math.isfinite(lon + lat)
        else {}
        for shape, lon, lat in zip(
            flat, part["center_longitude"].tolist(), part["center_latitude"].tolist(), strict=True
        )
    ]
    return _geojson(flat), boxes, centres


def _bounds(flat: Any) -> Any:
    """West, south, east, north; west is the larger of what was cut at the antimeridian."""
    bounds = shapely.bounds(flat).reshape(-1, 4)
    for i in np.flatnonzero((bounds[:, 0] == -_HALF_TURN) & (bounds[:, 2] == _HALF_TURN)):
        low, _, high, _ = shapely.bounds(shapely.get_parts(flat[i])).T
        is_west, is_east = high <= 0, low >= 0
        if (is_west | is_east).all() and is_west.any() and is_east.any():
            bounds[i, 0], bounds[i, 2] = low[is_east].min(), high[is_west].max()
    return bounds


def _geojson(shapes: Any) -> list[str]:
    """GeoJSON of each geometry, with every digit; null where there is none."""
    return ["null" if text is None else text for text in shapely.to_geojson(shapes)]


def _heights(flat: Any) -> tuple[Any, Any]:
    coordinates, owner = shapely.get_coordinates(flat, include_z=True, return_index=True)
    return np.nan_to_num(coordinates[:, 2]), owner


def json_text(value: object) -> str:
    """JSON of a value that UTF-8 can hold; what is not a finite number becomes null."""
    try:
        text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = dumps(_finite(value))
    # Half a surrogate pair has no UTF-8; the backslash form of it is JSON's own escape.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _finite_text(text: str) -> str:
    """JSON text without the NaN and Infinity that Python writes and JSON lacks."""
    suspect = "NaN" in text or "Infinity" in text
    return json_text(json.loads(text)) if suspect else text


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
