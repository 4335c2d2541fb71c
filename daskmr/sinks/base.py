"""The interfaces of sinks (files) and streams, and the values that they share."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

_NAMES = {kind.value: kind.name.title() for kind in shapely.GeometryType} | {
    shapely.GeometryType.LINESTRING.value: "LineString",
    shapely.GeometryType.MULTIPOINT.value: "MultiPoint",
    shapely.GeometryType.MULTILINESTRING.value: "MultiLineString",
    shapely.GeometryType.MULTIPOLYGON.value: "MultiPolygon",
    shapely.GeometryType.GEOMETRYCOLLECTION.value: "GeometryCollection",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Origin of the features of a result, written into each."""

    job_id: str
    """Name of the job."""
    feature_properties: Sequence[Mapping[str, Any]] = ()
    """Properties of the request, merged into each feature in this order."""
    source_metadata: Sequence[Mapping[str, str | None]] = ()
    """See `daskmr.core.imagery.source_metadata`."""


@dataclass
class GeometrySummary:
    """Properties of all geometries of a result, which some formats need before the first."""

    kinds: set[tuple[str, bool]] = field(default_factory=set)
    """Names of their types (``MultiPolygon``), each with whether it has heights."""
    n_rows: int = 0
    """Rows, those without geometry included."""
    has_gaps: bool = False
    """Whether a geometry is missing or empty."""
    bounds: NDArray[np.float64] = field(default_factory=lambda: np.array([[np.inf, -np.inf]] * 2))
    """Least and largest x, and y; shape (2, 2); infinite where there is none."""

    @classmethod
    def of(cls, column: gpd.GeoSeries) -> Self:
        """Return the summary of one column."""
        summary = cls()
        summary.add(column)
        return summary

    def add(self, column: gpd.GeoSeries) -> None:
        """Add the geometries of a batch."""
        flat = column.to_numpy()
        shapes = flat[~shapely.is_missing(flat)]
        self.n_rows += len(flat)
        self.has_gaps |= len(shapes) < len(flat) or bool(shapely.is_empty(shapes).any())
        both = np.stack([shapely.get_type_id(shapes), shapely.has_z(shapes)])
        self.kinds |= {
            (_NAMES[int(kind)], bool(has_z)) for kind, has_z in np.unique(both, axis=1).T
        }
        points = shapely.get_coordinates(shapes)
        points = points[np.isfinite(points).all(axis=1)]
        for axis, values in enumerate(points.T):
            low, high = self.bounds[axis]
            self.bounds[axis] = values.min(initial=low), values.max(initial=high)

    @property
    def box(self) -> list[float]:
        """Least x and y, then the largest, without heights; empty without geometries."""
        box: list[float] = self.bounds.T.ravel().tolist()
        return box if np.isfinite(box).all() else []


class Rows(Protocol):
    """Results in batches that fit into memory."""

    @property
    def crs(self) -> Any:
        """CRS of the geometry; None for pixels."""

    @property
    def geometry(self) -> GeometrySummary:
        """Properties of all geometries."""

    def __iter__(self) -> Iterator[gpd.GeoDataFrame]:
        """Yield world tables of `daskmr.geolocate`: at least one, the same in each iteration.

        Flat properties of the model may follow as columns, the same in each table.
        """


@dataclass(frozen=True)
class Whole:
    """`Rows` of one table in memory."""

    table: gpd.GeoDataFrame
    """The world table."""

    @property
    def crs(self) -> Any:
        """CRS of the geometry; None for pixels."""
        return self.table.crs

    @property
    def geometry(self) -> GeometrySummary:
        """Properties of all geometries."""
        return GeometrySummary.of(self.table.geometry)

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
