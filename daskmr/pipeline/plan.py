"""Plans: everything that is decided before a pixel is read or an endpoint is called."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from shapely.geometry.base import BaseGeometry

from daskmr.core.grid import RegionGrid, Size, TileGrid, Window
from daskmr.core.imagery import ImageInfo
from daskmr.core.preparation import recipe
from daskmr.core.roi import parse_roi, roi_window
from daskmr.core.selection import Mask, Selection, over_empty_blocks, touching
from daskmr.decode import AnswerForm
from daskmr.encode import encoder
from daskmr.encode.base import TileEncoder
from daskmr.endpoints import choose
from daskmr.endpoints.base import Endpoint, LocalModel
from daskmr.errors import RequestError
from daskmr.geolocate import on_terrain, pick
from daskmr.geolocate.base import SensorModel
from daskmr.geolocate.chip import ChippedModel
from daskmr.geolocate.table import roi_to_pixels, spacing
from daskmr.image import Door, Image, open_image
from daskmr.image.prepared import prepare
from daskmr.merge import merger
from daskmr.merge.base import Merge
from daskmr.pipeline.capacity import hints
from daskmr.pipeline.describe import plan_html, plan_text
from daskmr.pipeline.payload import fitting, limit
from daskmr.pipeline.regions import plan_regions
from daskmr.pipeline.settings import Settings

ELEVATION, GEOID = "daskmr.elevation", "daskmr.geoid"
"""Settings of `dask.config`: where the ground is, see `Settings.elevation`."""
MAX_TILES = 2_000_000
"""Most tiles of one job."""
MAX_TILE_BYTES = 512 * 2**20
"""Most bytes of pixels in one tile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a job will do; made from headers alone. Run it with `daskmr.run`."""

    settings: Settings
    """The options, resolved."""
    image: Image
    """The image, open and lazy."""
    model: Endpoint | LocalModel
    """What answers a tile."""
    encoder: TileEncoder
    """How a remote endpoint gets its tiles."""
    answers: AnswerForm
    """How the model spells what it found."""
    merge: Merge
    """How duplicates are merged."""
    sensor: SensorModel | None
    """Pixels to the ground; None when the image says nothing of its place."""
    flat: SensorModel | None
    """The same without the ground that was asked for: at the level that the model has for it."""
    original: Image
    """The image as it is."""
    placing: SensorModel | None
    """Pixels of `original` to the ground, at the height that the model has for itself."""
    scale: tuple[float, float]
    """Columns and rows of the image that make one of those that the model sees."""
    area: BaseGeometry | None
    """Area of interest in pixels that the model sees; None for the whole image."""
    regions: RegionGrid
    """Tiles in units of work."""
    selection: Selection
    """Tiles that are run."""
    n_tiles: int
    """Tiles planned: those that are run and those that are skipped."""
    n_skipped: int
    """Tiles skipped since the file stores nothing for them."""
    skipped: Selection
    """Which these are."""
    asked_for: str | None
    """The model as it was asked for; None for a function."""
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
            self.encoder.payload_bytes(self.info, _tile(self.regions.grid)) if self.is_remote else 0
        )

    @property
    def data(self) -> Any:
        """xarray.DataArray (band, y, x) of the planned window; one chunk for each region core."""
        return self.image.chunked(*self.regions.cores(), window=self.regions.grid.window)

    def probe(self, n: int, *, price_per_hour: float | None = None) -> Any:
        """Send n tiles that are spread over the image: `daskmr.pipeline.probe.Estimate`."""
        from daskmr.pipeline.probe import probe

        return probe(self, n, price_per_hour=price_per_hour)

    def __str__(self) -> str:
        return plan_text(self)

    def _repr_html_(self) -> str:
        return plan_html(self)


def make_plan(image: Any, model: Any, settings: Settings, *, is_trusted: bool = True) -> Plan:
    """The plan of a job; reads headers, opens no connection to the model, reads no pixel.

    Parameters
    ----------
    image, model
        As for `daskmr.plan`.
    settings
        Options.
    is_trusted
        Whether the model was named by a person here, who may name modules and private addresses.

    Raises
    ------
    RequestError
        Names every option that cannot work with this image.
    ImageError
        When the image cannot be opened.
    """
    merge = merger(settings.merge, {"iou_threshold": settings.iou, **settings.merge_options})
    tile_encoder = encoder(settings.tile_format, settings.tile_compression, settings.tile_options)
    known = replace(hints(model, settings), is_trusted=is_trusted)
    endpoint = choose(model, parameters=settings.parameters, hints=known)
    settings = _with_ground(settings)
    view = _viewed(open_image(image), settings)
    opened = view.image
    if isinstance(endpoint, Endpoint):
        tile_encoder.check(opened.info)
    area = _area(settings, opened.info, view.sensor)
    grid = _grid(settings, opened.info, area)
    planned = touching(grid, area) if area is not None else _everywhere(grid)
    empty = planned & _stored_nothing(opened, grid) if settings.skip_nodata else ~planned & False
    return Plan(
        settings=settings,
        image=opened,
        model=endpoint,
        encoder=tile_encoder,
        answers=AnswerForm(convention=settings.answer_format, classes=tuple(settings.classes)),
        merge=merge,
        sensor=view.sensor,
        flat=view.flat,
        original=view.original,
        placing=view.placing,
        scale=view.scale,
        area=area,
        regions=plan_regions(grid, opened.info, whole=opened.source is None),
        selection=Selection.of(planned & ~empty),
        n_tiles=int(planned.sum()),
        n_skipped=int(empty.sum()),
        skipped=Selection.of(empty),
        asked_for=model if isinstance(model, str) else None,
        warnings=[
            *getattr(endpoint, "notes", ()),
            *_payload_warnings(
                endpoint, tile_encoder.payload_bytes(opened.info, _tile(grid)), opened.info
            ),
            *_warnings(grid, opened.info, view.note),
        ],
    )


@dataclass(frozen=True, slots=True)
class _View:
    """An image as the model sees it, and where that lies."""

    image: Image
    original: Image
    placing: SensorModel | None
    flat: SensorModel | None
    sensor: SensorModel | None
    scale: tuple[float, float]
    note: str
    """What the user should know about it."""


def _viewed(opened: Image, settings: Settings) -> _View:
    made, info = recipe(settings.prepare), opened.info
    placing, note = pick(info, settings.sensor_model)
    flat = placing
    scale = (1.0, 1.0)
    if made.gsd is not None:
        if flat is None:
            msg = f"prepare.gsd: {info.url} has no georeferencing, so its pixels have no size"
            raise RequestError(msg)
        x, y = spacing(flat, info)
        scale = (made.gsd / x, made.gsd / y)
        flat = ChippedModel(model=flat, transform=(scale[0], 0.0, 0.0, 0.0, scale[1], 0.0))
    image = prepare(opened, made, scale)
    return _View(
        image=image,
        original=opened,
        placing=placing,
        flat=flat,
        sensor=_on_ground(flat, image.info, settings),
        scale=scale,
        note=note,
    )


def _with_ground(settings: Settings) -> Settings:
    """The settings, with the ground that the configuration tells of where they tell of none."""
    import dask

    if settings.elevation is not None:
        return settings
    said = {"elevation": dask.config.get(ELEVATION, None), "geoid": dask.config.get(GEOID, None)}
    return replace(settings, **{name: value for name, value in said.items() if value is not None})


def _on_ground(
    sensor: SensorModel | None, info: ImageInfo, settings: Settings
) -> SensorModel | None:
    """The sensor model, meeting the ground that the settings tell of."""
    if sensor is None or settings.elevation is None:
        return sensor
    door = Door()
    with door.env(str(settings.elevation)):
        return on_terrain(sensor, info, settings.elevation, geoid=settings.geoid, opened=door.open)


def _area(settings: Settings, info: ImageInfo, sensor: SensorModel | None) -> BaseGeometry | None:
    """The area of interest in full-image pixels; None without one."""
    if settings.roi is None:
        return None
    polygon = parse_roi(settings.roi)
    if sensor is None:
        msg = f"roi: {info.url} has no georeferencing, so lon, lat cannot be found in it"
        raise RequestError(msg)
    return roi_to_pixels(polygon, sensor, size=Size(height=info.height, width=info.width))


def _grid(settings: Settings, info: ImageInfo, area: Any) -> TileGrid:
    """The tiles over the image, or over the box of the area of interest."""
    window: Window | None = Window(row=0, col=0, height=info.height, width=info.width)
    if area is not None:
        window = roi_window(area, height=info.height, width=info.width)
    if window is None:
        msg = f"roi: the area of interest lies outside {info.url}"
        raise RequestError(msg)
    row, height = _at_least(
        window.row, window.height, tile=settings.tile_size.height, size=info.height
    )
    col, width = _at_least(window.col, window.width, tile=settings.tile_size.width, size=info.width)
    grid = TileGrid(
        window=Window(row=row, col=col, height=height, width=width),
        tile=settings.tile_size,
        overlap=settings.overlap,
        strategy=settings.strategy,
    )
    n_rows, n_cols = grid.shape
    if n_rows * n_cols > MAX_TILES:
        msg = (
            f"tile_size: {settings.tile_size} with overlap {settings.overlap} makes "
            f"{n_rows * n_cols:,} tiles of {info.width}x{info.height}; the most is {MAX_TILES:,}"
        )
        raise RequestError(msg)
    tile = _tile(grid)
    n_bytes = tile.height * tile.width * info.bands * info.itemsize
    if n_bytes > MAX_TILE_BYTES:
        msg = (
            f"tile_size: one tile of {tile} with {info.bands} bands of {info.dtype} takes "
            f"{n_bytes:,} bytes; the most is {MAX_TILE_BYTES:,}"
        )
        raise RequestError(msg)
    return grid


def _at_least(start: int, extent: int, *, tile: int, size: int) -> tuple[int, int]:
    """An axis of a window grown evenly to a full tile, as far as the image allows."""
    if extent >= tile:
        return start, extent
    grown = min(tile, size)
    start = start - (grown - extent) // 2
    return min(max(0, start), size - grown), grown


def _tile(grid: TileGrid) -> Size:
    """The largest tile there is: smaller than asked for where the image is."""
    return Size(
        height=min(grid.tile.height, grid.window.height),
        width=min(grid.tile.width, grid.window.width),
    )


def _everywhere(grid: TileGrid) -> Mask:
    import numpy as np

    return np.ones(grid.shape, dtype=np.bool_)


def _stored_nothing(image: Image, grid: TileGrid) -> Mask:
    """Tiles that the file's own index says hold nothing but nodata."""
    empty = image.empty_blocks() if image.info.nodata is not None else None
    if empty is None or not empty.any():
        return ~_everywhere(grid)
    return over_empty_blocks(grid, empty, (image.info.block_height, image.info.block_width))


def _warnings(grid: TileGrid, info: ImageInfo, note: str) -> list[str]:
    found = []
    if info.images:
        found.append(
            f"{info.url} holds several images, and this is the first: {'; '.join(info.images)}"
        )
    if note:
        found.append(f"{info.url}: {note}")
    if _tile(grid) != grid.tile:
        found.append(
            f"the tile {grid.tile} is larger than the image {info.width}x{info.height}: "
            f"tiles are {_tile(grid)}"
        )
    return found


def _payload_warnings(model: Any, n_bytes: int, info: ImageInfo) -> list[str]:
    """Tiles that may be larger than the endpoint takes."""
    most = limit(model)
    if most is None or n_bytes <= most:
        return []
    would_fit = f"tile_size {fitting(info, most)} would fit, or a compression"
    return [
        f"tiles of up to {n_bytes:,} bytes: {model.name} is known to take {most:,}; {would_fit}"
    ]
