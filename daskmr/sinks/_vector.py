"""Writes the formats of GDAL: one geometry column, and no lists in the others."""

import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import shapely

from daskmr.sinks._features import json_text
from daskmr.sinks.base import Provenance, Rows

_NOT_WORD = re.compile(r"[^A-Za-z0-9_]+")
NAMES = {kind.value: kind.name.title() for kind in shapely.GeometryType} | {
    shapely.GeometryType.LINESTRING.value: "LineString",
    shapely.GeometryType.MULTIPOINT.value: "MultiPoint",
    shapely.GeometryType.MULTILINESTRING.value: "MultiLineString",
    shapely.GeometryType.MULTIPOLYGON.value: "MultiPolygon",
    shapely.GeometryType.GEOMETRYCOLLECTION.value: "GeometryCollection",
}


def write_vector(rows: Rows, path: Path, provenance: Provenance, *, driver: str) -> None:
    """Write rows with the pixel geometry as WKT and the pixel box as JSON text.

    Parameters
    ----------
    rows
        The results.
    path
        A file that does not exist yet.
    provenance
        Job and request properties of every feature.
    driver
        Name of the GDAL driver.
    """
    import pyogrio

    geometry = _GeometrySummary.of(rows)
    first = _arrow_table(next(iter(rows)), provenance)
    schema = first.schema
    batches = (
        batch
        for table in rows
        for batch in _arrow_table(table, provenance).cast(schema).to_batches()
    )
    # FlatGeobuf indexes neither an empty table nor a row without geometry or with an empty one.
    is_unindexed = driver == "FlatGeobuf" and (not geometry.n_rows or geometry.has_gaps)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        pyogrio.write_arrow(
            pa.RecordBatchReader.from_batches(schema, batches),
            path,
            layer=_NOT_WORD.sub("_", provenance.job_id) or "features",
            driver=driver,
            geometry_name="geometry",
            geometry_type=geometry.type_name,
            crs=rows.crs.to_wkt() if rows.crs is not None else None,
            **({"SPATIAL_INDEX": "NO"} if is_unindexed else {}),
        )


@dataclass
class _GeometrySummary:
    """Properties of all geometries, needed before the first is written."""

    types: set[int] = field(default_factory=set)
    n_rows: int = 0
    has_gaps: bool = False
    has_heights: bool = False

    @classmethod
    def of(cls, rows: Rows) -> "_GeometrySummary":
        summary = cls()
        for table in rows:
            flat = table.geometry.to_numpy()
            shapes = flat[~shapely.is_missing(flat)]
            summary.has_gaps |= len(shapes) < len(flat) or bool(shapely.is_empty(shapes).any())
            summary.types |= set(np.unique(shapely.get_type_id(shapes)).tolist())
            summary.has_heights |= bool(shapely.has_z(shapes).any())
            summary.n_rows += len(table)
        return summary

    @property
    def type_name(self) -> str:
        """Name of the geometry type in GDAL."""
        if len(self.types) != 1:
            return "Unknown"
        kind = NAMES[next(iter(self.types))]
        return f"{kind} Z" if self.has_heights else kind


def _arrow_table(table: gpd.GeoDataFrame, provenance: Provenance) -> Any:
    """Return an Arrow table with the geometry as WKB."""
    plain = table.assign(
        image_geometry=[shapely.to_wkt(g, rounding_precision=-1) for g in table.image_geometry],
        image_bbox=[json_text([float(value) for value in box]) for box in table.image_bbox],
        job_id=provenance.job_id,
        feature_properties=json_text(list(provenance.feature_properties)),
        source_metadata=json_text(list(provenance.source_metadata)),
    )
    columns: dict[str, Any] = {}
    for name in plain.columns:
        if name == "geometry":
            continue
        is_text = name in {"image_geometry", "image_bbox"} or plain[name].dtype.kind not in "if"
        column = pa.array(plain[name])
        columns[name] = column.cast(pa.large_string()) if is_text else column
    wkb = pa.array(shapely.to_wkb(plain.geometry.to_numpy(), flavor="iso"), type=pa.binary())
    field_of = pa.field("geometry", pa.binary(), metadata={"ARROW:extension:name": "ogc.wkb"})
    fields = [pa.field(name, column.type) for name, column in columns.items()]
    return pa.table([*columns.values(), wkb], schema=pa.schema([*fields, field_of]))
