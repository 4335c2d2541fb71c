"""GeoPackage: SQLite with one layer, named like the job."""

from pathlib import Path
from typing import ClassVar

import geopandas as gpd

from daskmr.registry import plugin
from daskmr.sinks._vector import write_vector
from daskmr.sinks.base import Provenance


@plugin
class GeoPackage:
    """One GeoPackage file."""

    suffix: ClassVar[str] = ".gpkg"

    def write(self, features: gpd.GeoDataFrame, path: Path, provenance: Provenance) -> None:
        """Write the whole table."""
        write_vector(features, path, provenance, driver="GPKG")
