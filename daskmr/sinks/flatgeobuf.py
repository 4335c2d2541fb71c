"""FlatGeobuf: streamable, indexed, opens everywhere."""

from pathlib import Path
from typing import ClassVar

import geopandas as gpd

from daskmr.registry import plugin
from daskmr.sinks._vector import write_vector
from daskmr.sinks.base import Provenance


@plugin
class FlatGeobuf:
    """One FlatGeobuf file; of several types of geometry together it cannot keep the heights."""

    suffix: ClassVar[str] = ".fgb"

    def write(self, features: gpd.GeoDataFrame, path: Path, provenance: Provenance) -> None:
        """Write the whole table."""
        write_vector(features, path, provenance, driver="FlatGeobuf")
