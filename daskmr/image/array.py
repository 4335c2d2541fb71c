"""Arrays that are already there: any xarray.DataArray, in memory or lazy."""

from typing import Any

import numpy as np

from daskmr.core.imagery import ImageInfo
from daskmr.errors import ImageError
from daskmr.image.door import MAX_BANDS

URL = "<array>"
"""What reports call an array."""
_ROWS = ("y", "lat", "latitude", "Y")
_COLS = ("x", "lon", "longitude", "X")
_PLAIN = 2
_REGULAR = 1e-6


def normalised(data: Any) -> Any:
    """A DataArray with dimensions band, y, x, lazy; nothing is computed.

    Raises
    ------
    ImageError
        When the dimensions are not rows, columns and at most one other.
    """
    rows = [dim for dim in data.dims if dim in _ROWS]
    cols = [dim for dim in data.dims if dim in _COLS]
    others = [dim for dim in data.dims if dim not in {*rows, *cols}]
    if len(rows) != 1 or len(cols) != 1 or len(others) > 1:
        msg = f"{URL}: dimensions {data.dims} are not y, x and at most one of bands"
        raise ImageError(msg)
    renamed = data.rename({old: new for old, new in ((rows[0], "y"), (cols[0], "x")) if old != new})
    if not others:
        renamed = renamed.expand_dims("band")
    elif others[0] != "band":
        renamed = renamed.rename({others[0]: "band"})
    n_bands = renamed.sizes["band"]
    if n_bands > MAX_BANDS:
        msg = f"{URL}: {n_bands} bands, more than {MAX_BANDS}"
        raise ImageError(msg)
    ordered = renamed.transpose("band", "y", "x")
    return ordered if ordered.chunks is not None else ordered.chunk()


def header(data: Any, *, url: str = URL, driver: str = "array") -> ImageInfo:
    """What a normalised DataArray says of itself; nothing is computed."""
    import rioxarray  # noqa: F401 - gives DataArrays their accessor `rio`

    bands, height, width = data.shape
    blocks = [max(sizes) for sizes in data.chunks[1:]]
    nodata = data.rio.nodata if data.rio.nodata is not None else data.rio.encoded_nodata
    crs = data.rio.crs
    return ImageInfo(
        url=url,
        height=height,
        width=width,
        bands=bands,
        dtype=str(data.dtype),
        driver=driver,
        nodata=None if nodata is None else float(nodata),
        block_height=blocks[0],
        block_width=blocks[1],
        crs=crs.to_wkt() if crs else None,
        transform=_transform(data),
    )


def _transform(data: Any) -> tuple[float, float, float, float, float, float] | None:
    """Coefficients from regular coordinates of pixel centres, else from the grid mapping."""
    if {"x", "y"} <= set(data.coords):
        x, y = (np.asarray(data[dim].values, dtype=np.float64) for dim in ("x", "y"))
        dx, dy = _step(x), _step(y)
        if dx and dy:
            return (dx, 0.0, float(x[0]) - dx / 2, 0.0, dy, float(y[0]) - dy / 2)
        if min(len(x), len(y)) >= _PLAIN:
            return None
    a, b, c, d, e, f = (float(value) for value in tuple(data.rio.transform(recalc=False))[:6])
    return (a, b, c, d, e, f)


def _step(values: Any) -> float:
    """Distance between neighbours when it is the same everywhere, else 0."""
    if len(values) < _PLAIN:
        return 0.0
    step = float(values[-1] - values[0]) / (len(values) - 1)
    even = np.allclose(np.diff(values), step, rtol=0, atol=abs(step) * _REGULAR)
    return step if even else 0.0
