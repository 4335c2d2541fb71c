"""Encode tiles as GeoTIFF."""

from typing import ClassVar, Literal

import numpy as np
from rasterio import Affine
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC

from daskmr.core.grid import Size, Window
from daskmr.core.imagery import ControlPoints, ImageInfo, Pixels
from daskmr.encode._copy import create_file, writing_env
from daskmr.encode._limits import HEADER, Quality, raw_bytes, require, whole_blocks
from daskmr.registry import plugin

_TYPES = (
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float32", "float64", "complex64", "complex128"),
)
_PREDICTORS = {"i": 2, "u": 2, "f": 3}
_GROWTH = {"NONE": 1.0, "LZW": 1.5, "DEFLATE": 1.01, "ZSTD": 1.01, "JPEG": 1.0}
# From here on GDAL writes nodata as -9.2e+18, which it reads as -9 for 64-bit integers.
_LEAST_EXPONENT = 1e18
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_POINT_BYTES = 64


@plugin
class GtiffEncoder:
    """A GeoTIFF with the georeferencing of the tile and no other metadata of the image.

    The transform of the image is shifted to the first pixel of the tile; so are its RPCs, and the
    control points of an image without a transform. CRS and nodata are kept.
    """

    content_type: ClassVar[str] = "image/tiff"

    compression: Literal["NONE", "LZW", "DEFLATE", "ZSTD", "JPEG"] = "NONE"
    """Compression; DEFLATE and ZSTD use their fastest levels, JPEG is lossy."""
    quality: Quality = None
    """Quality of JPEG, 1 to 100; 75 when None."""

    def check(self, info: ImageInfo) -> None:
        """Raise for unsupported types or, with JPEG, for other than 1 or 3 bands of uint8."""
        format_name = f"GTIFF with {self.compression}"
        if self.compression == "JPEG":
            require(info, format_name, dtypes=["uint8"], bands=[1, 3], instead="GTIFF with DEFLATE")
        else:
            require(info, format_name, dtypes=_TYPES, instead="NPY")

    def payload_bytes(self, info: ImageInfo, tile: Size) -> int:
        """Return the size of a tile of noise, the worst case of the compression, bytes."""
        size = whole_blocks(tile) if self.compression == "JPEG" else tile
        points = info.gcps or info.corners
        header = HEADER + (_POINT_BYTES * len(points.pixels) if points else 0)
        # Every strip, at most one a row, has its offset and length in the directory.
        return int(raw_bytes(info, size) * _GROWTH[self.compression]) + 32 * tile.height + header

    def encode(self, pixels: Pixels, info: ImageInfo, window: Window) -> bytes:
        """Return the tile as GeoTIFF, bands interleaved by pixel."""
        with writing_env("GTIFF", info, window):
            placing = {**_georeferencing(info, window), "nodata": _nodata(info)}
            return create_file(pixels, "GTiff", {**placing, **self._options(info, pixels.dtype)})

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


def _georeferencing(info: ImageInfo, window: Window) -> dict[str, object]:
    """Return the transform or control points, their CRS, and the RPCs for a window."""
    transform, rpcs = shifted(info, window), _rpcs(info, window)
    placing: dict[str, object] = {} if rpcs is None else {"rpcs": rpcs}
    points = info.gcps or info.corners
    if transform is None and points is not None and points.crs:
        return {**placing, "gcps": _points(points, window), "crs": points.crs}
    return {**placing, "transform": transform, "crs": info.crs}


def _points(points: ControlPoints, window: Window) -> list[GroundControlPoint]:
    return [
        GroundControlPoint(
            row=y - window.row, col=x - window.col, x=place[0], y=place[1], z=place[2]
        )
        for (x, y), place in zip(points.pixels, points.ground, strict=True)
    ]


def _rpcs(info: ImageInfo, window: Window) -> RPC | None:
    """Return the RPCs for the pixels of a window; None for a rotated chip."""
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
    # Lines and samples are counted from the centre of the first pixel, chips from its corner.
    return RPC(
        **terms,
        **ground,
        line_off=(rpcs.line_off + 0.5 - f) / e - 0.5 - window.row,
        samp_off=(rpcs.samp_off + 0.5 - c) / a - 0.5 - window.col,
        line_scale=rpcs.line_scale / e,
        samp_scale=rpcs.samp_scale / a,
    )


def shifted(info: ImageInfo, window: Window) -> Affine | None:
    """Return the transform of a window of an image; None for an image without one.

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
    """Return the nodata value as a value of the pixel type; None when no pixel can have it."""
    value = info.nodata
    if value is None:
        return None
    dtype = np.dtype(info.dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        is_exact = limits.min <= value <= limits.max and float(value).is_integer()
        return value if is_exact and abs(value) < _LEAST_EXPONENT else None
    if not np.isfinite(value):
        return value
    # The lowest float32 is often written with too few digits, and is then out of range.
    largest = float(np.finfo(dtype).max)
    near = min(max(value, -largest), largest)
    return near if np.isclose(near, value, rtol=1e-6, atol=0.0) else None


def _colors(info: ImageInfo, *, jpeg: bool) -> dict[str, str]:
    """Return colour options, so that readers do not interpret a fourth band as alpha."""
    if jpeg:
        return {"PHOTOMETRIC": "MINISBLACK" if info.bands == 1 else "YCBCR"}
    known = info.colorinterp
    guess = not known and info.dtype == "uint8" and info.bands in {3, 4}
    rgb = guess or known[:3] == ("red", "green", "blue")
    first_extra = 3 if rgb else 1
    alpha = known[first_extra : first_extra + 1] == ("alpha",)
    return {"PHOTOMETRIC": "RGB" if rgb else "MINISBLACK", "ALPHA": "YES" if alpha else "NO"}
