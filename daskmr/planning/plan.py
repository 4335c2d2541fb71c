"""A plan: everything that is decided before a pixel is read or an endpoint is called."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shapely.geometry.base import BaseGeometry

from daskmr.core.grid import RegionGrid, Size, TileGrid
from daskmr.core.imagery import ImageInfo
from daskmr.core.selection import Selection
from daskmr.decode import AnswerForm
from daskmr.encode.base import TileEncoder
from daskmr.endpoints.base import Endpoint, LocalModel
from daskmr.errors import RequestError
from daskmr.geolocate.base import SensorModel
from daskmr.image import Image
from daskmr.merge.base import Merge
from daskmr.planning.job_file import is_job_file, job_file_text
from daskmr.planning.settings import Settings
from daskmr.views.text import html_table, lines, size


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is decided before a job runs, from headers alone; see `daskmr.run`."""

    settings: Settings
    """The options, resolved."""
    image: Image
    """The image, open and lazy."""
    model: Endpoint | LocalModel
    """Endpoint or model in process."""
    encoder: TileEncoder
    """Encoder of tiles for a remote endpoint."""
    answers: AnswerForm
    """Convention of the model's answers, and names of its classes."""
    merge: Merge
    """Algorithm that merges duplicates."""
    sensor: SensorModel | None
    """Sensor model on the terrain of the options; None without georeferencing."""
    flat: SensorModel | None
    """The same at the sensor model's own height, without terrain."""
    original: Image
    """The image as it is."""
    placing: SensorModel | None
    """Sensor model of `original`, at its own height."""
    scale: tuple[float, float]
    """Columns and rows of `original` in one column and row of `image`."""
    area: BaseGeometry | None
    """Area of interest in pixels of `image`; None for all of it."""
    regions: RegionGrid
    """Tiles in units of work."""
    selection: Selection
    """Tiles that are run."""
    n_tiles: int
    """Tiles planned: those that are run and those that are skipped."""
    n_skipped: int
    """Tiles skipped since the file stores nothing for them."""
    skipped: Selection
    """The skipped tiles."""
    model_address: str | None
    """URL or name by which the model was given; None for a function."""
    model_code: str
    """Hash of the code or file of a model in process; empty without one."""
    warnings: Sequence[str]
    """What the user should know before starting."""

    @property
    def info(self) -> ImageInfo:
        """Header of the image."""
        return self.image.info

    @property
    def is_remote(self) -> bool:
        """Whether tiles are encoded and sent to an endpoint."""
        return isinstance(self.model, Endpoint)

    @property
    def n_regions(self) -> int:
        """Regions with at least one tile to run: Dask tasks."""
        return sum(bool(self.selection.of_region(r).any()) for r in self.regions)

    @property
    def payload_bytes(self) -> int:
        """Upper estimate of the bytes of one encoded tile; 0 for a model in process."""
        return (
            self.encoder.payload_bytes(self.info, largest_tile(self.regions.grid))
            if self.is_remote
            else 0
        )

    @property
    def data(self) -> Any:
        """xarray.DataArray (band, y, x) of the planned window; one chunk for each region core."""
        return self.image.chunked(*self.regions.cores(), window=self.regions.grid.window)

    def save(self, path: str | Path) -> Path:
        """Write a job file with the image, the model and every option, resolved; returns its path.

        Values whose names sound like secrets are left out: they are kept as hashes, and the file
        does not run before they are written into it.

        Parameters
        ----------
        path
            Ends in ``.yaml`` or ``.yml``. A file that is there is replaced.

        Raises
        ------
        RequestError
            When the path has another ending, or the model is a function.
        """
        if not is_job_file(path):
            msg = f"{path}: the name of a job file ends in .yaml or .yml"
            raise RequestError(msg)
        if self.original.source is None:
            msg = "image: an array of this process cannot be saved; write it to a file first"
            raise RequestError(msg)
        text = job_file_text(self.original.info.url, self.model_address, self.settings)
        part = Path(f"{path}.part")
        part.write_text(text, encoding="utf-8")
        return part.replace(path)

    def __str__(self) -> str:
        return lines(plan_rows(self))

    def _repr_html_(self) -> str:
        return html_table("daskmr plan", plan_rows(self))


def largest_tile(grid: TileGrid) -> Size:
    """Return the size of the largest tile: smaller than asked for where the image is."""
    return Size(
        height=min(grid.tile.height, grid.window.height),
        width=min(grid.tile.width, grid.window.width),
    )


def plan_rows(plan: Plan) -> list[tuple[str, str]]:
    """Return a plan as rows of names and values."""
    info, grid = plan.info, plan.regions.grid
    n_rows, n_cols = grid.shape
    tile_bytes = min(grid.tile.height, info.height) * min(grid.tile.width, info.width)
    tile_bytes *= info.bands * info.itemsize
    rows = [
        ("job", plan.settings.job_id),
        (
            "image",
            (
                f"{info.url} ({info.format}, {info.width} x {info.height}, "
                f"{info.bands} x {info.dtype})"
            ),
        ),
        ("model", plan.model.name),
        (
            "tiles",
            (
                f"{plan.n_tiles:,} of {grid.tile} with overlap {grid.overlap} "
                f"({n_cols} x {n_rows}, {grid.strategy})"
            ),
        ),
        ("skipped", f"{plan.n_skipped:,} without data"),
        (
            "regions",
            f"{plan.n_regions:,} of up to {plan.regions.tiles_per_side} tiles",
        ),
        ("tile in memory", size(tile_bytes)),
    ]
    if plan.is_remote:
        settings = plan.settings
        sent = f"{settings.tile_format} {settings.tile_compression}, "
        rows.append(("payload", f"{sent}up to {size(plan.payload_bytes)}"))
    rows.append(("merge", f"{plan.settings.merge} (iou > {plan.settings.iou:g})"))
    rows.append(("ground", type(plan.sensor).__name__ if plan.sensor else "pixels only"))
    rows.extend(("warning", warning) for warning in plan.warnings)
    return rows


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain JSON values."""
    info, grid = plan.info, plan.regions.grid
    return {
        "jobId": plan.settings.job_id,
        "image": {
            "url": info.url,
            "format": info.format,
            "width": info.width,
            "height": info.height,
            "bands": info.bands,
            "dtype": info.dtype,
        },
        "model": plan.model.name,
        "tileSize": str(grid.tile),
        "overlap": str(grid.overlap),
        "tiles": plan.n_tiles,
        "tilesSkipped": plan.n_skipped,
        "regions": plan.n_regions,
        "payloadBytes": plan.payload_bytes,
        "warnings": list(plan.warnings),
    }
