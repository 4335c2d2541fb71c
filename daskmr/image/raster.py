"""Files that GDAL reads: GeoTIFF, COG, NITF, JPEG 2000, JPEG, PNG and, for trusted users, more."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskmr.core.grid import Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.errors import ImageError, ImageReadError
from daskmr.image.door import Door

_MAX_HANDLES = 16
_LOCAL = threading.local()


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterSource:
    """An image file; opened once for each thread that reads it."""

    url: str
    """Path or URL; local paths are absolute so that workers find them."""
    door: Door = field(default_factory=Door)
    """How it is opened."""
    etag: str = ""
    """What the bytes were when the image was planned; "" for not known."""

    def header(self) -> ImageInfo:
        """The image's header; reads no pixel."""
        dataset = self.door.open(self.url)
        with self.door.env(self.url), dataset:
            return _info(self.url, dataset, self._identity())

    def read(self, window: Window) -> Pixels:
        """Pixels of a window, shape (band, y, x)."""
        pixels: Pixels = self._read(window, lambda dataset, part: dataset.read(window=part))
        return pixels

    def read_valid(self, window: Window) -> NDArray[np.bool_] | None:
        """Which pixels of a window are valid by the image's own mask."""
        found: NDArray[np.uint8] = self._read(
            window, lambda dataset, part: dataset.dataset_mask(window=part)
        )
        valid: NDArray[np.bool_] = found != 0
        return valid

    def lazy(self, chunks: Mapping[str, Any]) -> Any:
        """The image as a lazy xarray.DataArray (band, y, x)."""
        return self.door.open_lazy(self.url, chunks=chunks)

    def empty_blocks(self) -> NDArray[np.bool_] | None:
        """Which storage blocks hold nothing, by the file's own index; reads no pixel.

        Returns
        -------
        Shape (block rows, block columns); None for a format without such an index.
        """
        dataset = self.door.open(self.url)
        with self.door.env(self.url), dataset:
            if dataset.driver not in {"GTiff", "COG"}:
                return None
            rows, cols = dataset.block_shapes[0]
            shape = (-(-dataset.height // rows), -(-dataset.width // cols))
            by_band = getattr(dataset.interleaving, "name", "") == "band"
            empty = np.ones(shape, dtype=np.bool_)
            for band in range(1, (dataset.count if by_band else 1) + 1):
                empty &= _unstored(dataset, shape, band)
            return empty

    def _read(self, window: Window, read: Any) -> Any:
        import rasterio
        from rasterio._err import CPLE_BaseError

        part = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        try:
            with self.door.env(self.url):
                return read(_handle(self), part)
        except (rasterio.errors.RasterioError, CPLE_BaseError, ImageError) as error:
            if isinstance(error, ImageReadError):
                raise
            _drop(self)
            place = f"rows {window.row} to {window.row_stop}, columns {window.col} to "
            msg = f"{self.url}: cannot read {place}{window.col_stop}: {error}"
            raise ImageReadError(msg) from error

    def opened(self) -> Any:
        """A new dataset of the image as it was planned."""
        found = self._identity()
        if self.etag and found and found != self.etag:
            msg = f"{self.url}: the file has changed since it was planned"
            raise ImageReadError(msg)
        return self.door.open(self.url, for_pixels=True)

    def _identity(self) -> str:
        """Size and time of change of a local file."""
        path = Path(self.url)
        if "://" in self.url or not path.exists():
            return ""
        stat = path.stat()
        return f"{stat.st_size}-{stat.st_mtime_ns}"


def _handle(source: RasterSource) -> Any:
    """Dataset of a source for the running thread; the ones not used for longest are closed."""
    handles: OrderedDict[RasterSource, Any] = _LOCAL.__dict__.setdefault("handles", OrderedDict())
    if source not in handles:
        handles[source] = source.opened()
        while len(handles) > _MAX_HANDLES:
            handles.popitem(last=False)[1].close()
    handles.move_to_end(source)
    return handles[source]


def _drop(source: RasterSource) -> None:
    dataset = _LOCAL.__dict__.get("handles", {}).pop(source, None)
    if dataset is not None:
        dataset.close()


def _info(url: str, dataset: Any, etag: str) -> ImageInfo:
    from rasterio.enums import MaskFlags

    flags = {flag for band in dataset.mask_flag_enums for flag in band}
    rows, cols = dataset.block_shapes[0]
    return ImageInfo(
        url=url,
        height=dataset.height,
        width=dataset.width,
        bands=dataset.count,
        dtype=dataset.dtypes[0],
        driver=dataset.driver,
        nodata=dataset.nodata,
        has_mask=bool(flags & {MaskFlags.per_dataset, MaskFlags.alpha}),
        block_height=rows,
        block_width=cols,
        crs=dataset.crs.to_wkt() if dataset.crs else None,
        transform=tuple(dataset.transform)[:6],
        n_gcps=len(dataset.gcps[0]),
        has_rpcs=dataset.rpcs is not None,
        colorinterp=tuple(color.name for color in dataset.colorinterp),
        tags=dict(dataset.tags()),
        etag=etag,
    )


def _unstored(dataset: Any, shape: tuple[int, int], band: int) -> NDArray[np.bool_]:
    rows, cols = shape
    tag = dataset.get_tag_item
    flat = [
        tag(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band) is None
        for row in range(rows)
        for col in range(cols)
    ]
    return np.array(flat, dtype=np.bool_).reshape(shape)
