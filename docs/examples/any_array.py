"""Anything that xarray can compute runs like a file: here the NDVI of two bands."""

from typing import Any

import numpy as np
import xarray as xr

import daskmr


def ndvi(scene: xr.DataArray) -> xr.DataArray:
    """Vegetation from bands red, infrared; lazily."""
    red, infrared = scene[0].astype("float32"), scene[1].astype("float32")
    index = ((infrared - red) / (infrared + red)).expand_dims("band")
    return index.rio.write_crs(scene.rio.crs).rio.write_transform(scene.rio.transform())


def green(tile: Any) -> dict[str, Any] | None:
    """Return a box round what grows, in pixels of the tile."""
    rows, cols = (tile[0] > 0.4).nonzero()
    if not len(rows):
        return None
    box = [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]
    return {
        "boxes": np.array([box]),
        "scores": [float(tile[0][rows, cols].mean())],
        "labels": ["green"],
    }


def find_green(path: str, **options: Any) -> daskmr.Result:
    """Green places of a scene."""
    import rioxarray

    with rioxarray.open_rasterio(path, chunks={"band": -1, "y": 512, "x": 512}) as scene:
        return daskmr.run(ndvi(scene), green, **options)
