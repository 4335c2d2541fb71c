"""Writes the formats of GDAL: one geometry column, and no lists in the others."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas as gpd
import pyarrow as pa
import shapely

from daskmr.sinks._columns import arrow_columns
from daskmr.sinks.base import GeometrySummary, Provenance, Rows

_NOT_WORD = re.compile(r"[^A-Za-z0-9_]+")


def write_vector(rows: Rows, path: Path, provenance: Provenance, *, driver: str) -> None:
    """Write rows with the pixel geometry as WKT.

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

    geometry = rows.geometry
    first = _arrow_table(next(iter(rows)), provenance)
    schema = first.schema
    faults: list[Exception] = []

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for table in rows:
                yield from _arrow_table(table, provenance).cast(schema).to_batches()
        except Exception as error:
            faults.append(error)
            raise

    # FlatGeobuf indexes neither an empty table nor a row without geometry or with an empty one.
    is_unindexed = driver == "FlatGeobuf" and (not geometry.n_rows or geometry.has_gaps)
    with warnings.catch_warnings(), _naming(faults):
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        pyogrio.write_arrow(
            pa.RecordBatchReader.from_batches(schema, batches()),
            path,
            layer=_NOT_WORD.sub("_", provenance.job_id) or "features",
            driver=driver,
            geometry_name="geometry",
            geometry_type=_type_name(geometry),
            crs=rows.crs.to_wkt() if rows.crs is not None else None,
            **({"SPATIAL_INDEX": "NO"} if is_unindexed else {}),
        )


@contextmanager
def _naming(faults: list[Exception]) -> Iterator[None]:
    """Raise what stopped the rows, of which GDAL says only that its stream broke off."""
    try:
        yield
    except RuntimeError:
        if faults:
            raise faults[0] from None
        raise


def _type_name(geometry: GeometrySummary) -> str:
    """Return the name of the geometry type in GDAL."""
    if len(geometry.kinds) != 1:
        return "Unknown"
    ((name, has_z),) = geometry.kinds
    return f"{name} Z" if has_z else name


def _arrow_table(table: gpd.GeoDataFrame, provenance: Provenance) -> Any:
    """Return an Arrow table with the geometry as WKB, the last of its columns."""
    columns = arrow_columns(table, provenance, pa.large_string())
    del columns["geometry"]
    # 17 digits after the point tell any two coordinates of pixels apart.
    flat = shapely.to_wkt(table["image_geometry"].to_numpy(), rounding_precision=17)
    columns["image_geometry"] = pa.array(flat, type=pa.large_string())
    wkb = pa.array(shapely.to_wkb(table.geometry.to_numpy(), flavor="iso"), type=pa.binary())
    field_of = pa.field("geometry", pa.binary(), metadata={"ARROW:extension:name": "ogc.wkb"})
    fields = [pa.field(name, column.type) for name, column in columns.items()]
    return pa.table([*columns.values(), wkb], schema=pa.schema([*fields, field_of]))
