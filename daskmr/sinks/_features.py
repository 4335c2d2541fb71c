"""Rows of a result as GeoJSON Features, with Model Runner's properties."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import shapely

from daskmr.core.features import IMAGE_BOX, dumps
from daskmr.core.truncation import EDGE_DISTANCE, MERGED_FROM, TRUNCATED
from daskmr.sinks.base import Provenance, Rows

_BATCH = 10_000
_HALF_TURN = 180.0
_STRICT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_RESERVED = frozenset(
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
"""Properties of the quality of each feature, of columns of `daskmr.core.truncation`."""


def features(rows: Rows, provenance: Provenance) -> Iterator[str]:
    """Yield each Feature as GeoJSON text, in full precision, without NaN.

    Properties of a model or a request never replace those of daskmr, but for ``label`` and
    ``score``, which Model Runner has not: the best class, flat, for maps that are drawn by them.

    Raises
    ------
    ValueError
        If a property is not JSON.
    """
    requested = {
        name: value
        for properties in provenance.feature_properties
        for name, value in properties.items()
        if name not in _QUALITY
    }
    source = list(provenance.source_metadata)
    for part in _batches(rows):
        world = _world(part)
        pixels = _geojson(np.asarray(part["image_geometry"].array, dtype=object))
        tiles = part[["tile_col", "tile_row"]].to_numpy().tolist()
        boxes = part[IMAGE_BOX].to_numpy().tolist()
        names = ("feature_id", "label", "score", "classes", "properties")
        columns = zip(
            *(part[name] for name in names), _moments(part), _quality(part), boxes, tiles, pixels,
            *world, strict=True,
        )  # fmt: skip
        for (
            feature_id, label, score, classes, own, moment, quality, box, tile, image_geometry,
            geometry, bounds, centre,
        ) in columns:  # fmt: skip
            flat = {"label": label or None, "score": score if math.isfinite(score) else None}
            merged = {**flat, **json.loads(own), **requested, **quality}
            properties = {
                **{name: value for name, value in merged.items() if name not in _RESERVED},
                "imageBBox": box,
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


def _batches(rows: Rows) -> Iterator[gpd.GeoDataFrame]:
    for table in rows:
        for start in range(0, len(table), _BATCH):
            yield table.iloc[start : start + _BATCH]


def _moments(part: gpd.GeoDataFrame) -> list[str | None]:
    """Return the time of each answer, ISO 8601 in UTC to the second; None for an unknown one."""
    moments = part["inferred_at"].to_numpy(dtype="datetime64[s]")
    known = (~np.isnat(moments)).tolist()
    texts = np.datetime_as_string(moments, unit="s").tolist()
    return [f"{text}Z" if is_known else None for text, is_known in zip(texts, known, strict=True)]


def _quality(part: gpd.GeoDataFrame) -> Iterator[Mapping[str, Any]]:
    """Yield the quality of each feature; none in a table that was not merged."""
    if TRUNCATED not in part:
        yield from ({} for _ in range(len(part)))
        return
    columns = (part[name].tolist() for name in (TRUNCATED, MERGED_FROM, EDGE_DISTANCE))
    for is_cut, origin, gap in zip(*columns, strict=True):
        merged = {"mergedFrom": json.loads(origin)} if origin else {}
        distance = {"edgeDistance": gap} if math.isfinite(gap) else {}
        yield {"truncated": is_cut, **merged, **distance}


def _world(part: gpd.GeoDataFrame) -> tuple[list[str], list[str], list[Mapping[str, float]]]:
    """Return GeoJSON geometry, ``bbox`` member and centre of each row; null or empty if missing."""
    flat = np.asarray(part.geometry.array, dtype=object)
    if part.crs is None:
        flat = np.full(len(part), None, dtype=object)
    bounds = _bounds(flat)
    heights, owner = _heights(flat)
    low, high = np.full(len(flat), np.inf), np.full(len(flat), -np.inf)
    np.minimum.at(low, owner, heights)
    np.maximum.at(high, owner, heights)
    has_z = np.isfinite(low)
    boxes = [
        f',"bbox":{dumps([w, s, lo, e, n, hi] if is_high else [w, s, e, n])}' if is_there else ""
        for w, s, e, n, lo, hi, is_high, is_there in zip(
            *bounds.T.tolist(),
            low.tolist(),
            high.tolist(),
            has_z.tolist(),
            (~np.isnan(bounds[:, 0])).tolist(),
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
    """Return west, south, east, north, shape (N, 4); west > east across the antimeridian."""
    bounds = shapely.bounds(flat).reshape(-1, 4)
    for i in np.flatnonzero((bounds[:, 0] == -_HALF_TURN) & (bounds[:, 2] == _HALF_TURN)):
        low, _, high, _ = shapely.bounds(shapely.get_parts(flat[i])).T
        is_west, is_east = high <= 0, low >= 0
        if (is_west | is_east).all() and is_west.any() and is_east.any():
            bounds[i, 0], bounds[i, 2] = low[is_east].min(), high[is_west].max()
    return bounds


def _geojson(shapes: Any) -> list[str]:
    """Return the GeoJSON of each geometry, in full precision; null for a missing one."""
    return ["null" if text is None else text for text in shapely.to_geojson(shapes)]


def _heights(flat: Any) -> tuple[Any, Any]:
    """Return the heights of all vertices that have one, and the rows that these belong to."""
    high = np.flatnonzero(shapely.has_z(flat))
    coordinates, owner = shapely.get_coordinates(flat[high], include_z=True, return_index=True)
    return np.nan_to_num(coordinates[:, 2]), high[owner]


def json_text(value: object) -> str:
    """Return a value as JSON that UTF-8 can hold; numbers that are not finite become null."""
    try:
        text = _dumps(value)
    except TypeError as error:  # a property that a caller passed
        raise ValueError(str(error)) from error
    # Half a surrogate pair has no UTF-8; the backslash form of it is JSON's own escape.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _dumps(value: object) -> str:
    try:
        return _STRICT.encode(value)
    except ValueError:
        return dumps(_finite(value))


def _finite_text(text: str) -> str:
    """Return JSON text without the NaN and Infinity that Python writes and JSON lacks."""
    may_have_nan = "NaN" in text or "Infinity" in text
    return json_text(json.loads(text)) if may_have_nan else text


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
