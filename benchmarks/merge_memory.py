"""Memory of the driver while it merges, places and writes what a very large job has found."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from benchmarks.figure import Figure
from daskmr.core.grid import RegionGrid, Size, TileGrid, Window

N_FEATURES = int(os.environ.get("DASKMR_BENCH_FEATURES", "10_000_000"))
_SIDE, _TILES = 40, 8


def write_parts(folder: Path, n_features: int) -> None:
    """Parts of a job of 40 x 40 regions of 8 x 8 tiles; a tenth of the features are duplicates."""
    from daskmr.core.boxes import polygons
    from daskmr.core.features import table
    from daskmr.core.report import TileOutcome, TileStatus
    from daskmr.core.timings import Effort
    from daskmr.store import Part, PartStore

    grid, parts = grid_of(), PartStore(url=str(folder))
    per_tile = n_features // (_SIDE * _TILES) ** 2
    random = np.random.default_rng(0)
    for region in grid:
        tiles = list(grid.grid.tiles(region))
        corners = np.array([(tile.window.col, tile.window.row) for tile in tiles], np.float64)
        starts = np.repeat(corners, per_tile, axis=0)
        starts = starts + random.random(starts.shape) * 480
        starts[1::10] = starts[::10]
        found = np.hstack([starts, starts + 16])
        n = len(found)
        columns = {
            "label": ["ship"] * n,
            "score": random.random(n),
            "tile_row": np.repeat(corners[:, 1], per_tile).astype(np.int64),
            "tile_col": np.repeat(corners[:, 0], per_tile).astype(np.int64),
            "answer_index": np.tile(np.arange(per_tile), len(tiles)),
            "feature_id": [f"{region.id}{i:08d}" for i in range(n)],
            "inferred_at": ["2026-01-01T00:00:00Z"] * n,
            "classes": ['[{"iri":"ship","score":0.5}]'] * n,
            "properties": ["{}"] * n,
        }
        outcomes = [
            TileOutcome(
                row=tile.window.row,
                col=tile.window.col,
                status=TileStatus.SUCCEEDED,
                n_features=per_tile,
                attempts=1,
            )
            for tile in tiles
        ]
        part = Part(
            features=table(polygons(found), found, columns), outcomes=outcomes, effort=Effort()
        )
        parts.write(region.id, part)


def grid_of() -> RegionGrid:
    """Return the tiles of the image."""
    extent = _SIDE * _TILES * 448 + 64
    grid = TileGrid(
        window=Window(row=0, col=0, height=extent, width=extent),
        tile=Size.parse(512),
        overlap=Size.parse(64),
    )
    return RegionGrid(grid=grid, tiles_per_side=Size.parse(_TILES))


def merge(folder: Path, out: Path) -> int:
    """Merge, place and write the parts of a folder; features that survive."""
    from daskmr.geolocate.affine import AffineModel
    from daskmr.merge import merger
    from daskmr.results.georeference import Spool
    from daskmr.results.merge_parts import merge_parts
    from daskmr.results.summary import Account, add_parts
    from daskmr.sinks import write
    from daskmr.sinks.base import Provenance
    from daskmr.store import PartStore

    parts, grid = PartStore(url=str(folder)), grid_of().grid
    account = Account(grid)
    names = sorted(path.stem for path in folder.glob("*.parquet"))
    for _ in add_parts(account, parts, names):
        pass
    sensor = AffineModel(transform=(0.5, 0.0, 583_000.0, 0.0, -0.5, 4_507_000.0), crs="EPSG:32618")
    with Spool(grid, account.counts, sensor) as spool:
        nms = merger("nms", {"iou_threshold": 0.5})
        tables = merge_parts(
            nms, account.extents, lambda known: (part.features for part in parts.read_all(known))
        )
        for each in tables:
            spool.add(each)
        spool.close()
        write(spool, str(out), ["parquet", "geojsonseq"], provenance=Provenance(job_id="x"))
        return spool.n_rows


def figures() -> Iterator[Figure]:
    """Peak memory, and features a second."""
    with TemporaryDirectory() as scratch:
        folder, out = Path(scratch) / "parts", Path(scratch) / "out"
        write_parts(folder, N_FEATURES)
        code = f"""
import resource, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from benchmarks.merge_memory import merge
n = merge(Path({str(folder)!r}), Path({str(out)!r}))
print(n, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
        started = perf_counter()
        said = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        wall = perf_counter() - started
        n_rows, peak_kib = map(int, said.stdout.split())
    yield Figure(
        name=f"merge, place and write {N_FEATURES:,} features: peak GiB",
        value=peak_kib / 2**20,
        budget="<= 1.0",
        detail=f"{n_rows:,} kept, {wall:.0f} s, {N_FEATURES / wall:,.0f} features a second",
    )
