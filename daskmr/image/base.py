"""Protocols of image sources: the windows that workers read, and what a source may add to that."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from daskmr.core.grid import Window
from daskmr.core.imagery import ImageInfo, Pixels


class Source(Protocol):
    """A source of pixels that a worker reads window by window.

    Frozen and picklable; opens its file on the worker, on first use, one handle for each thread.
    """

    def read(self, window: Window) -> Pixels:
        """Return pixels of a window, shape (band, window.height, window.width).

        Raises
        ------
        ImageReadError
            When the file is missing, truncated or corrupt; names the image and the window.
        SourceChangedError
            When the image has changed since it was planned.
        """

    def read_valid(self, window: Window) -> NDArray[np.bool_] | None:
        """Return a mask of the pixels with data, shape (height, width), from the image's mask band.

        None when the image has no mask band; its nodata value is not used.

        Raises
        ------
        ImageReadError
            When the file is missing, truncated or corrupt; names the image and the window.
        """

    def check(self) -> None:
        """Raise when the image is known to have changed since it was planned.

        Raises
        ------
        SourceChangedError
            When the image has changed.
        """

    def header(self) -> ImageInfo:
        """Return the image's header; reads no pixel.

        Raises
        ------
        ImageError
            When the image cannot be opened, or is refused.
        """


@runtime_checkable
class LazySource(Protocol):
    """A source with a lazy array of its own."""

    def lazy(self, chunks: Mapping[str, Any]) -> Any:
        """Return the image as a lazy xarray.DataArray (band, y, x) with these chunks."""


@runtime_checkable
class ArraySource(Protocol):
    """A source that is an array already."""

    def data(self) -> Any:
        """Return the image as a lazy xarray.DataArray (band, y, x) with chunks of its own."""


@runtime_checkable
class SparseSource(Protocol):
    """A source whose file has an index of its storage blocks."""

    def empty_blocks(self) -> NDArray[np.bool_] | None:
        """Return the storage blocks without data, shape (block rows, block columns).

        None when this file has no such index. Reads no pixel.
        """


@runtime_checkable
class MeasuredSource(Protocol):
    """A source with properties that are measured on a sample of its pixels, once for a job."""

    def measured(self) -> Source:
        """Return the same source with them.

        Raises
        ------
        ImageReadError
            When the sample cannot be read.
        """


@runtime_checkable
class PyramidSource(Protocol):
    """A source with reduced copies of its image."""

    def overview(self, factor: float) -> tuple[Source, tuple[int, int]] | None:
        """Return the smallest overview that is reduced by at most a factor; None without any.

        Parameters
        ----------
        factor
            Largest size of a pixel of the overview, in pixels of the image.

        Returns
        -------
        The overview, and its columns and rows.
        """
