"""GeoParquet 1.1: the table as it is, with a covering box for readers that filter."""

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


@plugin
class GeoParquet:
    """Compressed GeoParquet, a row group for each batch."""

    suffix: ClassVar[str] = ".parquet"

    def write(self, rows: Rows, path: Path, provenance: Provenance) -> None:
        """Write all rows."""
        seen = {name: _Geometry() for name in _GEOMETRIES}
        writer = None
        try:
            for table in rows:
                told = _told(table, provenance)
                for name, geometry in seen.items():
                    geometry.add(table[name])
                if writer is None:
                    writer = pq.ParquetWriter(path, told.schema, compression="zstd")
                writer.write_table(told.cast(writer.schema))
            if writer is not None:
                writer.add_key_value_metadata({"geo": json.dumps(_geo(seen, rows.crs))})
        finally:
            if writer is not None:
                writer.close()


class _Geometry:
    """What the header says of one column of geometries."""

    def __init__(self) -> None:
        self.types: set[str] = set()
        self.bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])

    def add(self, column: gpd.GeoSeries) -> None:
        flat = column.to_numpy()
        there = flat[~shapely.is_missing(flat)]
        if not len(there):
            return
        kinds = np.unique(np.stack([shapely.get_type_id(there), shapely.has_z(there)]), axis=1)
        self.types |= {NAMES[int(kind)] + " Z" * int(high) for kind, high in kinds.T}
        found = shapely.total_bounds(there)
        if np.isfinite(found).all():
            self.bounds[:2] = np.minimum(self.bounds[:2], found[:2])
            self.bounds[2:] = np.maximum(self.bounds[2:], found[2:])

    def as_dict(self, crs: Any) -> dict[str, Any]:
        said: dict[str, Any] = {
            "encoding": "WKB",
            "crs": crs.to_json_dict() if crs is not None else None,
            "geometry_types": sorted(self.types),
        }
        if np.isfinite(self.bounds).all():
            said["bbox"] = self.bounds.tolist()
        return said


def _geo(seen: dict[str, _Geometry], crs: Any) -> dict[str, Any]:
    """The header that GeoParquet asks for."""
    columns = {
        "geometry": seen["geometry"].as_dict(crs),
        "image_geometry": seen["image_geometry"].as_dict(None),
    }
    if crs is not None:
        columns["geometry"]["covering"] = _COVERING
    return {"version": "1.1.0", "primary_column": "geometry", "columns": columns}


def _told(table: gpd.GeoDataFrame, provenance: Provenance) -> Any:
    """A table of Arrow with geometries as WKB, and the box of each."""
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
            text = plain[name].dtype.kind not in "if"
            column = pa.array(plain[name])
            columns[name] = column.cast(pa.string()) if text else column
    if table.crs is not None:
        bounds = table.geometry.bounds
        sides = [pa.array(bounds[n], from_pandas=True) for n in ("minx", "miny", "maxx", "maxy")]
        missing = pa.array(shapely.is_missing(table.geometry.to_numpy()))
        columns["bbox"] = pa.StructArray.from_arrays(sides, fields=list(_BBOX), mask=missing)
    return pa.table(columns)
