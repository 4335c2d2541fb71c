"""Zarr stores: one variable of a local folder or an ``s3://`` URL."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskmr.core.grid import Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.errors import ImageError, ImageReadError
from daskmr.image.array import header, normalised

_MARKS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


def is_zarr(url: str) -> bool:
    """Whether a URL or path means a Zarr store: by its ending, or by what lies in the folder."""
    place = url.partition("#")[0].rstrip("/")
    return place.endswith(".zarr") or any((Path(place) / mark).is_file() for mark in _MARKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZarrSource:
    """One variable of a Zarr store; opened once for each process that reads it."""

    url: str
    """Absolute path or URL; ``#name`` picks a variable."""

    def header(self) -> ImageInfo:
        """The variable's header; reads no pixel."""
        return header(self.data(), url=self.url, driver="Zarr")

    def data(self) -> Any:
        """The variable as a lazy xarray.DataArray (band, y, x)."""
        return _opened(self.url)

    def read(self, window: Window) -> Pixels:
        """Pixels of a window, shape (band, y, x)."""
        rows = slice(window.row, window.row_stop)
        cols = slice(window.col, window.col_stop)
        try:
            part = self.data().isel(y=rows, x=cols).compute(scheduler="synchronous")
        except (OSError, ValueError, RuntimeError, ImageError) as error:
            place = f"rows {window.row} to {window.row_stop}, columns {window.col} to "
            msg = f"{self.url}: cannot read {place}{window.col_stop}: {error}"
            raise ImageReadError(msg) from error
        pixels: Pixels = np.asarray(part.values)
        return pixels

    def read_valid(self, window: Window) -> NDArray[np.bool_] | None:
        """None: a Zarr variable has no mask band."""
        return None


@lru_cache(maxsize=16)
def _opened(url: str) -> Any:
    import xarray as xr

    place, _, wanted = url.partition("#")
    raw: dict[str, Any] = {"mask_and_scale": False, "decode_times": False}
    raw["decode_coords"] = "all"  # the grid mapping holds the CRS
    try:
        try:
            store = xr.open_zarr(place, consolidated=True, **raw)
        except (ValueError, KeyError):
            store = xr.open_zarr(place, consolidated=False, **raw)
    except (OSError, ValueError, KeyError) as error:
        msg = f"{place}: cannot be opened as a Zarr store: {error}"
        raise ImageError(msg) from error
    images = sorted(
        str(name)
        for name, variable in store.data_vars.items()
        if variable.ndim in {2, 3} and variable.dtype.kind in "iufcb"
    )
    if wanted and wanted not in images:
        msg = f"{place}: no image variable {wanted!r}; there are {', '.join(images) or 'none'}"
        raise ImageError(msg)
    if not wanted and len(images) != 1:
        what = f"{len(images)} image variables ({', '.join(images)}); pick one with #name"
        msg = f"{place}: holds {what if images else 'no image variable'}"
        raise ImageError(msg)
    return normalised(store[wanted or images[0]])
