"""GeoPackage: SQLite with one layer that has the name of the job."""

from pathlib import Path
from typing import ClassVar

from daskmr.registry import plugin
from daskmr.sinks._vector import write_vector
from daskmr.sinks.base import Provenance, Rows


@plugin
class GeoPackage:
    """One GeoPackage file."""

    suffix: ClassVar[str] = ".gpkg"

    def write(self, rows: Rows, path: Path, provenance: Provenance) -> None:
        """Write all rows."""
        write_vector(rows, path, provenance, driver="GPKG")
