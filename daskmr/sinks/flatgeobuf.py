"""FlatGeobuf: a streamable, indexed format that GDAL reads."""

from pathlib import Path
from typing import ClassVar

from daskmr.registry import plugin
from daskmr.sinks._vector import write_vector
from daskmr.sinks.base import Provenance, Rows


@plugin
class FlatGeobuf:
    """One FlatGeobuf file; it loses the heights of mixed geometry types."""

    suffix: ClassVar[str] = ".fgb"

    def write(self, rows: Rows, path: Path, provenance: Provenance) -> None:
        """Write all rows."""
        write_vector(rows, path, provenance, driver="FlatGeobuf")
