"""Sinks: results as files, each whole or not at all."""

from collections.abc import Mapping, Sequence

import geopandas as gpd

from daskmr.registry import Registry
from daskmr.sinks._whole import write_all
from daskmr.sinks.base import Provenance, Rows, Sent, Sink, Stream, Whole

__all__ = ["SINKS", "STREAMS", "Provenance", "Rows", "Sent", "sink", "write"]

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
    """The sink of a name, in any case of letters, or of another word for it (``geoparquet``).

    Raises
    ------
    UnknownNameError
        When the table has no such name.
    """
    low = name.lower()
    return SINKS.build(_ALIASES.get(low, low))


def write(
    features: gpd.GeoDataFrame | Rows, out: str, names: Sequence[str], *, provenance: Provenance
) -> list[str]:
    """Write results in several formats, as ``out/<job id><suffix>``.

    All files are made before the first is put in place, so that a format that cannot be written
    leaves no other behind.

    Parameters
    ----------
    features
        The world table of `daskmr.geolocate.table`, or batches of it.
    out
        Folder, made when it is not there, or ``s3://bucket/prefix``.
    names
        Names of formats, see `sink`; one that stands twice is written once.
    provenance
        What every feature is told of where it came from.

    Returns
    -------
    Paths or URLs of the files.

    Raises
    ------
    SinkError
        Names the file and the cause. No new file is there; in an object store, where files are put
        one by one, those before it may be.
    """
    sinks = list(dict.fromkeys(sink(name) for name in names))
    rows = Whole(features) if isinstance(features, gpd.GeoDataFrame) else features
    return write_all(rows, out, sinks, provenance=provenance)
