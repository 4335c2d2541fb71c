"""One GeoParquet file for each region: its features in pixels, and how each of its tiles ended.

Features never travel to the driver through Dask: the worker writes a part, the driver reads it.
A part appears whole or not at all, and its content depends on the tiles' answers only.
"""

import json
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import geopandas as gpd
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from daskmr.core.features import COLUMNS
from daskmr.core.report import TileOutcome, TileStatus
from daskmr.errors import StoreError
from daskmr.store.places import place

_READERS = 8
_TILES = b"daskmr:tiles"
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

    def read_all(self, names: Sequence[str]) -> Iterator[Part]:
        """The parts of those names, in their order; several are read at once."""
        with ThreadPoolExecutor(_READERS, thread_name_prefix="daskmr-parts") as pool:
            yield from pool.map(self.read, names)

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


def _serialised(part: Part) -> bytes:
    tiles = [{**asdict(outcome), "status": str(outcome.status)} for outcome in part.outcomes]
    columns: dict[str, Any] = {
        name: pa.array(part.features[name], from_pandas=False) for name in COLUMNS
    }
    columns["geometry"] = pa.array(shapely.to_wkb(part.features.geometry.array), type=pa.binary())
    metadata = {b"geo": json.dumps(_GEO).encode(), _TILES: json.dumps(tiles).encode()}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), sink, compression="zstd")
    return bytes(sink.getvalue())


def _parsed(table: pa.Table) -> Part:
    tiles = json.loads((table.schema.metadata or {}).get(_TILES, b"[]"))
    geometry = shapely.from_wkb(table.column("geometry").to_numpy())
    frame = table.drop_columns(["geometry"]).to_pandas()
    frame = frame.astype(dict(COLUMNS))
    return Part(
        features=gpd.GeoDataFrame(frame, geometry=geometry, crs=None),
        outcomes=[TileOutcome(**{**t, "status": TileStatus(t["status"])}) for t in tiles],
    )
