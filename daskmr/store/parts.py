"""One GeoParquet file for each region: its features in pixels, and the outcome of each tile.

Features never travel to the driver through Dask: the worker writes a part, the driver reads it.
A part is written atomically, and its content depends on the model's responses only.
"""

import json
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from daskmr.core.boxes import Boxes
from daskmr.core.features import COLUMNS
from daskmr.core.report import TileOutcome
from daskmr.core.timings import Effort
from daskmr.errors import StoreError
from daskmr.store.object_store import object_store

T = TypeVar("T")
_N_THREADS = 8
_TAIL_BYTES = 2**16
_TILES, _EFFORT = b"daskmr:tiles", b"daskmr:effort"
_GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {"geometry": {"encoding": "WKB", "geometry_types": [], "crs": None}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Result of one region."""

    features: gpd.GeoDataFrame
    """Table in full-image pixels, see `daskmr.core.features`."""
    outcomes: Sequence[TileOutcome]
    """Outcome of each tile of the region that was run."""
    effort: Effort = field(default_factory=Effort)
    """Pixels read and times spent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartHeader:
    """Metadata of a part."""

    outcomes: Sequence[TileOutcome]
    """Outcome of each tile."""
    effort: Effort
    """Pixels read and times spent."""
    n_features: int
    """Number of features."""
    bounds: tuple[float, float, float, float] | None
    """Box around the boxes of all features, full-image pixels; None without any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartStore:
    """A folder of parts."""

    url: str
    """Absolute path or fsspec URL; one folder for each run of a job."""

    def write(self, name: str, part: Part) -> Part:
        """Commit a part and return the committed one: the first writer wins.

        Raises
        ------
        StoreError
            If the folder cannot be written.
        """
        if object_store(self.url).create(f"{name}.parquet", _serialize(part)):
            return part
        return self.read(name)

    def read(self, name: str) -> Part:
        """Return a part.

        Raises
        ------
        StoreError
            If it does not exist or is not a part.
        """
        target = f"{self.url}/{name}.parquet"
        content = object_store(self.url).read(f"{name}.parquet")
        try:
            if content is None:
                raise FileNotFoundError(target)
            return _parse(pq.read_table(pa.BufferReader(content)))
        except (OSError, KeyError, ValueError, pa.ArrowInvalid) as error:
            msg = f"{target}: cannot read the part: {error}"
            raise StoreError(msg) from error

    def exists(self, name: str) -> bool:
        """Return True if a part exists."""
        return object_store(self.url).exists(f"{name}.parquet")

    def read_all(self, names: Iterable[str]) -> Iterator[Part]:
        """Yield parts in the order of *names*; a few are read ahead."""
        yield from _read_ahead(self.read, names)

    def header(self, name: str) -> PartHeader:
        """Return the metadata of a part without reading its features.

        Raises
        ------
        StoreError
            If it does not exist or is not a part.
        """
        target = f"{self.url}/{name}.parquet"
        objects, file = object_store(self.url), f"{name}.parquet"
        try:
            content = objects.tail(file, _TAIL_BYTES)
            if content is not None and int.from_bytes(content[-8:-4], "little") + 8 > len(content):
                content = objects.read(file)
            if content is None:
                raise FileNotFoundError(target)
            return _parse_header(pq.read_metadata(pa.BufferReader(content)))
        except (OSError, KeyError, ValueError, pa.ArrowInvalid) as error:
            msg = f"{target}: cannot read the part: {error}"
            raise StoreError(msg) from error

    def boxes(self, name: str) -> Boxes:
        """Return the boxes of a part's features, shape (N, 4), full-image pixels."""
        content = object_store(self.url).read(f"{name}.parquet") or b""
        sides = ["x_min", "y_min", "x_max", "y_max"]
        table = pq.read_table(pa.BufferReader(content), columns=sides)
        return np.stack([table.column(side).to_numpy() for side in sides], axis=1)

    def headers(self, names: Iterable[str]) -> Iterator[PartHeader]:
        """Yield the metadata of parts in the order of *names*; a few are read ahead."""
        yield from _read_ahead(self.header, names)

    def probe(self) -> str:
        """Write a small file for `check` and return its name."""
        name = f".probe-{uuid.uuid4().hex}"
        try:
            object_store(self.url).create(name, b"daskmr")
        except StoreError as error:
            msg = f"{self.url}: a worker cannot write parts here: {error}"
            raise StoreError(msg) from error
        return name

    def check(self, name: str) -> None:
        """Raise if this process cannot read the file that a worker wrote by `probe`.

        Raises
        ------
        StoreError
            If the file of that name does not exist.
        """
        if object_store(self.url).read(name) is None:
            msg = (
                f"{self.url}: what the workers write here is not visible to this process; "
                "name a folder or URL that both reach (store=...)"
            )
            raise StoreError(msg)

    def remove(self) -> None:
        """Delete the folder and all parts in it."""
        object_store(self.url).remove()


def _read_ahead(read: Callable[[str], T], names: Iterable[str]) -> Iterator[T]:
    """Yield the result of *read* for each name, in order, while threads read the next few."""
    with ThreadPoolExecutor(_N_THREADS, thread_name_prefix="daskmr-parts") as pool:
        pending: deque[Future[T]] = deque()
        for name in names:
            pending.append(pool.submit(read, name))
            if len(pending) > _N_THREADS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _serialize(part: Part) -> bytes:
    tiles = [{**asdict(outcome), "status": str(outcome.status)} for outcome in part.outcomes]
    columns: dict[str, Any] = {
        name: pa.array(part.features[name], from_pandas=False) for name in COLUMNS
    }
    columns["geometry"] = pa.array(shapely.to_wkb(part.features.geometry.array), type=pa.binary())
    metadata = {
        b"geo": json.dumps(_GEO).encode(),
        _TILES: json.dumps(tiles).encode(),
        _EFFORT: json.dumps(part.effort.as_dict()).encode(),
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), sink, compression="zstd")
    return bytes(sink.getvalue())


def _parse(table: pa.Table) -> Part:
    metadata = table.schema.metadata or {}
    geometry = shapely.from_wkb(table.column("geometry").to_numpy())
    frame = table.drop_columns(["geometry"]).to_pandas()
    frame = frame.astype(dict(COLUMNS))
    return Part(
        features=gpd.GeoDataFrame(frame, geometry=geometry, crs=None),
        outcomes=_outcomes(metadata),
        effort=_effort(metadata),
    )


def _parse_header(footer: pq.FileMetaData) -> PartHeader:
    metadata = footer.metadata or {}
    names = {footer.schema.column(i).name: i for i in range(footer.num_columns)}
    bounds = None
    if footer.num_rows:
        groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
        limits = {
            side: [group.column(names[side]).statistics for group in groups]
            for side in ("x_min", "y_min", "x_max", "y_max")
        }
        bounds = (
            min(s.min for s in limits["x_min"]),
            min(s.min for s in limits["y_min"]),
            max(s.max for s in limits["x_max"]),
            max(s.max for s in limits["y_max"]),
        )
    return PartHeader(
        outcomes=_outcomes(metadata),
        effort=_effort(metadata),
        n_features=footer.num_rows,
        bounds=bounds,
    )


def _outcomes(metadata: Mapping[bytes, bytes]) -> list[TileOutcome]:
    tiles = json.loads(metadata.get(_TILES, b"[]"))
    return [TileOutcome.from_dict(tile) for tile in tiles]


def _effort(metadata: Mapping[bytes, bytes]) -> Effort:
    return Effort.of(json.loads(metadata.get(_EFFORT, b"{}")))
