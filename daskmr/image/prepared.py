"""Prepare the pixels of an image as they are read: bands, resampling, stretch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from daskmr.core.grid import Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.core.preparation import (
    Ranges,
    Recipe,
    cast,
    check,
    prepared_info,
    ranges,
    real,
    stretch,
)
from daskmr.core.resampling import Axis, resample, weighted_sum
from daskmr.errors import ImageReadError, RequestError
from daskmr.image._lazy import by_windows
from daskmr.image.base import PyramidSource, Source, SparseSource

if TYPE_CHECKING:
    from daskmr.image import Image

_SAMPLES = 8
"""Largest number of windows of the sample along each axis."""
_SAMPLE_PX = 256
_STEP_PX = 2**24
"""Approximate number of pixels of the source that are resampled at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSource:
    """A source whose windows are those of the prepared image."""

    source: Source
    """Source of the original image, or of one of its overviews."""
    recipe: Recipe
    """Steps of the preparation."""
    info: ImageInfo = field(hash=False)
    """Header of the prepared image."""
    original: ImageInfo = field(hash=False)
    """Header of the original image."""
    size: tuple[int, int]
    """Columns and rows of `source`."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Columns and rows of `source` for one of the prepared image."""
    ranges: Ranges | None = None
    """Ranges of the stretch; None before they are measured."""

    def header(self) -> ImageInfo:
        """Return the prepared image's header."""
        return self.info

    def check(self) -> None:
        """Raise when the original image has changed since it was planned."""
        self.source.check()

    def read(self, window: Window) -> Pixels:
        """Return prepared pixels of a window, shape (band, y, x)."""
        return np.concatenate([self._read_prepared(step) for step in self._steps(window)], axis=1)

    def read_valid(self, window: Window) -> NDArray[np.bool_] | None:
        """Return a mask of the pixels with data, shape (y, x); None when all pixels have data."""
        steps = [self._read_valid(step) for step in self._steps(window)]
        masks = [mask for mask in steps if mask is not None]
        return np.concatenate(masks) if masks else None

    def _read_prepared(self, window: Window) -> Pixels:
        raw = self._select_bands(self.source.read(self._part(window)))
        valid = self._valid(raw)
        pixels = real(raw, self.recipe.complex_as)
        if self.is_resampled:
            pixels, valid = resample(pixels, valid, **self._weights(window))
        return self._finish(pixels, valid)

    def _read_valid(self, window: Window) -> NDArray[np.bool_] | None:
        part = self._part(window)
        valid = self.source.read_valid(part)
        if self.original.nodata is not None:
            is_data = self._valid(self._select_bands(self.source.read(part)))
            any_band = np.zeros((part.height, part.width), np.bool_)
            for band in is_data if is_data is not None else ~any_band[None]:
                any_band |= band
            valid = any_band if valid is None else np.logical_and(valid, any_band)
        if valid is None or not self.is_resampled:
            return valid
        resampled: NDArray[np.bool_] = weighted_sum(valid[None], **self._weights(window))[0] > 0.0
        return resampled

    @property
    def is_resampled(self) -> bool:
        """True if the prepared pixels are resampled."""
        return self.scale != (1.0, 1.0)

    def _steps(self, window: Window) -> list[Window]:
        """Return parts of a window, each needing about `_STEP_PX` pixels of the source."""
        if window.row_stop > self.info.height or window.col_stop > self.info.width:
            size = f"{self.info.width} x {self.info.height}"
            msg = f"{self.info.url}: cannot read {window}: the prepared image is {size} only"
            raise ImageReadError(msg)
        if not self.is_resampled:
            return [window]
        x, y = self.scale
        row_px = max(1.0, window.width * x * y * self.original.bands)
        n_rows = max(1, int(_STEP_PX / row_px))
        return [
            replace(window, row=row, height=min(n_rows, window.row_stop - row))
            for row in range(window.row, window.row_stop, n_rows)
        ]

    def _weights(self, window: Window) -> dict[str, Any]:
        x, y = self._axes()
        return {
            "rows": y.weights(window.row, window.row_stop),
            "cols": x.weights(window.col, window.col_stop),
        }

    def empty_blocks(self) -> NDArray[np.bool_] | None:
        """Return the empty blocks of the original image; None when pixels are resampled."""
        if self.is_resampled or not isinstance(self.source, SparseSource):
            return None
        return self.source.empty_blocks()

    def lazy(self, chunks: Mapping[str, Any]) -> Any:
        """Return the prepared image as a lazy xarray.DataArray (band, y, x) without coordinates."""
        return by_windows(self.measured().read, self.info, chunks)

    def measured(self) -> "PreparedSource":
        """Return the same source with the ranges of its stretch, measured on a sample of the image.

        Raises
        ------
        ImageReadError
            When the sample cannot be read.
        """
        if self.recipe.stretch == "none" or self.ranges is not None:
            return self
        samples: list[list[NDArray[Any]]] = [[] for _ in range(self.info.bands)]
        for window in self._sample():
            raw = self._select_bands(self.source.read(window))
            valid, pixels = self._valid(raw), real(raw, self.recipe.complex_as)
            for band, sample in enumerate(samples):
                is_finite = np.isfinite(pixels[band])
                sample.append(pixels[band][is_finite if valid is None else is_finite & valid[band]])
        return replace(
            self, ranges=ranges(self.recipe, [np.concatenate(sample) for sample in samples])
        )

    def _sample(self) -> Iterator[Window]:
        """Yield windows spread evenly over the image; they cover a small image completely."""
        cols, rows = (_starts(size) for size in self.size)
        width, height = (min(size, _SAMPLE_PX) for size in self.size)
        for row in rows:
            for col in cols:
                yield Window(
                    row=row,
                    col=col,
                    height=min(height, self.size[1] - row),
                    width=min(width, self.size[0] - col),
                )

    def _axes(self) -> tuple[Axis, Axis]:
        x, y = (Axis(size, scale) for size, scale in zip(self.size, self.scale, strict=True))
        return x, y

    def _part(self, window: Window) -> Window:
        """Return the window of the source that a window of the prepared image is made from."""
        if not self.is_resampled:
            return window
        x, y = self._axes()
        left, right = x.span(window.col, window.col_stop)
        top, bottom = y.span(window.row, window.row_stop)
        return Window(row=top, col=left, height=bottom - top, width=right - left)

    def _select_bands(self, pixels: Pixels) -> Pixels:
        bands = self.recipe.bands
        return pixels[[band - 1 for band in bands]] if bands else pixels

    def _valid(self, pixels: Pixels) -> NDArray[np.bool_] | None:
        """Return a mask of the pixels that are not nodata; None when the image has no nodata."""
        nodata = self.original.nodata
        if nodata is None:
            return None
        is_data: NDArray[np.bool_] = ~np.isnan(pixels) if np.isnan(nodata) else pixels != nodata
        return is_data

    def _finish(self, pixels: Pixels, valid: NDArray[np.bool_] | None) -> Pixels:
        """Return the pixels stretched, cast to the prepared type, and filled where not valid."""
        dtype = self.info.dtype
        if self.recipe.stretch != "none":
            if self.ranges is None:
                msg = f"{self.info.url}: the range of the stretch was not measured"
                raise ImageReadError(msg)
            pixels = stretch(pixels, self.ranges, dtype)
        if valid is None:
            return cast(pixels, dtype)
        fill_value = self.recipe.fill or 0.0 if self.info.nodata is None else self.info.nodata
        filled = cast(pixels, dtype)
        filled = filled.copy() if filled.base is not None or filled is pixels else filled
        filled[~valid] = cast(np.array(fill_value), dtype)
        return filled


def prepare(image: "Image", recipe: Recipe, scale: tuple[float, float]) -> "Image":
    """Return an image whose pixels are prepared as they are read; the same when nothing is to do.

    Parameters
    ----------
    image
        An open image.
    recipe
        Steps of the preparation.
    scale
        Columns and rows of the image for one of the prepared image.

    Raises
    ------
    RequestError
        When the recipe does not fit the image, or the image is a DataArray.
    """
    if recipe.is_empty and scale == (1.0, 1.0):
        return image
    if image.source is None:
        msg = (
            "prepare: an xarray.DataArray cannot be prepared; prepare it with xarray before the run"
        )
        raise RequestError(msg)
    check(recipe, image.info)
    info = prepared_info(recipe, image.info, scale)
    source, size = _overview(image, scale)
    return replace(
        image,
        info=info,
        source=PreparedSource(
            source=source,
            recipe=recipe,
            info=info,
            original=image.info,
            size=size,
            scale=(
                scale[0] * size[0] / image.info.width,
                scale[1] * size[1] / image.info.height,
            ),
        ),
    )


def _overview(image: "Image", scale: tuple[float, float]) -> tuple[Source, tuple[int, int]]:
    """Return the source of the smallest sufficient overview, and its columns and rows."""
    assert image.source is not None  # noqa: S101 - checked by `prepare`
    whole = image.source, (image.info.width, image.info.height)
    if not isinstance(image.source, PyramidSource):
        return whole
    return image.source.overview(min(scale)) or whole


def _starts(size: int) -> list[int]:
    n = -(-size // _SAMPLE_PX)
    if n <= _SAMPLES:
        return [_SAMPLE_PX * i for i in range(n)]
    return [(size - _SAMPLE_PX) * i // (_SAMPLES - 1) for i in range(_SAMPLES)]
