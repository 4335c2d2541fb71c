"""Formats that GDAL writes: one geometry column, and no lists in the others."""

import re
from pathlib import Path

import geopandas as gpd
import shapely

from daskmr.core.features import dumps
from daskmr.sinks.base import Provenance

_ODD = re.compile(r"[^A-Za-z0-9_]+")


def write_vector(
    features: gpd.GeoDataFrame, path: Path, provenance: Provenance, *, driver: str
) -> None:
    """Write a table with the pixel geometry as WKT and the pixel box as JSON text."""
    flat = features.assign(
        image_geometry=[shapely.to_wkt(g, rounding_precision=-1) for g in features.image_geometry],
        image_bbox=[dumps([float(value) for value in box]) for box in features.image_bbox],
        job_id=provenance.job_id,
        source_metadata=dumps(list(provenance.source_metadata)),
    )
    options = {"SPATIAL_INDEX": "NO"} if driver == "FlatGeobuf" and not len(flat) else {}
    kinds = set(flat.geom_type.dropna())
    kind = {"geometry_type": "Unknown"} if len(kinds) != 1 else {}
    flat.to_file(
        path,
        driver=driver,
        engine="pyogrio",
        layer=_ODD.sub("_", provenance.job_id) or "features",
        promote_to_multi=False,
        **options,
        **kind,
    )
