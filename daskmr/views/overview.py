"""A small picture of a large image, warped to the plane of a map."""

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskmr.core.grid import Window
from daskmr.geolocate.base import Points, SensorModel
from daskmr.image import Image

MOST_PX = 1536
"""Longest side of the picture."""
MOST_READ = 64 * 2**20
"""Most pixels that are read of an image without overviews; larger ones get no picture."""
EQUATOR_M = 6_378_137.0
"""Radius of the sphere of Web Mercator (EPSG:3857)."""
_MOST_LAT = 85.0511
_RGB = 3


@dataclass(frozen=True, slots=True)
class Overview:
    """A picture, and where it lies."""

    pixels: NDArray[np.uint8]
    """Shape (y, x, 4): red, green, blue, and 255 where the image is."""
    bounds: tuple[float, float, float, float]
    """x_min, y_min, x_max, y_max in the plane of the map."""

    @property
    def uri(self) -> str:
        """The picture as WebP in a data URI."""
        return data_uri(self.pixels)


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """A picture (y, x, 3 or 4) as WebP in a data URI."""
    from PIL import Image as Picture

    buffer = io.BytesIO()
    Picture.fromarray(np.ascontiguousarray(pixels)).save(buffer, "WEBP", quality=85)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def mercator(points: Points) -> Points:
    """x, y of Web Mercator in metres of lon, lat in degrees; shape (N, 2).

    x = R lon, y = R ln tan(pi/4 + lat/2), as EPSG:3857 has it.

    Examples
    --------
    >>> mercator(np.array([[180.0, 45.0]])).round(2).tolist()
    [[20037508.34, 5621521.49]]
    """
    lon, lat = points[:, 0], np.clip(points[:, 1], -_MOST_LAT, _MOST_LAT)
    north = np.log(np.tan(np.pi / 4 + np.radians(lat) / 2))
    return np.stack([EQUATOR_M * np.radians(lon), EQUATOR_M * north], axis=1)


def degrees(plane: Points) -> Points:
    """lon, lat in degrees of x, y of Web Mercator; the other way of `mercator`."""
    x, y = plane[:, 0] / EQUATOR_M, plane[:, 1] / EQUATOR_M
    return np.stack([np.degrees(x), np.degrees(2 * np.arctan(np.exp(y)) - np.pi / 2)], axis=1)


def overview(image: Image, sensor: SensorModel | None) -> Overview | None:
    """The picture of an image; None for one that is too large to be read for it.

    Parameters
    ----------
    image
        The image.
    sensor
        Places it on the map; without one the plane is that of its pixels, y upside down.
    """
    found = _small(image)
    if found is None:
        return None
    small, step = found
    colors = _stretched(small)
    if sensor is None:
        across, down = step[0] * colors.shape[1], step[1] * colors.shape[0]
        return Overview(_with_alpha(colors), (0.0, -down, across, 0.0))
    bounds = _extent(sensor, image.info.width, image.info.height)
    if bounds is None:
        return None
    return Overview(_warped(colors, sensor, bounds, step=step), bounds)


def read(image: Image, window: Window) -> NDArray[Any]:
    """Pixels of a window of any image, shape (band, y, x)."""
    if image.source is not None:
        return image.source.read(window)
    cut = image.data.isel(
        y=slice(window.row, window.row_stop), x=slice(window.col, window.col_stop)
    )
    return np.asarray(cut.values)


def shown(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels (band, y, x) of any type as red, green, blue of 8 bits, shape (y, x, 3)."""
    return _stretched(pixels)


def _small(image: Image) -> tuple[NDArray[Any], tuple[float, float]] | None:
    """The image with at most about `MOST_PX` columns and rows, and how many of it make one."""
    info = image.info
    factor = max(1.0, max(info.width, info.height) / MOST_PX)
    step = int(factor)
    found = getattr(image.source, "overview", lambda _: None)(factor)
    if found is not None:
        source, (width, height) = found
        pixels = source.read(Window(row=0, col=0, height=height, width=width))
        by = max(1, max(width, height) // MOST_PX)
        return _thinned(pixels, by), (by * info.width / width, by * info.height / height)
    if info.width * info.height > MOST_READ:
        return None
    whole = read(image, Window(row=0, col=0, height=info.height, width=info.width))
    return _thinned(whole, step), (float(step), float(step))


def _thinned(pixels: NDArray[Any], step: int) -> NDArray[Any]:
    """One pixel of each whole square of some, from its middle."""
    rows, cols = (max(1, n // step) * step for n in pixels.shape[1:])
    half = min(step // 2, rows - 1, cols - 1)
    return np.asarray(pixels[:, half:rows:step, half:cols:step])


def _stretched(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    values = np.abs(pixels) if np.iscomplexobj(pixels) else pixels
    bands = values[:_RGB] if len(values) >= _RGB else values[:1].repeat(_RGB, axis=0)
    layers = []
    for band in bands.astype(np.float32):
        known = band[np.isfinite(band)]
        low, high = np.percentile(known, (1, 99)) if known.size else (0.0, 1.0)
        if bands.dtype == np.uint8:
            low, high = min(low, 64.0), max(high, 192.0)  # leave ordinary pictures as they are
        scaled = np.nan_to_num((band - low) / max(high - low, 1e-9))
        layers.append((np.clip(scaled, 0, 1) * 255).astype(np.uint8))
    return np.stack(layers, axis=-1)


def _with_alpha(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([colors, np.full((*colors.shape[:2], 1), 255, np.uint8)], axis=-1)


def _extent(
    sensor: SensorModel, width: int, height: int
) -> tuple[float, float, float, float] | None:
    """Box of the image in the plane of the map, from its border."""
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


def _warped(
    colors: NDArray[np.uint8],
    sensor: SensorModel,
    bounds: tuple[float, float, float, float],
    *,
    step: tuple[float, float],
) -> NDArray[np.uint8]:
    """The picture as the map shows it, by its nearest pixels."""
    plane, shape = _lattice(bounds, max(colors.shape[:2]))
    there = colors.shape[1::-1]
    with np.errstate(invalid="ignore"):
        found = sensor.to_image(degrees(plane)) / step
        inside = (found >= 0).all(axis=1) & (found < there).all(axis=1)
    picture = np.zeros((len(plane), 4), np.uint8)
    at = found[inside].astype(np.int64)
    picture[inside, :3] = colors[at[:, 1], at[:, 0]]
    picture[inside, 3] = 255
    return picture.reshape(*shape, 4)


def _lattice(
    bounds: tuple[float, float, float, float], most: int
) -> tuple[Points, tuple[int, int]]:
    """Centres of the pixels of a picture of some bounds, row by row, and its rows and columns."""
    left, bottom, right, top = bounds
    span = max(right - left, top - bottom)
    n_x, n_y = (max(1, round(most * side / span)) for side in (right - left, top - bottom))
    x = left + (np.arange(n_x) + 0.5) * (right - left) / n_x
    y = top - (np.arange(n_y) + 0.5) * (top - bottom) / n_y
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2), (n_y, n_x)
