"""The interfaces of sinks (files) and streams, and the values that they share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import geopandas as gpd


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Origin of the features of a result, written into each."""

    job_id: str
    """Name of the job."""
    feature_properties: Sequence[Mapping[str, Any]] = ()
    """Properties of the request, merged into each feature in this order."""
    source_metadata: Sequence[Mapping[str, str | None]] = ()
    """See `daskmr.core.imagery.source_metadata`."""


class Rows(Protocol):
    """Results in batches that fit into memory."""

    @property
    def crs(self) -> Any:
        """CRS of the geometry; None for pixels."""

    def __iter__(self) -> Iterator[gpd.GeoDataFrame]:
        """Yield world tables of `daskmr.geolocate`: at least one, the same in each iteration."""


@dataclass(frozen=True)
class Whole:
    """`Rows` of one table in memory."""

    table: gpd.GeoDataFrame
    """The world table."""

    @property
    def crs(self) -> Any:
        """CRS of the geometry; None for pixels."""
        return self.table.crs

    def __iter__(self) -> Iterator[gpd.GeoDataFrame]:
        """Yield the table."""
        yield self.table


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """Numbers of features that a stream sent or failed to send."""

    n_sent: int = 0
    """Records that were accepted."""
    n_retried: int = 0
    """Records that were sent again."""
    n_spilled: int = 0
    """Records that point to a feature too large for a record."""
    n_failed: int = 0
    """Features that were not accepted."""

    def __add__(self, other: "Sent") -> "Sent":
        return Sent(
            n_sent=self.n_sent + other.n_sent,
            n_retried=self.n_retried + other.n_retried,
            n_spilled=self.n_spilled + other.n_spilled,
            n_failed=self.n_failed + other.n_failed,
        )


class Stream(Protocol):
    """Sends results feature by feature."""

    @property
    def name(self) -> str:
        """Name in reports."""

    def send(self, rows: Rows, provenance: Provenance) -> Sent:
        """Send all rows.

        Raises
        ------
        SinkError
            If features could not be sent; names their number.
        """


class Sink(Protocol):
    """Writes results to one local file, batch by batch."""

    suffix: ClassVar[str]
    """File name ending, with the dot."""

    def write(self, rows: Rows, path: Path, provenance: Provenance) -> None:
        """Write all rows; the caller moves the complete file to its target.

        Parameters
        ----------
        rows
            The results; may be iterated more than once.
        path
            A file that does not exist yet.
        provenance
            Job and request properties of every feature.

        Raises
        ------
        OSError, ValueError
            If the file cannot be written or the format cannot hold the rows; errors of pyarrow and
            pyogrio as well.
        """
