"""A small picture of a large image, warped to Web Mercator."""

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskmr.core.grid import Window
from daskmr.geolocate.base import Points, SensorModel
from daskmr.image import Image
from daskmr.image.base import PyramidSource

MAX_PX = 1536
"""Longest side of the picture in pixels."""
MAX_READ_PX = 64 * 2**20
"""Maximal pixels that are read of an image without overviews; larger ones get no picture."""
EQUATOR_M = 6_378_137.0
"""Radius of the sphere of Web Mercator (EPSG:3857)."""
_MAX_LAT = 85.0511
_RGB = 3


@dataclass(frozen=True, slots=True)
class Overview:
    """A picture and its bounds."""

    pixels: NDArray[np.uint8]
    """Shape (y, x, 4): red, green, blue, and 255 where the image is."""
    bounds: tuple[float, float, float, float]
    """x_min, y_min, x_max, y_max in Web Mercator metres; in pixels with y negated if unplaced."""

    @property
    def uri(self) -> str:
        """Data URI of the picture as WebP."""
        return data_uri(self.pixels)


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """Return a picture, shape (y, x, 3 or 4), as a data URI of WebP."""
    from PIL import Image as Picture

    buffer = io.BytesIO()
    Picture.fromarray(np.ascontiguousarray(pixels)).save(buffer, "WEBP", quality=85)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def mercator(points: Points) -> Points:
    """Return Web Mercator x, y in metres of lon, lat in degrees; shape (N, 2).

    x = R lon, y = R ln tan(pi/4 + lat/2), as defined by EPSG:3857.

    Examples
    --------
    >>> mercator(np.array([[180.0, 45.0]])).round(2).tolist()
    [[20037508.34, 5621521.49]]
    """
    lon, lat = points[:, 0], np.clip(points[:, 1], -_MAX_LAT, _MAX_LAT)
    north = np.log(np.tan(np.pi / 4 + np.radians(lat) / 2))
    return np.stack([EQUATOR_M * np.radians(lon), EQUATOR_M * north], axis=1)


def degrees(plane: Points) -> Points:
    """Return lon, lat in degrees of Web Mercator x, y in metres; the inverse of `mercator`."""
    x, y = plane[:, 0] / EQUATOR_M, plane[:, 1] / EQUATOR_M
    return np.stack([np.degrees(x), np.degrees(2 * np.arctan(np.exp(y)) - np.pi / 2)], axis=1)


def overview(image: Image, sensor: SensorModel | None) -> Overview | None:
    """Return the picture of an image; None if it is too large to be read or cannot be placed.

    Parameters
    ----------
    image
        The image.
    sensor
        Geolocates the picture; None leaves it in pixels, with y negated.
    """
    reduced = _read_reduced(image)
    if reduced is None:
        return None
    pixels, step = reduced
    colors = to_rgb(pixels)
    if sensor is None:
        width, height = step[0] * colors.shape[1], step[1] * colors.shape[0]
        return Overview(_with_alpha(colors), (0.0, -height, width, 0.0))
    bounds = _extent(sensor, image.info.width, image.info.height)
    if bounds is None:
        return None
    return Overview(_warp(colors, sensor, bounds, step=step), bounds)


def read_window(image: Image, window: Window) -> NDArray[Any]:
    """Return the pixels of a window of any image, shape (band, y, x)."""
    if image.source is not None:
        return image.source.read(window)
    crop = image.data.isel(
        y=slice(window.row, window.row_stop), x=slice(window.col, window.col_stop)
    )
    return np.asarray(crop.values)


def _read_reduced(image: Image) -> tuple[NDArray[Any], tuple[float, float]] | None:
    """Return the image at about `MAX_PX` pixels a side, and its pixels per reduced pixel (x, y)."""
    info = image.info
    factor = max(1.0, max(info.width, info.height) / MAX_PX)
    step = int(factor)
    original: object = image.source
    level = original.overview(factor) if isinstance(original, PyramidSource) else None
    if level is not None:
        source, (width, height) = level
        pixels = source.read(Window(row=0, col=0, height=height, width=width))
        by = max(1, max(width, height) // MAX_PX)
        return _decimate(pixels, by), (by * info.width / width, by * info.height / height)
    if info.width * info.height > MAX_READ_PX:
        return None
    whole = read_window(image, Window(row=0, col=0, height=info.height, width=info.width))
    return _decimate(whole, step), (float(step), float(step))


def _decimate(pixels: NDArray[Any], step: int) -> NDArray[Any]:
    """Return the central pixel of each complete square of *step* pixels a side."""
    rows, cols = (max(1, n // step) * step for n in pixels.shape[1:])
    half = min(step // 2, rows - 1, cols - 1)
    return np.asarray(pixels[:, half:rows:step, half:cols:step])


def to_rgb(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return pixels (band, y, x) of any type as RGB of 8 bits, shape (y, x, 3).

    Each band is stretched from its 1st to its 99th percentile.
    """
    values = np.abs(pixels) if np.iscomplexobj(pixels) else pixels
    bands = values[:_RGB] if len(values) >= _RGB else values[:1].repeat(_RGB, axis=0)
    layers = []
    for band in bands.astype(np.float32):
        finite = band[np.isfinite(band)]
        low, high = np.percentile(finite, (1, 99)) if finite.size else (0.0, 1.0)
        if bands.dtype == np.uint8:
            low, high = (
                min(low, 64.0),
                max(high, 192.0),
            )  # keep pictures with usual contrast unchanged
        scaled = np.nan_to_num((band - low) / max(high - low, 1e-9))
        layers.append((np.clip(scaled, 0, 1) * 255).astype(np.uint8))
    return np.stack(layers, axis=-1)


def _with_alpha(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([colors, np.full((*colors.shape[:2], 1), 255, np.uint8)], axis=-1)


def _extent(
    sensor: SensorModel, width: int, height: int
) -> tuple[float, float, float, float] | None:
    """Return the bounds of the image in Web Mercator, from its border; None if unplaced."""
    t = np.linspace(0, 1, 33)
    edges = [(t, 0 * t), (t, 0 * t + 1), (0 * t, t), (0 * t + 1, t)]
    border = np.concatenate([np.stack(edge, axis=1) for edge in edges]) * [width, height]
    ground = sensor.to_world(border)[:, :2]
    ground = ground[np.isfinite(ground).all(axis=1)]
    if not len(ground):
        return None
    plane = mercator(ground)
    (left, bottom), (right, top) = plane.min(axis=0), plane.max(axis=0)
    return float(left), float(bottom), float(right), float(top)


def _warp(
    colors: NDArray[np.uint8],
    sensor: SensorModel,
    bounds: tuple[float, float, float, float],
    *,
    step: tuple[float, float],
) -> NDArray[np.uint8]:
    """Return the picture warped to Web Mercator, by nearest neighbour, with alpha."""
    plane, shape = _pixel_centres(bounds, max(colors.shape[:2]))
    size = colors.shape[1::-1]
    with np.errstate(invalid="ignore"):
        points = sensor.to_image(degrees(plane)) / step
        inside = (points >= 0).all(axis=1) & (points < size).all(axis=1)
    picture = np.zeros((len(plane), 4), np.uint8)
    pixels = points[inside].astype(np.int64)
    picture[inside, :3] = colors[pixels[:, 1], pixels[:, 0]]
    picture[inside, 3] = 255
    return picture.reshape(*shape, 4)


def _pixel_centres(
    bounds: tuple[float, float, float, float], max_px: int
) -> tuple[Points, tuple[int, int]]:
    """Return the pixel centres of a picture with these bounds, row by row, and its shape (y, x)."""
    left, bottom, right, top = bounds
    span = max(right - left, top - bottom)
    n_x, n_y = (max(1, round(max_px * side / span)) for side in (right - left, top - bottom))
    x = left + (np.arange(n_x) + 0.5) * (right - left) / n_x
    y = top - (np.arange(n_y) + 0.5) * (top - bottom) / n_y
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2), (n_y, n_x)
