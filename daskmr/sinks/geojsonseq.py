"""GeoJSON with one Feature a line, for readers that stream."""

from pathlib import Path
from typing import ClassVar

from daskmr.registry import plugin
from daskmr.sinks._features import features as geojson_features
from daskmr.sinks.base import Provenance, Rows


@plugin
class GeoJsonSeq:
    """Newline-delimited Features."""

    suffix: ClassVar[str] = ".geojsonl"

    def write(self, rows: Rows, path: Path, provenance: Provenance) -> None:
        """Write all rows."""
        with path.open("w", encoding="utf-8") as file:
            for feature in geojson_features(rows, provenance):
                file.write(feature)
                file.write("\n")
