"""Read images from any xarray.DataArray, in memory or lazy."""

from typing import Any

import numpy as np

from daskmr.core.imagery import ImageInfo
from daskmr.errors import ImageError
from daskmr.image.opener import MAX_BANDS

CHUNK = 4096
"""Approximate side of a chunk, pixels."""
URL = "<array>"
"""URL of arrays in reports."""
_ROWS = ("y", "lat", "latitude", "Y")
_COLS = ("x", "lon", "longitude", "X")
_NUMERIC = "buifc"
_REAL = "uif"
_PLAIN = 2
_REGULAR = 1e-6


def normalise(data: Any, *, url: str = URL) -> Any:
    """Return a lazy DataArray (band, y, x), all bands in one chunk; nothing is computed.

    Raises
    ------
    ImageError
        When the dimensions are not rows, columns and at most one other, or the dtype not numeric.
    """
    if data.dtype.kind not in _NUMERIC:
        msg = f"{url}: pixels of type {data.dtype} are not numbers"
        raise ImageError(msg)
    rows = [dim for dim in data.dims if dim in _ROWS]
    cols = [dim for dim in data.dims if dim in _COLS]
    others = [dim for dim in data.dims if dim not in {*rows, *cols}]
    if len(rows) != 1 or len(cols) != 1 or len(others) > 1:
        msg = f"{url}: dimensions {data.dims} are not y, x and at most one of bands"
        raise ImageError(msg)
    names = {rows[0]: "y", cols[0]: "x", **dict.fromkeys(others, "band")}
    # Selecting one band leaves a coordinate without a dimension.
    left = [name for name in ("band", "y", "x") if name in data.coords and name not in data.dims]
    renamed = data.drop_vars(left).rename({old: new for old, new in names.items() if old != new})
    if not others:
        renamed = renamed.expand_dims("band")
    n_bands = renamed.sizes["band"]
    if n_bands > MAX_BANDS:
        msg = f"{url}: {n_bands} bands, more than {MAX_BANDS}"
        raise ImageError(msg)
    ordered = renamed.transpose("band", "y", "x")
    plane = {"y": CHUNK, "x": CHUNK} if ordered.chunks is None else {}
    return ordered.chunk({"band": -1, **plane})


def header(data: Any, *, url: str = URL, driver: str = "array") -> ImageInfo:
    """Return the header of a normalised DataArray; nothing is computed.

    Raises
    ------
    ImageError
        When the array has no pixels.
    """
    import rioxarray  # noqa: F401 - gives DataArrays their accessor `rio`

    bands, height, width = data.shape
    if not data.size:
        msg = f"{url}: no pixels ({width} x {height} x {bands} bands)"
        raise ImageError(msg)
    blocks = [max(sizes) for sizes in data.chunks[1:]]
    crs = data.rio.crs
    return ImageInfo(
        url=url,
        height=height,
        width=width,
        bands=bands,
        dtype=str(data.dtype),
        driver=driver,
        nodata=_nodata(data),
        block_height=blocks[0],
        block_width=blocks[1],
        crs=crs.to_wkt() if crs else None,
        transform=_transform(data),
    )


def _nodata(data: Any) -> float | None:
    nodata = data.rio.nodata if data.rio.nodata is not None else data.rio.encoded_nodata
    return None if nodata is None or np.iscomplexobj(nodata) else float(nodata)


def _transform(data: Any) -> tuple[float, float, float, float, float, float] | None:
    """Return the transform of regular coordinates of pixel centres, else of the grid mapping."""
    if {"x", "y"} <= set(data.coords):
        if any(data[dim].dtype.kind not in _REAL for dim in ("x", "y")):
            return None
        x, y = (np.asarray(data[dim].values, dtype=np.float64) for dim in ("x", "y"))
        dx, dy = _step(x), _step(y)
        if dx and dy:
            return (dx, 0.0, float(x[0]) - dx / 2, 0.0, dy, float(y[0]) - dy / 2)
        if min(len(x), len(y)) >= _PLAIN:
            return None
    a, b, c, d, e, f = (float(value) for value in tuple(data.rio.transform(recalc=False))[:6])
    return (a, b, c, d, e, f)


def _step(values: Any) -> float:
    """Return the distance of neighbouring values when it is constant, else 0."""
    if len(values) < _PLAIN:
        return 0.0
    step = float(values[-1] - values[0]) / (len(values) - 1)
    even = np.allclose(np.diff(values), step, rtol=0, atol=abs(step) * _REGULAR)
    return step if even else 0.0
