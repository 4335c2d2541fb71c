"""What a sink is: a format that results are written in."""

from collections.abc import Iterator, Mapping, Sequence
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


class Rows(Protocol):
    """Results in batches that fit into memory."""

    @property
    def crs(self) -> Any:
        """Of their geometry; None for pixels."""

    def __iter__(self) -> Iterator[gpd.GeoDataFrame]:
        """World tables of `daskmr.geolocate`, always the same, and at least one, be it empty."""


@dataclass(frozen=True)
class Whole:
    """`Rows` of one table in memory."""

    table: gpd.GeoDataFrame
    """The world table."""

    @property
    def crs(self) -> Any:
        """Of its geometry; None for pixels."""
        return self.table.crs

    def __iter__(self) -> Iterator[gpd.GeoDataFrame]:
        """The table."""
        yield self.table


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of the features of a stream."""

    n_sent: int = 0
    """Records that were taken."""
    n_retried: int = 0
    """Records that were sent again."""
    n_spilled: int = 0
    """Records that point to a feature which is too large for one."""
    n_failed: int = 0
    """Features that were not taken."""

    def __add__(self, other: "Sent") -> "Sent":
        return Sent(
            n_sent=self.n_sent + other.n_sent,
            n_retried=self.n_retried + other.n_retried,
            n_spilled=self.n_spilled + other.n_spilled,
            n_failed=self.n_failed + other.n_failed,
        )


class Stream(Protocol):
    """Sends results on, feature by feature."""

    @property
    def name(self) -> str:
        """What it is called in reports."""

    def send(self, rows: Rows, provenance: Provenance) -> Sent:
        """Send all rows.

        Raises
        ------
        SinkError
            When some could not be sent; says how many.
        """


class Sink(Protocol):
    """Writes results to one local file, batch by batch."""

    suffix: ClassVar[str]
    """File name ending, with the dot."""

    def write(self, rows: Rows, path: Path, provenance: Provenance) -> None:
        """Write all rows; the caller puts the file in place once it is complete.

        Parameters
        ----------
        rows
            The results; may be gone through more than once.
        path
            A file that does not exist yet.
        """
