"""The world table: every vertex of every feature, mapped from pixels to the ground."""

import logging
from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from daskmr.core import features as table
from daskmr.core.boxes import Boxes
from daskmr.core.grid import Size
from daskmr.core.imagery import ImageInfo
from daskmr.core.truncation import EDGE_DISTANCE, MERGED_FROM, TRUNCATED
from daskmr.errors import ImageError, RequestError
from daskmr.geolocate._meridian import cut
from daskmr.geolocate.base import Points, SensorModel, has_heights

log = logging.getLogger(__name__)

WORLD_CRS = "EPSG:4326"
"""lon, lat in degrees; the third coordinate is metres above the ellipsoid."""

_KEPT = [
    "tile_row",
    "tile_col",
    "inferred_at",
    "classes",
    "properties",
    TRUNCATED,
    EDGE_DISTANCE,
    MERGED_FROM,
]
_LEAST_RING = 3
Geometries = NDArray[Any]


def to_world(features: gpd.GeoDataFrame, model: SensorModel | None) -> gpd.GeoDataFrame:
    """Return the world table of a table in pixels; same rows, same order.

    Features that cross the antimeridian, or surround a pole, are cut at longitude 180 into parts.

    Parameters
    ----------
    features
        The table of `daskmr.core.features`, in full-image pixels.
    model
        None for an image without one: geometry stays in pixels and `crs` is None.

    Returns
    -------
    Columns feature_id, label, score, geometry (None where a vertex has no place on the ground; with
    heights where the model has them), image_geometry, the box image_xmin, image_ymin, image_xmax,
    image_ymax, center_longitude, center_latitude, tile_row, tile_col, inferred_at (datetime64[ms,
    UTC]), classes, properties, and those that `daskmr.core.truncation.add_quality` added.
    """
    flat = np.asarray(features.geometry.to_numpy(), dtype=object)
    boxes = table.boxes(features)
    centres = np.full((len(features), 3), np.nan)
    geometry = flat
    if model is not None:
        centres = model.to_world(_centres(flat, boxes))
        placed = _place(flat, model)
        geometry = cut(placed if has_heights(model) else shapely.force_2d(placed), centres[:, 0])
    index = features.index
    columns = {
        **{name: features[name] for name in ("feature_id", "label", "score")},
        "geometry": gpd.GeoSeries(geometry, index=index, crs=WORLD_CRS if model else None),
        "image_geometry": gpd.GeoSeries(flat, index=index, crs=None),
        **dict(zip(table.IMAGE_BOX, boxes.T, strict=True)),
        "center_longitude": centres[:, 0],
        "center_latitude": centres[:, 1],
        **{name: features[name] for name in _KEPT if name in features},
    }
    columns["inferred_at"] = pd.to_datetime(columns["inferred_at"], utc=True).dt.as_unit("ms")
    return gpd.GeoDataFrame(columns, geometry="geometry", index=index)


def full_size(world: gpd.GeoDataFrame, scale: tuple[float, float]) -> gpd.GeoDataFrame:
    """Return a world table in pixels of the image, from one in pixels of the resampled image.

    Parameters
    ----------
    world
        As `to_world` returns it.
    scale
        Columns and rows of the image for one of the resampled image.
    """
    if scale == (1.0, 1.0):
        return world
    x, y = scale
    flat = shapely.transform(world["image_geometry"].to_numpy(), lambda xy: xy * scale)
    boxes = world[table.IMAGE_BOX] * [x, y, x, y]
    return world.assign(
        **boxes,
        image_geometry=gpd.GeoSeries(flat, index=world.index, crs=None),
        tile_row=np.rint(world["tile_row"] * y).astype(np.int64),
        tile_col=np.rint(world["tile_col"] * x).astype(np.int64),
        **({EDGE_DISTANCE: world[EDGE_DISTANCE] * min(scale)} if EDGE_DISTANCE in world else {}),
    )


def roi_to_pixels(
    polygon: BaseGeometry, model: SensorModel, *, step_px: float = 200.0, size: Size | None = None
) -> BaseGeometry:
    """Return an area of interest in pixels of the image.

    Edges are straight in longitude and latitude, and get a vertex every few pixels so that any
    projection keeps their course.

    Parameters
    ----------
    polygon
        Polygon or multipolygon, lon, lat in degrees; holes are kept, heights ignored.
    model
        Of the image.
    step_px
        Longest edge that is not divided, in pixels.
    size
        Of the image. Needed when the area may be far larger than the image: parts far outside,
        where the projection may not be defined, are cut off first.

    Returns
    -------
    Polygon or multipolygon in full-image pixels, not cut at the image's edge; empty when the model
    places no part of it.

    Raises
    ------
    RequestError
        When it is another kind of geometry.
    """
    if polygon.geom_type not in {"Polygon", "MultiPolygon"}:
        msg = f"region of interest is a {polygon.geom_type}; give a Polygon or MultiPolygon"
        raise RequestError(msg)
    area = shapely.make_valid(shapely.force_2d(polygon), method="structure", keep_collapsed=False)
    if size is not None:
        area = _nearby(area, model, size)
    step = _degrees(shapely.get_coordinates(area), model) * step_px
    if not np.isfinite(step):
        return shapely.Polygon()
    dense = shapely.segmentize(area, step)
    return shapely.union_all([_project(part, model) for part in shapely.get_parts(dense)])


def outlines(rings: Sequence[Points], model: SensorModel) -> Geometries:
    """Return rings of pixels x, y as polygons in lon, lat; None where part is off the Earth."""
    if not rings:
        return np.empty(0, dtype=object)
    world = model.to_world(np.concatenate(rings))[:, :2]
    owner = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    is_lost = np.zeros(len(rings), dtype=np.bool_)
    is_lost[owner[~np.isfinite(world).all(axis=1)]] = True
    shapes = np.full(len(rings), None, dtype=object)
    kept = ~is_lost[owner]
    if kept.any():
        _, dense = np.unique(owner[kept], return_inverse=True)
        shapes[~is_lost] = shapely.polygons(shapely.linearrings(world[kept], indices=dense))
    middles = model.to_world(np.array([ring.mean(axis=0) for ring in rings]))[:, 0]
    return cut(shapes, middles)


def spacing(model: SensorModel, info: ImageInfo) -> tuple[float, float]:
    """Return metres on the ground from the middle pixel of an image to the next right, and down.

    Raises
    ------
    ImageError
        When the model does not place the middle of the image.
    """
    import pyproj

    x, y = info.width / 2, info.height / 2
    places = model.to_world(np.array([(x, y), (x + 1.0, y), (x, y + 1.0)]))
    lon, lat = places[:, 0], places[:, 1]
    if not np.isfinite(places).all():
        msg = f"{info.url}: the middle of the image has no place on the ground"
        raise ImageError(msg)
    _, _, metres = pyproj.Geod(ellps="WGS84").inv(lon[[0, 0]], lat[[0, 0]], lon[1:], lat[1:])
    return float(metres[0]), float(metres[1])


def _place(flat: Geometries, model: SensorModel) -> Geometries:
    """Return the geometries on the ground; None where a vertex has no place there."""
    pixels, owner = shapely.get_coordinates(flat, return_index=True)
    world = model.to_world(pixels)
    lost = np.unique(owner[np.isnan(world).any(axis=1)])
    placed = np.atleast_1d(shapely.force_3d(flat))
    placed = shapely.set_coordinates(placed, np.nan_to_num(world, copy=False))
    if len(lost):
        placed[lost] = None
        log.warning("features without a place on the ground", extra={"n_features": len(lost)})
    return placed


def _centres(flat: Geometries, boxes: Boxes) -> Points:
    """Return the centroid of each geometry, else the centre of its box; shape (N, 2), pixels."""
    # The bounds of a point are the point, and NaN for none; get_x raises on an empty one.
    centroids = shapely.bounds(shapely.centroid(flat)).reshape(-1, 4)[:, :2]
    return np.where(np.isnan(centroids), (boxes[:, :2] + boxes[:, 2:]) / 2, centroids)


def _nearby(area: BaseGeometry, model: SensorModel, size: Size) -> BaseGeometry:
    """Return the part of an area within half an image around the image, at its longitudes."""
    x, y = np.meshgrid(np.linspace(0, size.width, 17), np.linspace(0, size.height, 17))
    ground = model.to_world(np.stack([x.ravel(), y.ravel()], axis=1))[:, :2]
    ground = ground[~np.isnan(ground).any(axis=1)]
    if not len(ground):
        return shapely.Polygon()
    middle = np.array([ground[len(ground) // 2, 0], 0.0])
    ground -= middle
    ground[:, 0] -= 360.0 * np.round(ground[:, 0] / 360.0)
    low, high = ground.min(axis=0), ground.max(axis=0)
    margin = (high - low) / 2
    low, high = np.maximum(low - margin, [-180, -90]), np.minimum(high + margin, [180, 90])
    near = [_move(area, np.array([turn, 0.0]) - middle) for turn in (-360.0, 0.0, 360.0)]
    visible = shapely.union_all(shapely.intersection(near, shapely.box(*low, *high)))
    return _move(shapely.make_valid(visible, method="structure", keep_collapsed=False), middle)


def _move(area: BaseGeometry, by: Points) -> BaseGeometry:
    return shapely.transform(area, lambda points: points + by)


def _degrees(corners: Points, model: SensorModel) -> float:
    """Return the least degrees of a pixel near the corners; infinite when all are off the image."""
    pixels = model.to_image(corners)
    start = model.to_world(pixels)[:, :2]
    right, below = (model.to_world(pixels + step)[:, :2] for step in ([1.0, 0.0], [0.0, 1.0]))
    spans = np.concatenate([right - start, below - start])
    spans[:, 0] -= 360.0 * np.round(spans[:, 0] / 360.0)
    lengths = np.hypot(spans[:, 0], spans[:, 1])
    return float(np.min(lengths[np.isfinite(lengths)], initial=np.inf))


def _project(part: BaseGeometry, model: SensorModel) -> BaseGeometry:
    """Return one polygon in pixels, without the vertices that the model cannot place."""
    rings = []
    for ring in shapely.get_rings(part):  # few: the outline and the holes of an area of interest
        pixels = model.to_image(shapely.get_coordinates(ring))
        pixels = pixels[~np.isnan(pixels).any(axis=1)]
        rings.append(pixels if len(pixels) >= _LEAST_RING else pixels[:0])
    if not rings or not len(rings[0]):
        return shapely.Polygon()
    outline = shapely.Polygon(rings[0], [hole for hole in rings[1:] if len(hole)])
    return shapely.make_valid(outline, method="structure", keep_collapsed=False)
