"""What a sink is: a format that results are written in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import geopandas as gpd


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What every feature of a result is told about where it came from."""

    job_id: str
    """Name of the job."""
    feature_properties: Sequence[Mapping[str, Any]] = ()
    """Request's own properties, merged into each feature in this order."""
    source_metadata: Sequence[Mapping[str, str | None]] = ()
    """See `daskmr.core.imagery.source_metadata`."""


class Sink(Protocol):
    """Writes a table of results to one local file."""

    suffix: ClassVar[str]
    """File name ending, with the dot."""

    def write(self, features: gpd.GeoDataFrame, path: Path, provenance: Provenance) -> None:
        """Write the whole table; the caller puts the file in place once it is complete.

        Parameters
        ----------
        features
            The world table of `daskmr.geolocate`, or one without CRS (pixels).
        path
            A file that does not exist yet.
        """
