"""GeoJSON: one FeatureCollection (RFC 7946)."""

from pathlib import Path
from typing import ClassVar

from daskmr.registry import plugin
from daskmr.sinks._features import features as geojson_features
from daskmr.sinks.base import Provenance, Rows


@plugin
class GeoJson:
    """A FeatureCollection, written feature by feature."""

    suffix: ClassVar[str] = ".geojson"

    def write(self, rows: Rows, path: Path, provenance: Provenance) -> None:
        """Write all rows."""
        with path.open("w", encoding="utf-8") as file:
            file.write('{"type":"FeatureCollection","features":[')
            for i, feature in enumerate(geojson_features(rows, provenance)):
                file.write(",\n" if i else "\n")
                file.write(feature)
            file.write("\n]}\n")
