"""What encoding a tile costs beside the shortest rasterio code that makes the same file."""

import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter, process_time

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from benchmarks.figure import Figure
from daskmr.core.grid import Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.encode import encoder

SIZE = 1024
ROUNDS = 15
MOST_S = 12.0
"""Seconds of CPU for one format, more or less."""
WINDOW = Window(row=2048, col=1024, height=SIZE, width=SIZE)
_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


@dataclass(frozen=True, slots=True)
class Case:
    """A format of ours, and rasterio's options for it."""

    tile_format: str
    compression: str
    driver: str
    options: Mapping[str, object]
    copies: bool
    """Whether rasterio makes the file from another dataset: the driver can only copy, or is
    quicker at it."""

    def ours(self, pixels: Pixels, info: ImageInfo) -> Callable[[], bytes]:
        """With daskmr."""
        return partial(encoder(self.tile_format, self.compression).encode, pixels, info, WINDOW)

    def recipe(self, pixels: Pixels) -> bytes:
        """With rasterio alone."""
        bands, height, width = pixels.shape
        shape = {"height": height, "width": width, "count": bands, "dtype": pixels.dtype.name}
        if not self.copies:
            meaning = {"PHOTOMETRIC": "RGB" if bands == len(_RGB) else "MINISBLACK", "ALPHA": "NO"}
            options = {**meaning, **self.options}
            with MemoryFile() as memory:
                with memory.open(driver=self.driver, **shape, **options) as dataset:
                    dataset.write(pixels)
                return bytes(memory.read())
        with (
            rasterio.open(uuid.uuid4().hex, "w", driver="MEM", **shape) as source,
            MemoryFile(ext=".bin") as target,
        ):
            source.write(pixels)
            if bands == len(_RGB):
                source.colorinterp = _RGB
            rasterio.shutil.copy(source, target.name, driver=self.driver, **self.options)
            return bytes(target.read())


_NITF = {"FDT": "-" * 14, "IDATIM": "-" * 14}
CASES: Sequence[Case] = (
    Case("GTIFF", "NONE", "GTiff", {"INTERLEAVE": "PIXEL"}, copies=False),
    Case("GTIFF", "LZW", "GTiff", {"INTERLEAVE": "PIXEL", "COMPRESS": "LZW", "PREDICTOR": 2},
         copies=False),
    Case("GTIFF", "DEFLATE", "GTiff",
         {"INTERLEAVE": "PIXEL", "COMPRESS": "DEFLATE", "PREDICTOR": 2, "ZLEVEL": 1}, copies=False),
    Case("GTIFF", "ZSTD", "GTiff",
         {"INTERLEAVE": "PIXEL", "COMPRESS": "ZSTD", "PREDICTOR": 2, "ZSTD_LEVEL": 1},
         copies=False),
    Case("GTIFF", "JPEG", "GTiff",
         {"INTERLEAVE": "PIXEL", "COMPRESS": "JPEG", "PHOTOMETRIC": "YCBCR"}, copies=False),
    Case("PNG", "NONE", "PNG", {"ZLEVEL": 1}, copies=True),
    Case("JPEG", "NONE", "JPEG", {}, copies=True),
    Case("NITF", "NONE", "NITF", {"IC": "NC", **_NITF}, copies=True),
    Case("NITF", "JPEG", "NITF", {"IC": "C3", "QUALITY": 75, **_NITF}, copies=True),
    Case("NITF", "J2K", "NITF",
         {"IC": "C8", "PROFILE": "NPJE_NUMERICALLY_LOSSLESS", **_NITF}, copies=True),
)  # fmt: skip


def figures() -> Iterator[Figure]:
    """Speed as a part of rasterio's, for each format; and what a second thread brings."""
    tiles = {"RGB of 8 bits": _scene("uint8", 3), "one band of 16 bits": _scene("uint16", 1)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        for kind, pixels in tiles.items():
            for case in CASES:
                if pixels.dtype == "uint8" or "JPEG" not in {case.tile_format, case.compression}:
                    yield _beside(case, kind, pixels)
        yield _two_threads(tiles["RGB of 8 bits"])


def _beside(case: Case, kind: str, pixels: Pixels) -> Figure:
    info = _info(pixels)
    with rasterio.Env(GDAL_NUM_THREADS=1, GDAL_PAM_ENABLED="NO"):
        ours, theirs = _alternating(case.ours(pixels, info), partial(case.recipe, pixels))
    return Figure(
        name=f"{case.tile_format} {case.compression}, {kind}: speed / rasterio",
        value=theirs / ours,
        budget=">= 0.9",
        detail=f"{ours * 1e3:.1f} ms of CPU for a tile of {pixels.nbytes / 1e6:.1f} MB: "
        f"{pixels.nbytes / 1e6 / ours:,.0f} MB/s; rasterio {theirs * 1e3:.1f} ms",
    )


def _alternating(one: Callable[[], bytes], other: Callable[[], bytes]) -> tuple[float, float]:
    """CPU seconds of two ways, in turns; the middle of all rounds."""
    spent: tuple[list[float], list[float]] = ([], [])
    one(), other()
    while len(spent[0]) < ROUNDS and sum(map(sum, spent)) < MOST_S:
        for run, times in zip((one, other), spent, strict=True):
            started = process_time()
            run()
            times.append(process_time() - started)
    return median(spent[0]), median(spent[1])


def _two_threads(pixels: Pixels) -> Figure:
    """Wall time of the same tiles in one thread and in two, all formats mixed."""
    info = _info(pixels)
    work = [case.ours(pixels, info) for case in CASES if case.compression != "J2K"] * 6
    walls: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(3):
        for n_threads, times in walls.items():
            with ThreadPoolExecutor(n_threads) as threads:
                started = perf_counter()
                list(threads.map(lambda encode: encode(), work))
                times.append(perf_counter() - started)
    one, two = min(walls[1]), min(walls[2])
    return Figure(
        name="all formats in turn: two threads / one",
        value=one / two,
        budget=">= 1.7",
        detail=f"{len(work)} tiles in {one:.2f} s, in two threads in {two:.2f} s",
    )


def _info(pixels: Pixels) -> ImageInfo:
    bands, height, width = pixels.shape
    return ImageInfo(
        url="scene", height=8 * height, width=8 * width, bands=bands, dtype=pixels.dtype.name,
        driver="GTiff",
    )  # fmt: skip


def _scene(dtype: str, bands: int) -> Pixels:
    """Ground as it looks from above: slow changes, edges, and noise of a few levels."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    slow = 0.4 + 0.2 * np.sin(5 * x + 3 * y) + 0.1 * np.cos(17 * x * y)
    fields = np.kron(rng.uniform(-0.15, 0.15, (32, 32)), np.ones((SIZE // 32, SIZE // 32)))
    largest = np.iinfo(dtype).max if dtype == "uint8" else 2047
    noise = rng.normal(0, 0.01, (bands, SIZE, SIZE))
    tints = np.linspace(0.9, 1.1, bands)[:, None, None]
    found: Pixels = np.clip((slow + fields) * tints + noise, 0, 1) * largest
    return found.astype(dtype)
