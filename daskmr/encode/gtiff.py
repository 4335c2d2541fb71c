"""GeoTIFF tiles."""

from typing import ClassVar, Literal

import numpy as np
from rasterio import Affine
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC

from daskmr.core.grid import Size, Window
from daskmr.core.imagery import ControlPoints, ImageInfo, Pixels
from daskmr.encode._copy import created, writing
from daskmr.encode._limits import HEADER, Quality, raw_bytes, require, whole_blocks
from daskmr.registry import plugin

_TYPES = (
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float32", "float64", "complex64", "complex128"),
)
_PREDICTORS = {"i": 2, "u": 2, "f": 3}
_GROWTH = {"NONE": 1.0, "LZW": 1.5, "DEFLATE": 1.01, "ZSTD": 1.01, "JPEG": 1.0}
# From here on the library writes nodata as -9.2e+18, which it reads back as -9 for 64-bit integers.
_LEAST_EXPONENT = 1e18
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_POINT_BYTES = 64


@plugin
class GtiffEncoder:
    """A GeoTIFF with the tile's own georeferencing and nothing else of the image's metadata.

    The transform is the image's, moved to the tile's first pixel; so are RPCs, and the control
    points of an image without a transform. CRS and nodata are kept.
    """

    content_type: ClassVar[str] = "image/tiff"

    compression: Literal["NONE", "LZW", "DEFLATE", "ZSTD", "JPEG"] = "NONE"
    """DEFLATE and ZSTD at their fastest levels; JPEG loses detail."""
    quality: Quality = None
    """Of JPEG, 1 to 100; 75 when not given."""

    def check(self, info: ImageInfo) -> None:
        """Any number of bands of any type, but for JPEG: 1 or 3 of uint8."""
        what = f"GTIFF with {self.compression}"
        if self.compression == "JPEG":
            require(info, what, dtypes=["uint8"], bands=[1, 3], instead="GTIFF with DEFLATE")
        else:
            require(info, what, dtypes=_TYPES, instead="NPY")

    def payload_bytes(self, info: ImageInfo, tile: Size) -> int:
        """The worst that noise can do to the compression; JPEG works on blocks of 16 x 16."""
        size = whole_blocks(tile) if self.compression == "JPEG" else tile
        points = info.gcps or info.corners
        header = HEADER + (_POINT_BYTES * len(points.pixels) if points else 0)
        # Every strip, at most one a row, needs its place and length in the directory.
        return int(raw_bytes(info, size) * _GROWTH[self.compression]) + 32 * tile.height + header

    def encode(self, pixels: Pixels, info: ImageInfo, window: Window) -> bytes:
        """The tile as a GeoTIFF, bands interleaved by pixel."""
        with writing("GTIFF", info, window):
            placing = {**_placed(info, window), "nodata": _nodata(info)}
            return created(pixels, "GTiff", {**placing, **self._options(info, pixels.dtype)})

    def _options(self, info: ImageInfo, dtype: "np.dtype[np.generic]") -> dict[str, object]:
        options: dict[str, object] = {"COMPRESS": self.compression, "INTERLEAVE": "PIXEL"}
        if self.compression in {"LZW", "DEFLATE", "ZSTD"}:
            options["PREDICTOR"] = _PREDICTORS.get(dtype.kind, 1)
        if self.compression == "DEFLATE":
            options["ZLEVEL"] = 1
        if self.compression == "ZSTD":
            options["ZSTD_LEVEL"] = 1
        if self.compression == "JPEG" and self.quality is not None:
            options["JPEG_QUALITY"] = self.quality
        return {**options, **_colors(info, jpeg=self.compression == "JPEG")}


def _placed(info: ImageInfo, window: Window) -> dict[str, object]:
    """Transform or control points, their CRS, and RPCs, for the pixels of a window."""
    transform, rpcs = shifted(info, window), _rpcs(info, window)
    found: dict[str, object] = {} if rpcs is None else {"rpcs": rpcs}
    points = info.gcps or info.corners
    if transform is None and points is not None and points.crs:
        return {**found, "gcps": _points(points, window), "crs": points.crs}
    return {**found, "transform": transform, "crs": info.crs}


def _points(points: ControlPoints, window: Window) -> list[GroundControlPoint]:
    return [
        GroundControlPoint(
            row=y - window.row, col=x - window.col, x=place[0], y=place[1], z=place[2]
        )
        for (x, y), place in zip(points.pixels, points.ground, strict=True)
    ]


def _rpcs(info: ImageInfo, window: Window) -> RPC | None:
    """RPCs for the pixels of a window; None for those of a chip that was turned."""
    a, b, c, d, e, f = info.chip or _IDENTITY
    rpcs = info.rpcs
    if rpcs is None or b or d:
        return None
    lists = ("line_num", "line_den", "samp_num", "samp_den")
    terms = {f"{name}_coeff": list(getattr(rpcs, name)) for name in lists}
    ground = {
        name: getattr(rpcs, name)
        for axis in ("lat", "long", "height")
        for name in (f"{axis}_off", f"{axis}_scale")
    }
    # Lines and samples are counted from the middle of the first pixel, chips from its corner.
    return RPC(
        **terms,
        **ground,
        line_off=(rpcs.line_off + 0.5 - f) / e - 0.5 - window.row,
        samp_off=(rpcs.samp_off + 0.5 - c) / a - 0.5 - window.col,
        line_scale=rpcs.line_scale / e,
        samp_scale=rpcs.samp_scale / a,
    )


def shifted(info: ImageInfo, window: Window) -> Affine | None:
    """The transform of a window of an image; None for an image without one.

    Examples
    --------
    >>> place = (0.5, 0.0, 600000.0, 0.0, -0.5, 5000000.0)
    >>> info = ImageInfo(
    ...     url="", height=9, width=9, bands=1, dtype="uint8", driver="", transform=place
    ... )
    >>> shifted(info, Window(row=2, col=4, height=1, width=1))[2:6:3]
    (600002.0, 4999999.0)
    """
    if info.transform is None or info.transform == _IDENTITY:
        return None
    a, b, c, d, e, f = info.transform
    col, row = window.col, window.row
    return Affine(a, b, a * col + b * row + c, d, e, d * col + e * row + f)


def _nodata(info: ImageInfo) -> float | None:
    """The nodata value as the pixel type holds it; None when no pixel can have it."""
    value = info.nodata
    if value is None:
        return None
    dtype = np.dtype(info.dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        held = limits.min <= value <= limits.max and float(value).is_integer()
        return value if held and abs(value) < _LEAST_EXPONENT else None
    if not np.isfinite(value):
        return value
    # The least float32 is often written with fewer digits than it has, and so lies out of range.
    largest = float(np.finfo(dtype).max)
    near = min(max(value, -largest), largest)
    return near if np.isclose(near, value, rtol=1e-6, atol=0.0) else None


def _colors(info: ImageInfo, *, jpeg: bool) -> dict[str, str]:
    """What the bands are, so that a reader does not take the fourth one for transparency."""
    if jpeg:
        return {"PHOTOMETRIC": "MINISBLACK" if info.bands == 1 else "YCBCR"}
    known = info.colorinterp
    guess = not known and info.dtype == "uint8" and info.bands in {3, 4}
    rgb = guess or known[:3] == ("red", "green", "blue")
    first_extra = 3 if rgb else 1
    alpha = known[first_extra : first_extra + 1] == ("alpha",)
    return {"PHOTOMETRIC": "RGB" if rgb else "MINISBLACK", "ALPHA": "YES" if alpha else "NO"}
