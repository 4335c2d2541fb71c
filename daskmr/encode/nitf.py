"""Encode tiles as NITF."""

from typing import ClassVar, Literal

from daskmr.core.grid import Size, Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.encode import _radar
from daskmr.encode._copy import copy_file, writing_env
from daskmr.encode._extensions import blocka, igeolo, models
from daskmr.encode._limits import HEADER, Quality, raw_bytes, require, whole_blocks
from daskmr.encode.base import Corners
from daskmr.registry import plugin

_TYPES = ("uint8", "int16", "uint16", "int32", "uint32", "float32", "float64", "complex64")
_J2K_TYPES = ("uint8", "int16", "uint16")
_RGB = ("red", "green", "blue")
# MIL-STD-2500C writes an unknown date as hyphens; a real one would change the bytes every second.
_NO_DATE = "-" * 14


@plugin
class NitfEncoder:
    """A NITF 2.1 with all georeferencing of the image.

    RPCs and replacement sensor models are copied unchanged, with an ICHIPB for the position of the
    tile in their image; corners are in IGEOLO (whole seconds, about 30 m) and BLOCKA (1e-6
    degrees), at the ground height of the sensor model. Tiles of SICD and SIDD images without
    compression are SICD and SIDD as well, which needs sarkit (``daskmr[sar]``). Security marks are
    not copied.
    """

    content_type: ClassVar[str] = "application/vnd.nitf"

    compression: Literal["NONE", "JPEG", "J2K"] = "NONE"
    """Compression; J2K is lossless unless `quality` is set. Pixel types that JPEG 2000 does not
    support, such as float32, are not compressed."""
    quality: Quality = None
    """Quality of JPEG, 1 to 100, 75 when None; of lossy J2K, the share of the bits that is kept,
    percent."""

    def check(self, info: ImageInfo) -> None:
        """Raise for unsupported pixel types or bands (at most 999), or broken radar metadata."""
        format_name = f"NITF with {self.compression}"
        if self.compression == "JPEG":
            require(
                info, format_name, dtypes=["uint8"], bands=[1, 3], instead="NITF with J2K or GTIFF"
            )
        else:
            require(info, format_name, dtypes=_TYPES, bands=range(1, 1000), instead="GTIFF or NPY")
        if self._is_radar(info):
            _radar.check(info)

    def payload_bytes(self, info: ImageInfo, tile: Size) -> int:
        """Return an upper estimate of the size of a tile with its headers, bytes."""
        header = 32 * info.bands + HEADER + sum(len(fields) for _, fields in info.rsm)
        if self.compression == "JPEG":
            return raw_bytes(info, whole_blocks(tile)) + header
        if self._is_radar(info):
            return raw_bytes(info, tile) + _radar.header_bytes(info)
        growth = 1.0 if self.compression == "NONE" else 1.2
        return int(raw_bytes(info, tile) * growth) + header

    def encode(self, pixels: Pixels, info: ImageInfo, window: Window) -> bytes:
        """Return the tile as NITF without corners."""
        return self._encode(pixels, info, window)

    def encode_placed(
        self, pixels: Pixels, info: ImageInfo, window: Window, *, corners: Corners
    ) -> bytes:
        """Return the tile as NITF with its corners."""
        if self._is_radar(info):
            return _radar.radar_tile(pixels, info, window, corners=corners)
        return self._encode(pixels, info, window, corners=corners)

    def _is_radar(self, info: ImageInfo) -> bool:
        return self.compression == "NONE" and _radar.is_carried(info)

    def _encode(
        self, pixels: Pixels, info: ImageInfo, window: Window, *, corners: Corners | None = None
    ) -> bytes:
        bands = pixels.shape[0]
        rgb = bands == len(_RGB) and info.colorinterp in {(), _RGB} and pixels.dtype == "uint8"
        meaning = "RGB" if rgb else ("MONO" if bands == 1 else "MULTI")
        options = {"FDT": _NO_DATE, "IDATIM": _NO_DATE, **self._compression_options(pixels)}
        if self.compression != "JPEG":  # JPEG sets its own color space
            options["IREP"] = meaning
        extensions = {**models(info, window)}
        if corners is not None:
            size = window.size
            options |= igeolo(corners)
            extensions |= blocka(corners, size)
        with writing_env("NITF", info, window):
            return copy_file(
                pixels, "NITF", options, colors=_RGB if rgb else (), extensions=extensions
            )

    def _compression_options(self, pixels: Pixels) -> dict[str, str]:
        """Return GDAL's creation options of the compression."""
        if self.compression == "JPEG":
            return {"IC": "C3", "QUALITY": str(self.quality or 75)}
        if self.compression == "NONE" or pixels.dtype.name not in _J2K_TYPES:
            return {"IC": "NC"}
        if self.quality is None:
            return {"IC": "C8", "PROFILE": "NPJE_NUMERICALLY_LOSSLESS"}
        return {"IC": "C8", "QUALITY": str(self.quality)}
