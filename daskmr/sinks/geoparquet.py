"""GeoParquet 1.1: the unchanged table, with a bounding box of each row for readers that filter."""

import json
from pathlib import Path
from typing import Any, ClassVar

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from daskmr.registry import plugin
from daskmr.sinks._features import json_text
from daskmr.sinks._vector import NAMES
from daskmr.sinks.base import Provenance, Rows

_BBOX = pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])
_COVERING = {"bbox": {side.name: ["bbox", side.name] for side in _BBOX}}
_GEOMETRIES = ("geometry", "image_geometry")
PROVENANCE_COLUMNS = ("job_id", "feature_properties", "source_metadata")
"""Columns of a file that the table of a result does not have: the same in every row."""


@plugin
class GeoParquet:
    """Compressed GeoParquet, a row group for each batch."""

    suffix: ClassVar[str] = ".parquet"

    def write(self, rows: Rows, path: Path, provenance: Provenance) -> None:
        """Write all rows."""
        geometries = {name: _GeometryColumn() for name in _GEOMETRIES}
        writer = None
        try:
            for table in rows:
                arrow = _arrow_table(table, provenance)
                for name, geometry in geometries.items():
                    geometry.add(table[name])
                if writer is None:
                    writer = pq.ParquetWriter(path, arrow.schema, compression="zstd")
                writer.write_table(arrow.cast(writer.schema))
            if writer is not None:
                writer.add_key_value_metadata(
                    {"geo": json.dumps(_geo_metadata(geometries, rows.crs))}
                )
        finally:
            if writer is not None:
                writer.close()


class _GeometryColumn:
    """Metadata of one column of geometries."""

    def __init__(self) -> None:
        self.types: set[str] = set()
        self.bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])

    def add(self, column: gpd.GeoSeries) -> None:
        flat = column.to_numpy()
        shapes = flat[~shapely.is_missing(flat)]
        if not len(shapes):
            return
        types = np.unique(np.stack([shapely.get_type_id(shapes), shapely.has_z(shapes)]), axis=1)
        self.types |= {NAMES[int(type_id)] + " Z" * int(has_z) for type_id, has_z in types.T}
        bounds = shapely.total_bounds(shapes)
        if np.isfinite(bounds).all():
            self.bounds[:2] = np.minimum(self.bounds[:2], bounds[:2])
            self.bounds[2:] = np.maximum(self.bounds[2:], bounds[2:])

    def as_dict(self, crs: Any) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "encoding": "WKB",
            "crs": crs.to_json_dict() if crs is not None else None,
            "geometry_types": sorted(self.types),
        }
        if np.isfinite(self.bounds).all():
            fields["bbox"] = self.bounds.tolist()
        return fields


def _geo_metadata(geometries: dict[str, _GeometryColumn], crs: Any) -> dict[str, Any]:
    """Return the ``geo`` metadata of GeoParquet."""
    columns = {
        "geometry": geometries["geometry"].as_dict(crs),
        "image_geometry": geometries["image_geometry"].as_dict(None),
    }
    if crs is not None:
        columns["geometry"]["covering"] = _COVERING
    return {"version": "1.1.0", "primary_column": "geometry", "columns": columns}


def _arrow_table(table: gpd.GeoDataFrame, provenance: Provenance) -> Any:
    """Return an Arrow table with geometries as WKB, and the bounding box of each."""
    plain = pd.DataFrame(table.drop(columns=list(_GEOMETRIES))).assign(
        job_id=provenance.job_id,
        feature_properties=json_text(list(provenance.feature_properties)),
        source_metadata=json_text(list(provenance.source_metadata)),
    )
    columns: dict[str, Any] = {}
    for name in [*table.columns, *(n for n in plain.columns if n not in table.columns)]:
        if name in _GEOMETRIES:
            wkb = shapely.to_wkb(table[name].to_numpy(), flavor="iso")
            columns[name] = pa.array(wkb, type=pa.binary())
        elif name == "image_bbox":
            columns[name] = pa.array([list(box) for box in plain[name]], pa.list_(pa.float64()))
        else:
            is_text = plain[name].dtype.kind not in "if"
            column = pa.array(plain[name])
            columns[name] = column.cast(pa.string()) if is_text else column
    if table.crs is not None:
        bounds = table.geometry.bounds
        sides = [pa.array(bounds[n], from_pandas=True) for n in ("minx", "miny", "maxx", "maxy")]
        missing = pa.array(shapely.is_missing(table.geometry.to_numpy()))
        columns["bbox"] = pa.StructArray.from_arrays(sides, fields=list(_BBOX), mask=missing)
    return pa.table(columns)
