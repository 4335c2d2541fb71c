"""Sinks write results as files, each atomically; streams send them feature by feature.

`base` defines both; every other module without underscore is one format or stream. `_whole` writes
the files of all formats of a job, `_features` and `_vector` make the rows of several formats.
"""

from collections.abc import Mapping, Sequence

import geopandas as gpd

from daskmr.registry import Registry
from daskmr.sinks._whole import upload, write_all, write_error
from daskmr.sinks.base import Provenance, Rows, Sent, Sink, Stream, Whole

__all__ = [
    "SINKS",
    "STREAMS",
    "Provenance",
    "Rows",
    "Sent",
    "sink",
    "upload",
    "write",
    "write_error",
]

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

STREAMS: Registry[Stream] = Registry(
    kind="stream", builtin={"kinesis": "daskmr.sinks.kinesis:Kinesis"}
)

_ALIASES: Mapping[str, str] = {
    "flatgeobuf": "fgb",
    "geojsonl": "geojsonseq",
    "geopackage": "gpkg",
    "geoparquet": "parquet",
}


def sink(name: str) -> Sink:
    """Return the sink of a format, in upper or lower case, or by an alias (``geoparquet``).

    Raises
    ------
    UnknownNameError
        If no format has that name.
    """
    key = name.lower()
    return SINKS.build(_ALIASES.get(key, key))


def write(
    features: gpd.GeoDataFrame | Rows, out: str, names: Sequence[str], *, provenance: Provenance
) -> list[str]:
    """Write results in several formats, as ``out/<job id><suffix>``.

    All files are written before the first is moved to its target, so that a format that cannot be
    written leaves no other behind.

    Parameters
    ----------
    features
        The world table of `daskmr.geolocate.table`, or batches of it.
    out
        Folder, created if it does not exist, or ``s3://bucket/prefix``.
    names
        Names of formats, see `sink`; duplicates are written once.
    provenance
        Job and request properties of every feature.

    Returns
    -------
    Paths or URLs of the files.

    Raises
    ------
    SinkError
        If a file cannot be written; names it and the cause. No new file exists then, except in an
        object store, where files are uploaded one by one.
    """
    sinks = list(dict.fromkeys(sink(name) for name in names))
    rows = Whole(features) if isinstance(features, gpd.GeoDataFrame) else features
    return write_all(rows, out, sinks, provenance=provenance)
