"""Formats that GDAL writes: one geometry column, and no lists in the others."""

import re
import warnings
from pathlib import Path

import geopandas as gpd
import shapely

from daskmr.sinks._features import json_text
from daskmr.sinks.base import Provenance

_ODD = re.compile(r"[^A-Za-z0-9_]+")


def write_vector(
    features: gpd.GeoDataFrame, path: Path, provenance: Provenance, *, driver: str
) -> None:
    """Write a table with the pixel geometry as WKT and the pixel box as JSON text."""
    flat = features.assign(
        image_geometry=[shapely.to_wkt(g, rounding_precision=-1) for g in features.image_geometry],
        image_bbox=[json_text([float(value) for value in box]) for box in features.image_bbox],
        job_id=provenance.job_id,
        feature_properties=json_text(list(provenance.feature_properties)),
        source_metadata=json_text(list(provenance.source_metadata)),
    )
    # FlatGeobuf indexes neither an empty table nor a row without geometry or with an empty one.
    missing = flat.geometry.isna() | flat.geometry.is_empty
    plain = driver == "FlatGeobuf" and (not len(flat) or bool(missing.any()))
    options = {"SPATIAL_INDEX": "NO"} if plain else {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        flat.to_file(
            path,
            driver=driver,
            engine="pyogrio",
            layer=_ODD.sub("_", provenance.job_id) or "features",
            promote_to_multi=False,
            **options,
        )
