"""Write the georeferencing of a tile as extensions and fields of NITF.

Layouts: MIL-STD-2500C, table A-3 (IGEOLO), and STDI-0002, volume 1, appendices B (ICHIPB) and N
(BLOCKA).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from daskmr.core.grid import Size, Window
from daskmr.core.imagery import ImageInfo
from daskmr.encode._rpc00b import rpc00b
from daskmr.encode.base import Corners

_WHOLE = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_MOST_LINES = 99_999
_SECONDS = 3600


def models(info: ImageInfo, window: Window) -> Mapping[str, str]:
    """Return the sensor models of an image as extensions, with the ICHIPB of a tile.

    RSM and RPC00B describe the full image, of which `info` may itself be a chip. RPCs from other
    formats than NITF may have fractional offsets, which RPC00B lacks; ICHIPB includes that shift.

    Returns
    -------
    Text of each extension by its name; empty for an image without sensor models.
    """
    extensions = {name: fields for name, fields in info.rsm if fields}
    rpc_extension = rpc00b(info.rpcs) if info.rpcs is not None else None
    by_x, by_y = 0.0, 0.0
    if rpc_extension is not None:
        extensions["RPC00B"], by_x, by_y = rpc_extension
    if not extensions:
        return {}
    a, b, c, d, e, f = info.chip or _WHOLE
    return {**extensions, "ICHIPB": _ichipb((a, b, c + by_x, d, e, f + by_y), info, window)}


def _ichipb(
    transform: tuple[float, float, float, float, float, float], info: ImageInfo, window: Window
) -> str:
    """Return the ICHIPB that maps the centres of a tile's corner pixels to the full image."""
    a, b, c, d, e, f = transform
    far = window.width - 0.5, window.height - 0.5
    tile = np.array([(0.5, 0.5), (far[0], 0.5), (0.5, far[1]), far])
    x, y = tile[:, 0] + window.col, tile[:, 1] + window.row
    whole = np.stack([d * x + e * y + f, a * x + b * y + c], axis=1)
    size = np.ceil(whole.max(axis=0)) if info.chip else [info.height, info.width]
    return (
        "000001.000000000"
        + "".join(f"{value:012.3f}" for value in tile[:, ::-1].ravel())
        + "".join(f"{value:012.3f}" for value in whole.ravel())
        + "".join(f"{int(value):08d}" for value in size)
    )


def blocka(corners: Corners, tile: Size) -> Mapping[str, str]:
    """Return a BLOCKA of all lines, exact to 1e-6 degrees; empty for too many lines."""
    if tile.height > _MOST_LINES:
        return {}
    first, first_last, last, last_first = (f"{lat:+010.6f}{lon:+011.6f}" for lon, lat in corners)
    places = f"{first_last}{last}{last_first}{first}"
    return {"BLOCKA": f"01{0:05d}{tile.height:05d}{'':22}{places}{'010.0'}"}


def igeolo(corners: Corners) -> Mapping[str, str]:
    """Return GDAL's creation options for corners in IGEOLO, in whole seconds (about 30 m)."""
    return {"ICORDS": "G", "IGEOLO": "".join(map(_location, corners))}


def _location(place: NDArray[np.float64]) -> str:
    """Return a location as ``ddmmssXdddmmssY``."""
    lon, lat = (round(float(value) * _SECONDS) for value in place)
    return _sexagesimal(lat, 2, "NS") + _sexagesimal(lon, 3, "EW")


def _sexagesimal(seconds: int, width: int, signs: str) -> str:
    minutes, second = divmod(abs(seconds), 60)
    degree, minute = divmod(minutes, 60)
    return f"{degree:0{width}d}{minute:02d}{second:02d}{signs[seconds < 0]}"
