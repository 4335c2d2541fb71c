"""FlatGeobuf: streamable, indexed, opens everywhere."""

from pathlib import Path
from typing import ClassVar

from daskmr.registry import plugin
from daskmr.sinks._vector import write_vector
from daskmr.sinks.base import Provenance, Rows


@plugin
class FlatGeobuf:
    """One FlatGeobuf file; of several types of geometry together it cannot keep the heights."""

    suffix: ClassVar[str] = ".fgb"

    def write(self, rows: Rows, path: Path, provenance: Provenance) -> None:
        """Write all rows."""
        write_vector(rows, path, provenance, driver="FlatGeobuf")
