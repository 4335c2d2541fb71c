"""Images whose pixels are prepared as they are read."""

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
    stretched,
)
from daskmr.core.resampling import Axis, resampled, summed
from daskmr.errors import ImageReadError, RequestError
from daskmr.image._lazy import by_windows
from daskmr.image.base import Source

if TYPE_CHECKING:
    from daskmr.image import Image

_SAMPLES = 8
"""Windows of the sample along each axis, at most."""
_SAMPLE_PX = 256
_STEP_PX = 2**24
"""Pixels of the source that are resampled at once, about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSource:
    """A source whose windows are those of the prepared image."""

    source: Source
    """The image as it is, or an overview of it."""
    recipe: Recipe
    """What is done to it."""
    info: ImageInfo = field(hash=False)
    """Header of the prepared image."""
    original: ImageInfo = field(hash=False)
    """Header of the image as it is."""
    size: tuple[int, int]
    """Columns and rows of `source`."""
    scale: tuple[float, float] = (1.0, 1.0)
    """Columns and rows of `source` that make one of the prepared image."""
    ranges: Ranges | None = None
    """Of the stretch, once it was measured."""

    def header(self) -> ImageInfo:
        """The prepared image's header."""
        return self.info

    def check(self) -> None:
        """As the image's own source."""
        self.source.check()

    def read(self, window: Window) -> Pixels:
        """Prepared pixels of a window, shape (band, y, x)."""
        return np.concatenate([self._prepared(step) for step in self._steps(window)], axis=1)

    def read_valid(self, window: Window) -> NDArray[np.bool_] | None:
        """Which pixels of a window hold data; None when all do."""
        found = [self._held(step) for step in self._steps(window)]
        held = [each for each in found if each is not None]
        return np.concatenate(held) if held else None

    def _prepared(self, window: Window) -> Pixels:
        raw = self._picked(self.source.read(self._part(window)))
        valid = self._valid(raw)
        pixels = real(raw, self.recipe.complex_as)
        if self.is_resampled:
            pixels, valid = resampled(pixels, valid, **self._weights(window))
        return self._finished(pixels, valid)

    def _held(self, window: Window) -> NDArray[np.bool_] | None:
        part = self._part(window)
        valid = self.source.read_valid(part)
        if self.original.nodata is not None:
            seen = self._valid(self._picked(self.source.read(part)))
            held = np.zeros((part.height, part.width), np.bool_)
            for band in seen if seen is not None else ~held[None]:
                held |= band
            valid = held if valid is None else np.logical_and(valid, held)
        if valid is None or not self.is_resampled:
            return valid
        found: NDArray[np.bool_] = summed(valid[None], **self._weights(window))[0] > 0.0
        return found

    @property
    def is_resampled(self) -> bool:
        """Whether pixels are made of others."""
        return self.scale != (1.0, 1.0)

    def _steps(self, window: Window) -> list[Window]:
        """A window in parts that need few pixels of the source at once."""
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
        """As the image's own source; None for one whose pixels have another size."""
        find = getattr(self.source, "empty_blocks", None)
        if find is None or self.is_resampled:
            return None
        found: NDArray[np.bool_] | None = find()
        return found

    def lazy(self, chunks: Mapping[str, Any]) -> Any:
        """The prepared image as a lazy xarray.DataArray (band, y, x), without coordinates."""
        return by_windows(self.measured().read, self.info, chunks)

    def measured(self) -> "PreparedSource":
        """The same source with the range of its stretch, which a sample of the image tells.

        Raises
        ------
        ImageReadError
            When the sample cannot be read.
        """
        if self.recipe.stretch == "none" or self.ranges is not None:
            return self
        samples: list[list[NDArray[Any]]] = [[] for _ in range(self.info.bands)]
        for window in self._sample():
            raw = self._picked(self.source.read(window))
            valid, pixels = self._valid(raw), real(raw, self.recipe.complex_as)
            for band, sample in enumerate(samples):
                is_seen = np.isfinite(pixels[band])
                sample.append(pixels[band][is_seen if valid is None else is_seen & valid[band]])
        found = ranges(self.recipe, [np.concatenate(sample) for sample in samples])
        return replace(self, ranges=found)

    def _sample(self) -> Iterator[Window]:
        """Windows from all over the image, all of a small one."""
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
        """What is read of the source for a window."""
        if not self.is_resampled:
            return window
        x, y = self._axes()
        left, right = x.span(window.col, window.col_stop)
        top, bottom = y.span(window.row, window.row_stop)
        return Window(row=top, col=left, height=bottom - top, width=right - left)

    def _picked(self, pixels: Pixels) -> Pixels:
        bands = self.recipe.bands
        return pixels[[band - 1 for band in bands]] if bands else pixels

    def _valid(self, pixels: Pixels) -> NDArray[np.bool_] | None:
        """Which pixels are not nodata; None when the image has no such value."""
        nodata = self.original.nodata
        if nodata is None:
            return None
        found: NDArray[np.bool_] = ~np.isnan(pixels) if np.isnan(nodata) else pixels != nodata
        return found

    def _finished(self, pixels: Pixels, valid: NDArray[np.bool_] | None) -> Pixels:
        """Stretched, filled, and of their type."""
        dtype = self.info.dtype
        if self.recipe.stretch != "none":
            if self.ranges is None:
                msg = f"{self.info.url}: the range of the stretch was not measured"
                raise ImageReadError(msg)
            pixels = stretched(pixels, self.ranges, dtype)
        if valid is None:
            return cast(pixels, dtype)
        nothing = self.recipe.fill or 0.0 if self.info.nodata is None else self.info.nodata
        found = cast(pixels, dtype)
        found = found.copy() if found.base is not None or found is pixels else found
        found[~valid] = cast(np.array(nothing), dtype)
        return found


def prepare(image: "Image", made: Recipe, scale: tuple[float, float]) -> "Image":
    """An image whose pixels are prepared as they are read; the same one when nothing is to be done.

    Parameters
    ----------
    image
        An open image.
    made
        What is done.
    scale
        Columns and rows of the image that make one of the prepared one.

    Raises
    ------
    RequestError
        When it does not fit the image.
    """
    if made.is_empty and scale == (1.0, 1.0):
        return image
    if image.source is None:
        msg = "prepare: a DataArray is prepared with xarray, before it is run"
        raise RequestError(msg)
    check(made, image.info)
    info = prepared_info(made, image.info, scale)
    source, size = _overview(image, scale)
    return replace(
        image,
        info=info,
        source=PreparedSource(
            source=source,
            recipe=made,
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
    """The smallest picture of an image that has enough pixels, and its columns and rows."""
    find = getattr(image.source, "overview", None)
    found = find(min(scale)) if find is not None else None
    if found is None:
        assert image.source is not None  # noqa: S101 - `prepare` has looked
        return image.source, (image.info.width, image.info.height)
    source, size = found
    return source, size


def _starts(size: int) -> list[int]:
    n = -(-size // _SAMPLE_PX)
    if n <= _SAMPLES:
        return [_SAMPLE_PX * i for i in range(n)]
    return [(size - _SAMPLE_PX) * i // (_SAMPLES - 1) for i in range(_SAMPLES)]
