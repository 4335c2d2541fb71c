"""Lazy arrays of images that are read window by window."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from daskmr.core.grid import Window
from daskmr.core.imagery import ImageInfo, Pixels


def by_windows(read: Callable[[Window], Pixels], info: ImageInfo, chunks: Mapping[str, Any]) -> Any:
    """Return an image as a lazy xarray.DataArray (band, y, x), without coordinates.

    Parameters
    ----------
    read
        Function that returns the pixels of a window, shape (band, y, x).
    info
        Header of the image.
    chunks
        Chunk sizes by dimension.
    """
    import dask.array as da
    import xarray as xr

    shape = (info.bands, info.height, info.width)
    sizes = da.core.normalize_chunks((info.bands, chunks["y"], chunks["x"]), shape)

    def block(block_info: Any = None) -> Pixels:
        _, rows, cols = block_info[None]["array-location"]
        window = Window(row=rows[0], col=cols[0], height=rows[1] - rows[0], width=cols[1] - cols[0])
        return read(window)

    dtype = np.dtype(info.dtype)
    array = da.map_blocks(block, chunks=sizes, dtype=dtype, meta=np.empty((0, 0, 0), dtype))
    return xr.DataArray(array, dims=("band", "y", "x"))
