"""Read images from Zarr stores: one variable of a local folder or an ``s3://`` URL."""

import zlib
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from lzma import LZMAError
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskmr.core.grid import Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.errors import ImageError, ImageReadError, SourceChangedError
from daskmr.image.array import header, normalise

_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
_MALFORMED = (AttributeError, LookupError, TypeError)
"""Errors that the readers raise for JSON that is not Zarr metadata."""


def is_zarr(url: str) -> bool:
    """Return whether a URL or path is a Zarr store, by its suffix or by the files in the folder."""
    place = url.partition("#")[0].rstrip("/")
    try:
        return place.endswith(".zarr") or any((Path(place) / mark).is_file() for mark in _MARKS)
    except OSError:  # a name that is too long, a folder without permission
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ZarrSource:
    """One variable of a Zarr store; opened once for each process that reads it."""

    url: str
    """Absolute path or URL; ``#name`` selects a variable."""
    etag: str = ""
    """Identity of a local store's metadata when the image was planned; "" when unknown."""

    def header(self) -> ImageInfo:
        """Return the current header of the variable; reads no pixel."""
        etag = _metadata_identity(self.url)
        return replace(header(_open(self.url), url=self.url, driver="Zarr"), etag=etag)

    def data(self) -> Any:
        """Return the variable as a lazy xarray.DataArray (band, y, x)."""
        return _open_checked(self.url, self.etag)

    def read(self, window: Window) -> Pixels:
        """Return pixels of a window, shape (band, y, x)."""
        rows = slice(window.row, window.row_stop)
        cols = slice(window.col, window.col_stop)
        try:
            part = self.data().isel(y=rows, x=cols).compute(scheduler="synchronous")
        except SourceChangedError:
            raise
        except _faults(ImageError) as error:
            place = f"rows {window.row} to {window.row_stop}, columns {window.col} to "
            msg = f"{self.url}: cannot read {place}{window.col_stop}: {error}"
            raise ImageReadError(msg) from error
        pixels: Pixels = np.asarray(part.values)
        return pixels

    def check(self) -> None:
        """Raise when the store has changed since it was planned."""
        _check(self.url, self.etag)

    def read_valid(self, window: Window) -> NDArray[np.bool_] | None:
        """Return None: a Zarr variable has no mask band."""
        return None


@lru_cache(maxsize=16)
def _open_checked(url: str, etag: str) -> Any:
    _check(url, etag)
    return _open(url)


def _check(url: str, etag: str) -> None:
    if etag and _metadata_identity(url) != etag:
        msg = f"{url}: the store has changed since it was planned"
        raise SourceChangedError(msg)


def _open(url: str) -> Any:
    import xarray as xr

    place, _, wanted = url.partition("#")
    raw: dict[str, Any] = {"mask_and_scale": False, "decode_times": False}
    raw["decode_coords"] = "all"  # the grid mapping holds the CRS
    try:
        try:
            store = xr.open_zarr(place, consolidated=True, **raw)
        except (ValueError, KeyError):
            store = xr.open_zarr(place, consolidated=False, **raw)
    except _faults(*_MALFORMED) as error:
        msg = f"{place}: cannot be opened as a Zarr store: {error}"
        raise ImageError(msg) from error
    return normalise(store[_variable_name(store, place, wanted)], url=url)


def _variable_name(store: Any, place: str, wanted: str) -> str:
    images = sorted(
        str(name)
        for name, variable in store.data_vars.items()
        if variable.ndim in {2, 3} and variable.dtype.kind in "iufcb"
    )
    if wanted and wanted not in images:
        msg = f"{place}: no image variable {wanted!r}; there are {', '.join(images) or 'none'}"
        raise ImageError(msg)
    if not wanted and len(images) != 1:
        choices = f"{len(images)} image variables ({', '.join(images)}); pick one with #name"
        msg = f"{place}: holds {choices if images else 'no image variable'}"
        raise ImageError(msg)
    return wanted or images[0]


def _metadata_identity(url: str) -> str:
    """Return a hash of sizes and times of a local store's metadata, which is written last."""
    place = Path(url.partition("#")[0])
    if "://" in url or not place.is_dir():
        return ""
    marks = (*_MARKS, ".zmetadata")
    files = sorted(file for mark in marks for at in ("", "*/") for file in place.glob(at + mark))
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return sha256(repr(stats).encode()).hexdigest()[:16]


def _faults(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """Return *more* and the errors of stores, network and codecs, which share no base class."""
    from aiohttp import ClientError as HttpError

    from daskmr.aws import client_errors

    codecs = (ValueError, RuntimeError, EOFError, zlib.error, LZMAError)
    return (*more, OSError, *codecs, *client_errors(), HttpError)
