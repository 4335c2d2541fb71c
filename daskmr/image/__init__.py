"""Images: a path, a URL, a Zarr store or an array, opened lazily."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag

import numpy as np
from numpy.typing import NDArray

from daskmr.core.grid import Window
from daskmr.core.imagery import ImageInfo
from daskmr.errors import ImageError
from daskmr.image._stac import href_of, is_item, told
from daskmr.image.array import CHUNK, header, normalised
from daskmr.image.base import Source
from daskmr.image.door import Door, Trust, local_path, refused

_IMAGE = re.compile(r"(.+)#image=(\d{1,4})", re.DOTALL)

__all__ = ["Door", "Image", "Source", "Trust", "open_image"]


@dataclass(frozen=True, kw_only=True)
class Image:
    """An open image: its header, and its pixels, which are read when they are computed."""

    info: ImageInfo
    """Header."""
    source: Source | None = None
    """Where workers read windows from; None for an array that they cannot open again."""
    array: Any = field(default=None, repr=False)
    """The xarray.DataArray (band, y, x) behind an image without a source."""

    @property
    def data(self) -> Any:
        """Lazy xarray.DataArray (band, y, x): whole blocks, all bands in one chunk."""
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
        """Lazy xarray.DataArray (band, y, x) of a window.

        Parameters
        ----------
        rows, cols
            Sizes of the chunks along y and x; each sums to the window's extent.
        window
            Which part of the image.
        """
        if self.array is not None:
            cut = self.array.isel(
                y=slice(window.row, window.row_stop), x=slice(window.col, window.col_stop)
            )
            return cut.chunk({"band": -1, "y": tuple(rows), "x": tuple(cols)})
        padded = {
            "y": _padded(rows, window.row, self.info.height),
            "x": _padded(cols, window.col, self.info.width),
        }
        whole = self._lazy({"band": -1, **padded})
        return whole.isel(
            y=slice(window.row, window.row_stop), x=slice(window.col, window.col_stop)
        )

    def empty_blocks(self) -> NDArray[np.bool_] | None:
        """Which storage blocks hold nothing, by the file's own index; reads no pixel.

        Returns
        -------
        Shape (block rows, block columns); None when the format has no such index.
        """
        find = getattr(self.source, "empty_blocks", None)
        found: NDArray[np.bool_] | None = find() if find is not None else None
        return found

    def measured(self) -> "Image":
        """The same image, with what is known only once some of its pixels are read."""
        measure = getattr(self.source, "measured", None)
        return self if measure is None else replace(self, source=measure())

    def _lazy(self, chunks: dict[str, Any]) -> Any:
        lazy = getattr(self.source, "lazy", None)
        if lazy is not None:
            return lazy(chunks)
        return self.source.data().chunk(chunks)  # type: ignore[union-attr]


def open_image(image: Any, *, asset: str | None = None, door: Door | None = None) -> Image:
    """Open an image; no pixel is read.

    Parameters
    ----------
    image
        Local path, ``file://``, ``s3://`` or ``https://`` URL of a file that GDAL reads or of a
        Zarr store (``#name`` picks a variable, ``#image=N`` an image of a file that holds several,
        counted from 0); or an xarray.DataArray, a pystac.Item, or an open `Image`.
    asset
        Key of an item's asset; None for the one that holds its data.
    door
        How far a URL is trusted; fully when None. No Zarr store is opened for one that is not.

    Raises
    ------
    ImageError
        When it cannot be opened, or is none that can be run; names the URL and the reason.
    """
    if isinstance(image, Image):
        return image
    if is_item(image):
        found = open_image(href_of(image, asset), door=door)
        return replace(found, info=told(found.info, image))
    if not isinstance(image, str | os.PathLike):
        if not hasattr(image, "dims"):
            kind = type(image).__name__
            msg = f"image: {kind} is neither a path, a URL, a DataArray nor a STAC item"
            raise ImageError(msg)
        array = normalised(image)
        return Image(info=header(array), array=array)
    return _opened(os.fspath(image), door or Door())


def _opened(url: str, door: Door) -> Image:
    """The image behind a path or URL."""
    from daskmr.image.raster import RasterSource
    from daskmr.image.zarr import ZarrSource, is_zarr

    reached = _reached(url)
    if is_zarr(reached):
        if door.trust is Trust.UNTRUSTED:  # nothing limits what a store names, or its chunks
            raise refused(url, "a Zarr store is opened for trusted URLs only")
        info = ZarrSource(url=reached).header()
        zarr = ZarrSource(url=reached, etag=info.etag)
        return Image(info=replace(info, url=url), source=zarr)
    where = _IMAGE.fullmatch(reached)
    file, number = (where[1], int(where[2])) if where else (reached, None)
    source = RasterSource(url=file, door=door, image=number)
    info = source.header()
    return Image(info=replace(info, url=url), source=replace(source, etag=info.etag))


def _reached(url: str) -> str:
    """A URL as every worker finds it: an absolute path when it is local."""
    if not url.startswith("file://"):
        return url if "://" in url else str(Path(url).absolute())
    fragment = urldefrag(url).fragment
    return local_path(url) + (f"#{fragment}" if fragment else "")


def _padded(sizes: Sequence[int], start: int, extent: int) -> tuple[int, ...]:
    """Chunks of a window, with one before and one after it to fill the image."""
    after = extent - start - sum(sizes)
    return tuple(size for size in (start, *sizes, after) if size)
