"""Open images lazily: a path, a URL, a Zarr store, an array or a STAC Item.

`open_image` calls `_stac`, `array`, `zarr` or `raster`; `raster` opens files through `opener`, and
`prepared` wraps a source whose pixels are changed as they are read.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag

import numpy as np
from numpy.typing import NDArray

from daskmr.arns import s3_url
from daskmr.core.grid import Window
from daskmr.core.imagery import ImageInfo
from daskmr.errors import ImageError
from daskmr.image._refusal import refusal
from daskmr.image._stac import href_of, is_item, with_item
from daskmr.image.array import CHUNK, header, normalise
from daskmr.image.base import ArraySource, LazySource, MeasuredSource, Source, SparseSource
from daskmr.image.opener import Door, Trust, local_path

_IMAGE = re.compile(r"(.+)#image=(\d{1,4})", re.DOTALL)

__all__ = ["Door", "Image", "Source", "Trust", "open_image"]


@dataclass(frozen=True, kw_only=True)
class Image:
    """An open image: its header, and its lazy pixels."""

    info: ImageInfo
    """Header."""
    source: Source | None = None
    """Source that workers read windows from; None for an array, which they cannot open again."""
    array: Any = field(default=None, repr=False)
    """The xarray.DataArray (band, y, x) behind an image without a source."""

    @property
    def data(self) -> Any:
        """Lazy xarray.DataArray (band, y, x), chunked in whole blocks, all bands in one chunk."""
        if self.array is not None:
            return self.array
        rows, cols = (
            max(1, CHUNK // block) * block
            for block in (self.info.block_height, self.info.block_width)
        )
        return self._lazy(
            {"band": -1, "y": min(rows, self.info.height), "x": min(cols, self.info.width)}
        )

    def chunked(self, rows: Sequence[int], cols: Sequence[int], *, window: Window) -> Any:
        """Return a window as a lazy xarray.DataArray (band, y, x).

        Parameters
        ----------
        rows, cols
            Sizes of the chunks along y and x; each sums to the window's extent.
        window
            Window of the image.
        """
        if self.array is not None:
            cut = self.array.isel(
                y=slice(window.row, window.row_stop), x=slice(window.col, window.col_stop)
            )
            return cut.chunk({"band": -1, "y": tuple(rows), "x": tuple(cols)})
        padded = {
            "y": _pad_chunks(rows, window.row, self.info.height),
            "x": _pad_chunks(cols, window.col, self.info.width),
        }
        whole = self._lazy({"band": -1, **padded})
        return whole.isel(
            y=slice(window.row, window.row_stop), x=slice(window.col, window.col_stop)
        )

    def empty_blocks(self) -> NDArray[np.bool_] | None:
        """Return the storage blocks without data, from the file's index; reads no pixel.

        Returns
        -------
        Mask of shape (block rows, block columns); None when the format has no such index.
        """
        source: object = self.source
        return source.empty_blocks() if isinstance(source, SparseSource) else None

    def measured(self) -> "Image":
        """Return the same image with the properties that are measured on its pixels."""
        source: object = self.source
        return (
            replace(self, source=source.measured()) if isinstance(source, MeasuredSource) else self
        )

    def _lazy(self, chunks: dict[str, Any]) -> Any:
        source: object = self.source
        if isinstance(source, LazySource):
            return source.lazy(chunks)
        if isinstance(source, ArraySource):
            return source.data().chunk(chunks)
        msg = f"{self.info.url}: its source has neither lazy() nor data()"
        raise ImageError(msg)


def open_image(image: Any, *, asset: str | None = None, door: Door | None = None) -> Image:
    """Open an image; no pixel is read.

    Parameters
    ----------
    image
        Local path, ``file://``, ``s3://`` or ``https://`` URL, or ARN of S3, of a file that GDAL
        reads or of a Zarr store (``#name`` selects a variable, ``#image=N`` an image of a file with
        several, counted from 0); or an xarray.DataArray, a pystac.Item, or an open `Image`.
    asset
        Key of a STAC asset; None for the one with the pixels.
    door
        Access policy for URLs; None for trusted ones. Zarr stores are opened for trusted URLs only.

    Raises
    ------
    ImageError
        When the image cannot be opened or processed; names the URL and the reason.
    """
    if isinstance(image, Image):
        return image
    if is_item(image):
        opened = open_image(href_of(image, asset), door=door)
        return replace(opened, info=with_item(opened.info, image))
    if not isinstance(image, str | os.PathLike):
        if not hasattr(image, "dims"):
            kind = type(image).__name__
            msg = f"image: {kind} is neither a path, a URL, a DataArray nor a STAC item"
            raise ImageError(msg)
        array = normalise(image)
        return Image(info=header(array), array=array)
    try:
        url = s3_url(os.fspath(image))
    except ValueError as error:
        msg = f"image: {error}"
        raise ImageError(msg) from None
    return _open_url(url, door or Door())


def _open_url(url: str, door: Door) -> Image:
    """Return the image of a path or URL."""
    from daskmr.image.raster import RasterSource
    from daskmr.image.zarr import ZarrSource, is_zarr

    absolute = _absolute_url(url)
    if is_zarr(absolute):
        if door.trust is Trust.UNTRUSTED:  # the files and chunk sizes of a store are not limited
            raise refusal(url, "a Zarr store is opened for trusted URLs only")
        info = ZarrSource(url=absolute).header()
        zarr = ZarrSource(url=absolute, etag=info.etag)
        return Image(info=replace(info, url=url), source=zarr)
    match = _IMAGE.fullmatch(absolute)
    file, number = (match[1], int(match[2])) if match else (absolute, None)
    source = RasterSource(url=file, door=door, image=number)
    info = source.header()
    return Image(info=replace(info, url=url), source=replace(source, etag=info.etag))


def _absolute_url(url: str) -> str:
    """Return a URL that is valid on every worker: local paths become absolute."""
    if not url.startswith("file://"):
        return url if "://" in url else str(Path(url).absolute())
    fragment = urldefrag(url).fragment
    return local_path(url) + (f"#{fragment}" if fragment else "")


def _pad_chunks(sizes: Sequence[int], start: int, extent: int) -> tuple[int, ...]:
    """Return the chunk sizes of a window, with one chunk before and one after it."""
    after = extent - start - sum(sizes)
    return tuple(size for size in (start, *sizes, after) if size)
