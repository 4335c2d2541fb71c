"""Planning a huge image, and starting up."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import rasterio

import daskmr
from benchmarks.figure import Figure

_SIZE = 200_000


def sparse(path: Path) -> Path:
    """Return a huge GeoTIFF in which no block is stored."""
    with rasterio.open(
        path, "w", driver="GTiff", width=_SIZE, height=_SIZE, count=3, dtype="uint8", tiled=True,
        blockxsize=512, blockysize=512, BIGTIFF="YES", SPARSE_OK=True, crs="EPSG:32618",
        transform=rasterio.Affine(0.5, 0, 583_000, 0, -0.5, 4_507_000),
    ):  # fmt: skip
        return path


def figures() -> Iterator[Figure]:
    """Seconds, best of three."""
    with tempfile.TemporaryDirectory() as folder:
        image = str(sparse(Path(folder) / "sparse.tif"))
        daskmr.plan(image, "centerpoint", tile_size=512, overlap=128)

        def plan() -> None:
            daskmr.plan(image, "centerpoint", tile_size=512, overlap=128)

        yield _best("plan 200,000 x 200,000 px, 271,441 tiles: seconds", plan, "<= 2")
    yield _best("daskmr --help: seconds", lambda: _python("-m", "daskmr", "--help"), "<= 0.5")
    bare = min(_timed(lambda: _python("-c", "pass")) for _ in range(3))
    found = _best("import daskmr: seconds", lambda: _python("-c", "import daskmr"), "<= 0.3")
    detail = f"{found.detail}; an empty Python takes {bare:.3f} s of it"
    yield Figure(name=found.name, value=found.value, budget=found.budget, detail=detail)


def _python(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def _timed(action: "object") -> float:
    started = perf_counter()
    action()  # type: ignore[operator]
    return perf_counter() - started


def _best(name: str, action: "object", budget: str) -> Figure:
    times = [_timed(action) for _ in range(3)]
    detail = f"of three: {', '.join(f'{t:.3f}' for t in times)}"
    return Figure(name=name, value=min(times), budget=budget, detail=detail)
