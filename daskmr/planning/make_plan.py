"""Make a plan from an image, a model and options; reads headers alone."""

from dataclasses import dataclass, replace
from typing import Any

from shapely.geometry.base import BaseGeometry

from daskmr.configuration import configuration
from daskmr.core.arrays import Mask
from daskmr.core.grid import Size, TileGrid, Window
from daskmr.core.imagery import ImageInfo
from daskmr.core.preparation import parse_recipe
from daskmr.core.roi import parse_roi, roi_window
from daskmr.core.selection import Selection, over_empty_blocks, tiles_touching
from daskmr.decode import AnswerForm
from daskmr.encode import encoder, replacement
from daskmr.encode.base import TileEncoder
from daskmr.endpoints import choose
from daskmr.endpoints.base import Annotated, Endpoint, LocalModel
from daskmr.errors import RequestError
from daskmr.geolocate import on_terrain, pick
from daskmr.geolocate.base import SensorModel
from daskmr.geolocate.chip import ChippedModel
from daskmr.geolocate.table import roi_to_pixels, spacing
from daskmr.image import Door, Image, open_image
from daskmr.image.prepared import prepare
from daskmr.merge import merger
from daskmr.merge.base import Merge
from daskmr.planning.endpoint_options import endpoint_hints
from daskmr.planning.identity import job_name, model_code
from daskmr.planning.payload import fitting, limit
from daskmr.planning.plan import Plan, largest_tile
from daskmr.planning.regions import plan_regions
from daskmr.planning.settings import Settings, configuration_warnings

MAX_TILES = 2_000_000
"""Most tiles of one job."""
MAX_TILE_BYTES = 512 * 2**20
"""Most bytes of pixels in one tile."""


def make_plan(image: Any, model: Any, settings: Settings, *, is_trusted: bool = True) -> Plan:
    """Return the plan of a job; reads headers, opens no connection to the model, reads no pixel.

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
    merge, tile_encoder, endpoint = _parts(model, settings, is_trusted=is_trusted)
    settings = _with_ground(settings)
    view = _viewed(open_image(image), settings)
    opened = view.image
    if isinstance(endpoint, Endpoint):
        tile_encoder.check(opened.info)
    area = _area(settings, opened.info, view.sensor)
    grid = _grid(settings, opened.info, area)
    planned = tiles_touching(grid, area) if area is not None else _everywhere(grid)
    empty = planned & _stored_nothing(opened, grid) if settings.skip_nodata else ~planned & False
    plan = Plan(
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
        model_address=model if isinstance(model, str) else None,
        model_code=model_code(endpoint),
        warnings=[
            *(endpoint.notes if isinstance(endpoint, Annotated) else ()),
            *_payload_warnings(
                endpoint, tile_encoder.payload_bytes(opened.info, largest_tile(grid)), opened.info
            ),
            *_warnings(grid, opened.info, view.note),
            *filter(None, [replacement(settings.tile_format, settings.tile_compression)]),
            *configuration_warnings(),
        ],
    )

    if settings.job_id:
        return plan
    return replace(plan, settings=replace(settings, job_id=job_name(plan)))


def check_options(model: Any, settings: Settings, *, is_trusted: bool = True) -> None:
    """Raise for what `make_plan` would refuse whatever the image.

    Parameters
    ----------
    model, settings, is_trusted
        As for `make_plan`.

    Raises
    ------
    RequestError
        Names every option that cannot work.
    """
    _parts(model, settings, is_trusted=is_trusted)
    if settings.roi is not None:
        parse_roi(settings.roi)


def _parts(
    model: Any, settings: Settings, *, is_trusted: bool
) -> tuple[Merge, TileEncoder, Endpoint | LocalModel]:
    """Return the algorithm, the encoder and the endpoint of the options."""
    merge = merger(settings.merge, {"iou_threshold": settings.iou, **settings.merge_options})
    tile_encoder = encoder(settings.tile_format, settings.tile_compression, settings.tile_options)
    known = replace(endpoint_hints(model, settings), is_trusted=is_trusted)
    return merge, tile_encoder, choose(model, parameters=settings.parameters, hints=known)


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
    made, info = parse_recipe(settings.prepare), opened.info
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
    """Return the settings, with the site's elevation where they have none."""
    if settings.elevation is not None:
        return settings
    site = configuration()
    return replace(
        settings,
        elevation=site.elevation,
        geoid=site.geoid if settings.geoid is None else settings.geoid,
    )


def _on_ground(
    sensor: SensorModel | None, info: ImageInfo, settings: Settings
) -> SensorModel | None:
    """Return the sensor model, meeting the ground that the settings tell of."""
    if sensor is None or settings.elevation is None:
        return sensor
    door = Door()
    with door.env(str(settings.elevation)):
        return on_terrain(
            sensor, info, settings.elevation, geoid=settings.geoid, open_raster=door.open
        )


def _area(settings: Settings, info: ImageInfo, sensor: SensorModel | None) -> BaseGeometry | None:
    """Return the area of interest in full-image pixels; None without one."""
    if settings.roi is None:
        return None
    polygon = parse_roi(settings.roi)
    if sensor is None:
        msg = f"roi: {info.url} has no georeferencing, so lon, lat cannot be found in it"
        raise RequestError(msg)
    return roi_to_pixels(polygon, sensor, size=Size(height=info.height, width=info.width))


def _grid(settings: Settings, info: ImageInfo, area: Any) -> TileGrid:
    """Return the tiles over the image, or over the box of the area of interest."""
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
    tile = largest_tile(grid)
    n_bytes = tile.height * tile.width * info.bands * info.itemsize
    if n_bytes > MAX_TILE_BYTES:
        msg = (
            f"tile_size: one tile of {tile} with {info.bands} bands of {info.dtype} takes "
            f"{n_bytes:,} bytes; the most is {MAX_TILE_BYTES:,}"
        )
        raise RequestError(msg)
    return grid


def _at_least(start: int, extent: int, *, tile: int, size: int) -> tuple[int, int]:
    """Return an axis of a window grown evenly to a full tile, as far as the image allows."""
    if extent >= tile:
        return start, extent
    grown = min(tile, size)
    start = start - (grown - extent) // 2
    return min(max(0, start), size - grown), grown


def _everywhere(grid: TileGrid) -> Mask:
    import numpy as np

    return np.ones(grid.shape, dtype=np.bool_)


def _stored_nothing(image: Image, grid: TileGrid) -> Mask:
    """Return tiles that the file's own index says hold nothing but nodata."""
    empty = image.empty_blocks() if image.info.nodata is not None else None
    if empty is None or not empty.any():
        return ~_everywhere(grid)
    return over_empty_blocks(grid, empty, (image.info.block_height, image.info.block_width))


def _warnings(grid: TileGrid, info: ImageInfo, note: str) -> list[str]:
    warnings = []
    if info.images:
        warnings.append(
            f"{info.url} holds several images, and this is the first: {'; '.join(info.images)}"
        )
    if note:
        warnings.append(f"{info.url}: {note}")
    if largest_tile(grid) != grid.tile:
        warnings.append(
            f"the tile {grid.tile} is larger than the image {info.width}x{info.height}: "
            f"tiles are {largest_tile(grid)}"
        )
    return warnings


def _payload_warnings(model: Any, n_bytes: int, info: ImageInfo) -> list[str]:
    """Return tiles that may be larger than the endpoint takes."""
    most = limit(model)
    if most is None or n_bytes <= most:
        return []
    would_fit = f"tile_size {fitting(info, most)} would fit, or a compression"
    return [
        f"tiles of up to {n_bytes:,} bytes: {model.name} is known to take {most:,}; {would_fit}"
    ]
