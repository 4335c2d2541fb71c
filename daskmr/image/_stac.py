"""Read images from STAC Items: the asset with the pixels, and metadata of the Item."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from daskmr.core.imagery import ImageInfo
from daskmr.errors import ImageError

_KEYS = ("data", "visual", "image", "analytic")
_RASTERS = (
    "image/tiff",
    "image/jp2",
    "image/vnd.nitf",
    "application/vnd.nitf",
    "application/vnd+zarr",
)


def is_item(image: Any) -> bool:
    """Return whether a value is a pystac.Item."""
    return hasattr(image, "assets") and hasattr(image, "properties") and hasattr(image, "id")


def href_of(item: Any, asset: str | None = None) -> str:
    """Return the URL of the pixels of an item.

    Parameters
    ----------
    item
        A pystac.Item.
    asset
        Key of the asset; None for the one with the role ``data``, a common key, or the only raster.

    Raises
    ------
    ImageError
        When there is no such asset, or the choice is ambiguous; names the keys.
    """
    assets: Mapping[str, Any] = item.assets
    if asset is not None and asset not in assets:
        msg = f"STAC item {item.id}: no asset {asset!r}; there are {', '.join(sorted(assets))}"
        raise ImageError(msg)
    key = asset or _default_key(assets)
    if key is None:
        names = ", ".join(sorted(assets)) or "none"
        msg = f"STAC item {item.id}: choose one of its assets (asset=KEY): {names}"
        raise ImageError(msg)
    return str(assets[key].get_absolute_href() or assets[key].href)


def _default_key(assets: Mapping[str, Any]) -> str | None:
    rasters = [key for key, asset in assets.items() if _is_raster(asset)]
    with_data = [key for key in rasters if "data" in (assets[key].roles or ())]
    for keys in (with_data, [key for key in _KEYS if key in rasters], rasters):
        if len(keys) == 1:
            return keys[0]
    return None


def _is_raster(asset: Any) -> bool:
    kind = (asset.media_type or "").partition(";")[0].strip().lower()
    is_named = str(asset.href).lower().endswith((".tif", ".tiff", ".ntf", ".jp2", ".zarr"))
    return kind in _RASTERS or (not kind and is_named)


def with_item(info: ImageInfo, item: Any) -> ImageInfo:
    """Return a header with the name and the time of an item."""
    moment = item.datetime or item.common_metadata.start_datetime
    collected = moment.isoformat() if moment is not None else info.collected
    return replace(info, collection=str(item.id), collected=collected)
