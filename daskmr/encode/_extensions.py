"""Fields of NITF that say where the pixels of a chip lie.

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
    """The extensions of an image that hold a sensor model, and ICHIPB, which cuts a tile out of it.

    RSM and RPC00B speak of the whole image that `info` may itself be a chip of. The pixels of RPCs
    that come from elsewhere than NITF may lie between those of RPC00B; ICHIPB moves them as well.
    """
    found = {name: fields for name, fields in info.rsm if fields}
    written = rpc00b(info.rpcs) if info.rpcs is not None else None
    by_x, by_y = 0.0, 0.0
    if written is not None:
        found["RPC00B"], by_x, by_y = written
    if not found:
        return {}
    a, b, c, d, e, f = info.chip or _WHOLE
    return {**found, "ICHIPB": _ichipb((a, b, c + by_x, d, e, f + by_y), info, window)}


def _ichipb(
    transform: tuple[float, float, float, float, float, float], info: ImageInfo, window: Window
) -> str:
    """Where the middles of a tile's corner pixels lie in the whole image."""
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
    """BLOCKA of one block with all lines, to a millionth of a degree; none for too many lines."""
    if tile.height > _MOST_LINES:
        return {}
    first, first_last, last, last_first = (f"{lat:+010.6f}{lon:+011.6f}" for lon, lat in corners)
    places = f"{first_last}{last}{last_first}{first}"
    return {"BLOCKA": f"01{0:05d}{tile.height:05d}{'':22}{places}{'010.0'}"}


def igeolo(corners: Corners) -> Mapping[str, str]:
    """Creation options of GDAL's NITF driver for corners in whole seconds, some 30 m."""
    return {"ICORDS": "G", "IGEOLO": "".join(map(_location, corners))}


def _location(place: NDArray[np.float64]) -> str:
    """``ddmmssXdddmmssY``."""
    lon, lat = (round(float(value) * _SECONDS) for value in place)
    return _sexagesimal(lat, 2, "NS") + _sexagesimal(lon, 3, "EW")


def _sexagesimal(seconds: int, width: int, signs: str) -> str:
    minutes, second = divmod(abs(seconds), 60)
    degree, minute = divmod(minutes, 60)
    return f"{degree:0{width}d}{minute:02d}{second:02d}{signs[seconds < 0]}"
