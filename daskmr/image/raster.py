"""Files that GDAL reads: GeoTIFF, COG, NITF, JPEG 2000, JPEG, PNG and, for trusted users, more."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskmr.core.grid import Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.errors import ImageError, ImageReadError, SourceChangedError
from daskmr.image._identity import check, identity
from daskmr.image._lazy import by_windows
from daskmr.image._metadata import georeferencing
from daskmr.image._several import listed, names_of
from daskmr.image.door import Door, Trust, faults, pixel_type, refused, told

_MAX_HANDLES = 16
_SIGNED_S = 600.0
"""Seconds after which what is read with a role is opened again: its credentials run out."""
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
    image: int | None = None
    """Which image of a file that holds several, from 0."""
    level: int | None = None
    """Which overview, from 0; None for the full image."""

    def header(self) -> ImageInfo:
        """The image's header; reads no pixel."""
        with self._header() as dataset:
            info = _info(self.url, dataset, identity(self.url, self.door.identity))
            if self.image is not None:
                return info
            several = listed(self.url, names_of(dataset), self._numbered)
            return replace(info, images=several)

    def _numbered(self, image: int) -> Any:
        return self.door.open(self.url, image=image)

    def overview(self, factor: float) -> "tuple[RasterSource, tuple[int, int]] | None":
        """The smallest overview whose pixels are at most so many of the image wide.

        Returns
        -------
        Its source, and its columns and rows; None when there is none that may be used.
        """
        if self.door.trust is Trust.UNTRUSTED:  # it may lie in another file
            return None
        with self._header() as dataset:
            known = dataset.overviews(1)
        levels = [level for level, by in enumerate(known) if by <= factor]
        if not levels:
            return None
        source = replace(self, level=levels[-1])
        with source._header() as dataset:  # noqa: SLF001 - our own
            return source, (dataset.width, dataset.height)

    def read(self, window: Window) -> Pixels:
        """Pixels of a window, shape (band, y, x)."""
        pixels: Pixels = self._read(window, lambda dataset, part: dataset.read(window=part))
        return pixels

    def read_valid(self, window: Window) -> NDArray[np.bool_] | None:
        """Which pixels of a window are valid by the image's own mask; None when it has none."""
        found = self._read(window, _mask)
        valid: NDArray[np.bool_] | None = None if found is None else found != 0
        return valid

    def lazy(self, chunks: Mapping[str, Any]) -> Any:
        """The image as a lazy xarray.DataArray (band, y, x).

        One that is read with a role has no coordinates: its address changes, so that it is read by
        windows, each opened as it is needed.
        """
        if self.door.identity.role or self.image is not None:
            return by_windows(self.read, self.header(), chunks)
        return self.door.open_lazy(self.url, chunks=chunks)

    def empty_blocks(self) -> NDArray[np.bool_] | None:
        """Which storage blocks hold nothing, by the file's own index; reads no pixel.

        Returns
        -------
        Shape (block rows, block columns); None for a format without such an index.
        """
        with self._header() as dataset:
            if dataset.driver not in {"GTiff", "COG"}:
                return None
            rows, cols = dataset.block_shapes[0]
            shape = (-(-dataset.height // rows), -(-dataset.width // cols))
            by_band = getattr(dataset.interleaving, "name", "") == "band"
            empty = np.ones(shape, dtype=np.bool_)
            for band in range(1, (dataset.count if by_band else 1) + 1):
                empty &= _unstored(dataset, shape, band)
                if not empty.any():
                    break
            return empty

    @contextmanager
    def _header(self) -> Iterator[Any]:
        """The dataset, for what is known of it without its pixels."""
        dataset = self.door.open(self.url, image=self.image, level=self.level)
        try:
            with self.door.env(self.url), dataset:
                yield dataset
        except faults() as error:
            raise refused(self.url, f"has a broken header: {error}") from error

    def _read(self, window: Window, read: Any) -> Any:
        import rasterio

        part = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        try:
            with self.door.env(self.url):
                return read(_within(_handle(self), window), part)
        except (ImageReadError, SourceChangedError):
            raise
        except faults(ImageError) as error:
            _drop(self)
            place = f"rows {window.row} to {window.row_stop}, columns {window.col} to "
            msg = told(self.url, f"cannot read {place}{window.col_stop}: {error}")
            raise ImageReadError(msg) from error

    def opened(self) -> Any:
        """A new dataset of the image as it was planned."""
        self.check()
        return self.door.open(self.url, for_pixels=True, image=self.image, level=self.level)

    def check(self) -> None:
        """Refuse an image that is not the one that was planned."""
        check(self.url, self.etag, reader=self.door.identity)


def _handle(source: RasterSource) -> Any:
    """Dataset of a source for the running thread; the ones not used for longest are closed."""
    handles: OrderedDict[RasterSource, tuple[float, Any]]
    handles = _LOCAL.__dict__.setdefault("handles", OrderedDict())
    if source.door.identity.role and source in handles:
        opened_at, _ = handles[source]
        if monotonic() - opened_at > _SIGNED_S:
            _drop(source)
    if source not in handles:
        handles[source] = monotonic(), source.opened()
        while len(handles) > _MAX_HANDLES:
            handles.popitem(last=False)[1][1].close()
    handles.move_to_end(source)
    return handles[source][1]


def _drop(source: RasterSource) -> None:
    held = _LOCAL.__dict__.get("handles", {}).pop(source, None)
    if held is not None:
        held[1].close()


def _within(dataset: Any, window: Window) -> Any:
    """The dataset, when the window lies in it; rasterio would give a smaller one without a word."""
    if window.row_stop > dataset.height or window.col_stop > dataset.width:
        msg = f"the image is {dataset.width} x {dataset.height} only"
        raise ImageError(msg)
    return dataset


def _mask_band(dataset: Any) -> int | None:
    """Band that says what is valid: 0 for a mask beside the bands, the number of an alpha band."""
    from rasterio.enums import ColorInterp, MaskFlags

    if ColorInterp.alpha in dataset.colorinterp:
        number: int = dataset.colorinterp.index(ColorInterp.alpha) + 1
        return number
    return 0 if MaskFlags.per_dataset in dataset.mask_flag_enums[0] else None


def _mask(dataset: Any, part: Any) -> Any:
    band = _mask_band(dataset)
    if band is None:
        return None
    return dataset.read(band, window=part) if band else dataset.read_masks(1, window=part)


def _info(url: str, dataset: Any, etag: str) -> ImageInfo:
    rows, cols = dataset.block_shapes[0]
    return ImageInfo(
        url=url,
        height=dataset.height,
        width=dataset.width,
        bands=dataset.count,
        dtype=pixel_type(dataset),
        driver=dataset.driver,
        nodata=dataset.nodata,
        has_mask=_mask_band(dataset) is not None,
        block_height=rows,
        block_width=cols,
        crs=dataset.crs.to_wkt() if dataset.crs else None,
        transform=tuple(dataset.transform)[:6],
        colorinterp=tuple(color.name for color in dataset.colorinterp),
        tags=dict(dataset.tags()),
        etag=etag,
        **georeferencing(dataset),
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
