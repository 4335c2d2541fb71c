"""Sinks: results as files, each whole or not at all."""

from collections.abc import Sequence

import geopandas as gpd

from daskmr.registry import Registry
from daskmr.sinks._whole import write_all
from daskmr.sinks.base import Provenance, Sink

__all__ = ["SINKS", "Provenance", "write"]

SINKS: Registry[Sink] = Registry(
    kind="format",
    builtin={
        "fgb": "daskmr.sinks.flatgeobuf:FlatGeobuf",
        "geojson": "daskmr.sinks.geojson:GeoJson",
        "geojsonseq": "daskmr.sinks.geojsonseq:GeoJsonSeq",
        "gpkg": "daskmr.sinks.geopackage:GeoPackage",
        "parquet": "daskmr.sinks.geoparquet:GeoParquet",
    },
)


def write(
    features: gpd.GeoDataFrame, out: str, names: Sequence[str], *, provenance: Provenance
) -> list[str]:
    """Write results in several formats, as ``out/<job id><suffix>``.

    All files are made before the first is put in place, so that a format that cannot be written
    leaves no other behind.

    Parameters
    ----------
    features
        The world table of `daskmr.geolocate.table`.
    out
        Folder, made when it is not there, or ``s3://bucket/prefix``.
    names
        Names of formats; one that stands twice is written once.
    provenance
        What every feature is told of where it came from.

    Returns
    -------
    Paths or URLs of the files.

    Raises
    ------
    SinkError
        Names the file and the cause; no new file is there.
    """
    sinks = [SINKS.build(name) for name in dict.fromkeys(names)]
    return write_all(features, out, sinks, provenance=provenance)
