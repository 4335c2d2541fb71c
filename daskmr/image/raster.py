"""Read images from files with GDAL: GeoTIFF, COG, NITF, JPEG 2000, JPEG, PNG, more if trusted."""

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
from daskmr.image._gdal import faults, pixel_type
from daskmr.image._identity import check, identity
from daskmr.image._lazy import by_windows
from daskmr.image._metadata import georeferencing
from daskmr.image._outage import is_readable
from daskmr.image._refusal import redact_url, refusal
from daskmr.image._several import list_images, names_of
from daskmr.image.opener import Door, Trust

_MAX_HANDLES = 16
_SIGNED_S = 600.0
"""Seconds after which a file read with a role is opened again, as its credentials expire."""
_LOCAL = threading.local()


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterSource:
    """An image file, opened once for each thread that reads it."""

    url: str
    """Path or URL; local paths are absolute so that workers find them."""
    door: Door = field(default_factory=Door)
    """Access policy with which the file is opened."""
    etag: str = ""
    """Identity of the file when the image was planned; "" when unknown."""
    image: int | None = None
    """Number of the image in a file with several, from 0; None for the only one."""
    level: int | None = None
    """Number of the overview, from 0; None for the full image."""

    def header(self) -> ImageInfo:
        """Return the image's header; reads no pixel."""
        with self._header() as dataset:
            info = _info(self.url, dataset, identity(self.url, self.door.identity))
            if self.image is not None:
                return info
            several = list_images(self.url, names_of(dataset), self._numbered)
            return replace(info, images=several)

    def _numbered(self, image: int) -> Any:
        return self.door.open(self.url, image=image)

    def overview(self, factor: float) -> "tuple[RasterSource, tuple[int, int]] | None":
        """Return the smallest overview that is reduced by at most a factor.

        Parameters
        ----------
        factor
            Largest size of a pixel of the overview, in pixels of the image.

        Returns
        -------
        Source, and (columns, rows); None when there is no such overview, or it is not trusted.
        """
        if self.door.trust is Trust.UNTRUSTED:  # it may be in another file
            return None
        with self._header() as dataset:
            known = dataset.overviews(1)
        levels = [level for level, by in enumerate(known) if by <= factor]
        if not levels:
            return None
        source = replace(self, level=levels[-1])
        with source._header() as dataset:  # noqa: SLF001 - same class
            return source, (dataset.width, dataset.height)

    def read(self, window: Window) -> Pixels:
        """Return pixels of a window, shape (band, y, x)."""
        pixels: Pixels = self._read(window, lambda dataset, part: dataset.read(window=part))
        return pixels

    def read_valid(self, window: Window) -> NDArray[np.bool_] | None:
        """Return a mask of the valid pixels from the mask or alpha band; None without one."""
        mask = self._read(window, _mask)
        valid: NDArray[np.bool_] | None = None if mask is None else mask != 0
        return valid

    def lazy(self, chunks: Mapping[str, Any]) -> Any:
        """Return the image as a lazy xarray.DataArray (band, y, x).

        An image read with a role has no coordinates: its signed URL expires, so that it is read
        window by window, each opened when needed. So is SICD: rioxarray reopens files in other
        threads, without the GDAL settings that its bands depend on.
        """
        if self.door.identity.role or self.image is not None or self._is_complex_sar():
            return by_windows(self.read, self.header(), chunks)
        return self.door.open_lazy(self.url, chunks=chunks)

    def empty_blocks(self) -> NDArray[np.bool_] | None:
        """Return the storage blocks without data, from the file's index; reads no pixel.

        Returns
        -------
        Mask of shape (block rows, block columns); None for a format without such an index.
        """
        with self._header() as dataset:
            if dataset.driver not in {"GTiff", "COG"}:
                return None
            rows, cols = dataset.block_shapes[0]
            shape = (-(-dataset.height // rows), -(-dataset.width // cols))
            by_band = getattr(dataset.interleaving, "name", "") == "band"
            empty = np.ones(shape, dtype=np.bool_)
            for band in range(1, (dataset.count if by_band else 1) + 1):
                empty &= _missing_blocks(dataset, shape, band)
                if not empty.any():
                    break
            return empty

    def _is_complex_sar(self) -> bool:
        """Return whether the first band has the real parts of complex pixels."""
        with self._header() as dataset:
            return bool(dataset.tags(1).get("NITF_ISUBCAT") == "I")

    @contextmanager
    def _header(self) -> Iterator[Any]:
        """Yield the dataset, opened to read its header only."""
        dataset = self.door.open(self.url, image=self.image, level=self.level)
        try:
            with self.door.env(self.url), dataset:
                yield dataset
        except faults() as error:
            is_readable(self.url, self.door.identity)
            raise refusal(self.url, f"has a broken header: {error}") from error

    def _read(self, window: Window, read: Any, *, is_again: bool = False) -> Any:
        """Read a window; once more, from a new handle, what GDAL did not get during an outage."""
        import rasterio

        part = rasterio.windows.Window(window.col, window.row, window.width, window.height)
        try:
            with self.door.env(self.url):
                return read(_check_window(_handle(self), window), part)
        except (ImageReadError, SourceChangedError):
            raise
        except faults(ImageError) as error:
            _close_handle(self)
            may_help = not is_again and isinstance(error, faults())
            if may_help and is_readable(self.url, self.door.identity):
                return self._read(window, read, is_again=True)
            place = f"rows {window.row} to {window.row_stop}, columns {window.col} to "
            msg = redact_url(self.url, f"cannot read {place}{window.col_stop}: {error}")
            raise ImageReadError(msg) from error

    def open_planned(self) -> Any:
        """Return a new dataset of the image; raise when it has changed since it was planned."""
        self.check()
        return self.door.open(self.url, for_pixels=True, image=self.image, level=self.level)

    def check(self) -> None:
        """Raise when the image has changed since it was planned."""
        check(self.url, self.etag, reader=self.door.identity)


def _handle(source: RasterSource) -> Any:
    """Return the dataset of a source for this thread; the least recently used ones are closed."""
    handles: OrderedDict[RasterSource, tuple[float, Any]]
    handles = _LOCAL.__dict__.setdefault("handles", OrderedDict())
    if source.door.identity.role and source in handles:
        opened_at, _ = handles[source]
        if monotonic() - opened_at > _SIGNED_S:
            _close_handle(source)
    if source not in handles:
        handles[source] = monotonic(), source.open_planned()
        while len(handles) > _MAX_HANDLES:
            handles.popitem(last=False)[1][1].close()
    handles.move_to_end(source)
    return handles[source][1]


def _close_handle(source: RasterSource) -> None:
    handle = _LOCAL.__dict__.get("handles", {}).pop(source, None)
    if handle is not None:
        handle[1].close()


def _check_window(dataset: Any, window: Window) -> Any:
    """Return the dataset if it contains the window; rasterio would silently read a smaller one."""
    if window.row_stop > dataset.height or window.col_stop > dataset.width:
        msg = f"the image is {dataset.width} x {dataset.height} only"
        raise ImageError(msg)
    return dataset


def _mask_band(dataset: Any) -> int | None:
    """Return the number of the alpha band, 0 for a mask of the dataset, None for neither."""
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


def _missing_blocks(dataset: Any, shape: tuple[int, int], band: int) -> NDArray[np.bool_]:
    rows, cols = shape
    tag = dataset.get_tag_item
    flat = [
        tag(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=band) is None
        for row in range(rows)
        for col in range(cols)
    ]
    return np.array(flat, dtype=np.bool_).reshape(shape)
