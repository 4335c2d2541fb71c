"""One GeoParquet file for each region: its features in pixels, and how each of its tiles ended.

Features never travel to the driver through Dask: the worker writes a part, the driver reads it.
A part appears whole or not at all, and its content depends on the tiles' answers only.
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
from daskmr.core.effort import Effort
from daskmr.core.features import COLUMNS
from daskmr.core.report import TileOutcome, TileStatus
from daskmr.errors import StoreError
from daskmr.store.places import place

T = TypeVar("T")
_READERS = 8
_TAIL = 2**16
_TILES, _EFFORT = b"daskmr:tiles", b"daskmr:effort"
_GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {"geometry": {"encoding": "WKB", "geometry_types": [], "crs": None}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one region found."""

    features: gpd.GeoDataFrame
    """Table in full-image pixels, see `daskmr.core.features`."""
    outcomes: Sequence[TileOutcome]
    """How each tile of the region that was run ended."""
    effort: Effort = field(default_factory=Effort)
    """What it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartHeader:
    """What a part says of itself."""

    outcomes: Sequence[TileOutcome]
    """How each tile ended."""
    effort: Effort
    """What it took."""
    n_features: int
    """Features in it."""
    bounds: tuple[float, float, float, float] | None
    """Box around the boxes of all features, full-image pixels; None without any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartStore:
    """A folder of parts."""

    url: str
    """Absolute path or fsspec URL; one folder for each run of a job."""

    def write(self, name: str, part: Part) -> Part:
        """Commit a part and return what is there: the first one that was committed.

        Raises
        ------
        StoreError
            When the folder cannot be written.
        """
        if place(self.url).create(f"{name}.parquet", _serialised(part)):
            return part
        return self.read(name)

    def read(self, name: str) -> Part:
        """The part of that name.

        Raises
        ------
        StoreError
            When it is not there, or not a part.
        """
        target = f"{self.url}/{name}.parquet"
        content = place(self.url).read(f"{name}.parquet")
        try:
            if content is None:
                raise FileNotFoundError(target)
            return _parsed(pq.read_table(pa.BufferReader(content)))
        except (OSError, KeyError, ValueError, pa.ArrowInvalid) as error:
            msg = f"{target}: cannot read the part: {error}"
            raise StoreError(msg) from error

    def exists(self, name: str) -> bool:
        """Whether a part of that name is there."""
        return place(self.url).exists(f"{name}.parquet")

    def read_all(self, names: Iterable[str]) -> Iterator[Part]:
        """The parts of those names, in their order; a few are read ahead."""
        yield from _ahead(self.read, names)

    def header(self, name: str) -> PartHeader:
        """What a part says of itself, without its features.

        Raises
        ------
        StoreError
            When it is not there, or not a part.
        """
        target = f"{self.url}/{name}.parquet"
        where, file = place(self.url), f"{name}.parquet"
        try:
            content = where.tail(file, _TAIL)
            if content is not None and int.from_bytes(content[-8:-4], "little") + 8 > len(content):
                content = where.read(file)
            if content is None:
                raise FileNotFoundError(target)
            return _headed(pq.read_metadata(pa.BufferReader(content)))
        except (OSError, KeyError, ValueError, pa.ArrowInvalid) as error:
            msg = f"{target}: cannot read the part: {error}"
            raise StoreError(msg) from error

    def boxes(self, name: str) -> Boxes:
        """The boxes of a part's features, shape (N, 4), full-image pixels."""
        content = place(self.url).read(f"{name}.parquet") or b""
        sides = ["x_min", "y_min", "x_max", "y_max"]
        found = pq.read_table(pa.BufferReader(content), columns=sides)
        return np.stack([found.column(side).to_numpy() for side in sides], axis=1)

    def headers(self, names: Iterable[str]) -> Iterator[PartHeader]:
        """The headers of parts, in the order of their names; a few are read ahead."""
        yield from _ahead(self.header, names)

    def probe(self) -> str:
        """Write a small file that `check` finds again, and return its name."""
        name = f".probe-{uuid.uuid4().hex}"
        try:
            place(self.url).create(name, b"daskmr")
        except StoreError as error:
            msg = f"{self.url}: a worker cannot write parts here: {error}"
            raise StoreError(msg) from error
        return name

    def check(self, name: str) -> None:
        """Refuse a store in which this process does not see what a worker wrote.

        Raises
        ------
        StoreError
            When the probe of that name is not there.
        """
        if place(self.url).read(name) is None:
            msg = (
                f"{self.url}: what the workers write here is not visible to this process; "
                "name a folder or URL that both reach (store=...)"
            )
            raise StoreError(msg)

    def remove(self) -> None:
        """Delete the folder and all parts in it."""
        place(self.url).remove()


def _ahead(read: Callable[[str], T], names: Iterable[str]) -> Iterator[T]:
    """What is read of each name, in their order, while the next few are being read."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="daskmr-parts") as pool:
        waiting: deque[Future[T]] = deque()
        for name in names:
            waiting.append(pool.submit(read, name))
            if len(waiting) > _READERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _serialised(part: Part) -> bytes:
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


def _parsed(table: pa.Table) -> Part:
    metadata = table.schema.metadata or {}
    geometry = shapely.from_wkb(table.column("geometry").to_numpy())
    frame = table.drop_columns(["geometry"]).to_pandas()
    frame = frame.astype(dict(COLUMNS))
    return Part(
        features=gpd.GeoDataFrame(frame, geometry=geometry, crs=None),
        outcomes=_outcomes(metadata),
        effort=_effort(metadata),
    )


def _headed(found: pq.FileMetaData) -> PartHeader:
    metadata = found.metadata or {}
    names = {found.schema.column(i).name: i for i in range(found.num_columns)}
    bounds = None
    if found.num_rows:
        groups = [found.row_group(i) for i in range(found.num_row_groups)]
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
        n_features=found.num_rows,
        bounds=bounds,
    )


def _outcomes(metadata: Mapping[bytes, bytes]) -> list[TileOutcome]:
    tiles = json.loads(metadata.get(_TILES, b"[]"))
    return [TileOutcome(**{**t, "status": TileStatus(t["status"])}) for t in tiles]


def _effort(metadata: Mapping[bytes, bytes]) -> Effort:
    return Effort.of(json.loads(metadata.get(_EFFORT, b"{}")))
