"""GeoJSON, one Feature a line, for results that are read as a stream."""

from pathlib import Path
from typing import ClassVar

import geopandas as gpd

from daskmr.registry import plugin
from daskmr.sinks._features import features as geojson_features
from daskmr.sinks.base import Provenance


@plugin
class GeoJsonSeq:
    """Newline-delimited Features."""

    suffix: ClassVar[str] = ".geojsonl"

    def write(self, features: gpd.GeoDataFrame, path: Path, provenance: Provenance) -> None:
        """Write the whole table."""
        with path.open("w", encoding="utf-8") as file:
            for feature in geojson_features(features, provenance):
                file.write(feature)
                file.write("\n")
