"""GeoParquet 1.1: the table of a result, with the bounds of each row for readers that filter."""

import json
from pathlib import Path
from typing import Any, ClassVar

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from daskmr.registry import plugin
from daskmr.sinks._columns import PROVENANCE_COLUMNS, arrow_columns
from daskmr.sinks.base import GeometrySummary, Provenance, Rows

_BBOX = pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])
FILE_COLUMNS = (*PROVENANCE_COLUMNS, "bbox")
"""Columns of a file that the table of a result does not have."""


@plugin
class GeoParquet:
    """Compressed GeoParquet, a row group for each batch.

    Its geometry is the column `geometry`; ``image_geometry``, in pixels, is WKB without a CRS.
    """

    suffix: ClassVar[str] = ".parquet"

    def write(self, rows: Rows, path: Path, provenance: Provenance) -> None:
        """Write all rows."""
        # Arrow's own readers look for the metadata in the schema, which stands before the rows.
        geo = json.dumps(geo_metadata(rows.geometry, rows.crs))
        writer = None
        try:
            for table in rows:
                arrow = _arrow_table(table, provenance)
                if writer is None:
                    schema = arrow.schema.with_metadata({"geo": geo, "pandas": _pandas(table)})
                    writer = pq.ParquetWriter(path, schema, compression="zstd")
                writer.write_table(arrow.cast(writer.schema))
        finally:
            if writer is not None:
                writer.close()


def geo_metadata(geometry: GeometrySummary, crs: Any) -> dict[str, Any]:
    """Return the ``geo`` metadata of a file of GeoParquet 1.1 with one column of geometries."""
    kinds = sorted(name + " Z" * has_z for name, has_z in geometry.kinds)
    column: dict[str, Any] = {
        "encoding": "WKB",
        "crs": crs.to_json_dict() if crs is not None else None,
        "geometry_types": kinds,
    }
    if geometry.box:
        column["bbox"] = geometry.box
    if crs is not None:
        column["covering"] = {"bbox": {side.name: ["bbox", side.name] for side in _BBOX}}
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def bbox_column(geometry: gpd.GeoSeries) -> Any:
    """Return the column ``bbox`` of geometries: their bounds, null for a missing one."""
    bounds = geometry.bounds
    sides = [pa.array(bounds[name], from_pandas=True) for name in ("minx", "miny", "maxx", "maxy")]
    missing = pa.array(shapely.is_missing(geometry.to_numpy()))
    return pa.StructArray.from_arrays(sides, fields=list(_BBOX), mask=missing)


def _pandas(table: gpd.GeoDataFrame) -> bytes:
    """Return the metadata by which pandas reads integers and booleans with gaps as they were."""
    plain = pd.DataFrame(table.drop(columns=["geometry", "image_geometry"]))
    metadata: bytes = pa.Schema.from_pandas(plain, preserve_index=False).metadata[b"pandas"]
    return metadata


def _arrow_table(table: gpd.GeoDataFrame, provenance: Provenance) -> Any:
    """Return an Arrow table with geometries as WKB, and the bounding box of each."""
    columns = arrow_columns(table, provenance, pa.string())
    for name in ("geometry", "image_geometry"):
        wkb = shapely.to_wkb(table[name].to_numpy(), flavor="iso")
        columns[name] = pa.array(wkb, type=pa.binary())
    if table.crs is not None:
        columns["bbox"] = bbox_column(table.geometry)
    return pa.table(columns)
