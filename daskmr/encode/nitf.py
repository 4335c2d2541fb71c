"""NITF tiles."""

from typing import ClassVar, Literal

from daskmr.core.grid import Size, Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.encode import _radar
from daskmr.encode._copy import copied, writing
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
    """A NITF 2.1 that says where it lies, by all that is known of the image.

    RPCs and replacement sensor models are carried as they are, with an ICHIPB that says where in
    their image the tile was cut; corners stand in IGEOLO (whole seconds, some 30 m) and BLOCKA
    (a millionth of a degree), at the height that the sensor model takes for the ground's. Tiles of
    SICD and SIDD images that are not compressed are SICD and SIDD themselves, which takes sarkit
    (``daskmr[sar]``). Security marks are not carried.
    """

    content_type: ClassVar[str] = "application/vnd.nitf"

    compression: Literal["NONE", "JPEG", "J2K"] = "NONE"
    """J2K loses nothing unless `quality` is given. Pixels that JPEG 2000 does not know, such as
    float32, are written as they are."""
    quality: Quality = None
    """Of JPEG, 1 to 100, 75 when not given; of lossy J2K, the part of the bits that is kept in
    percent."""

    def check(self, info: ImageInfo) -> None:
        """Up to 999 bands of the pixel types that the standard knows; JPEG 1 or 3 of uint8."""
        what = f"NITF with {self.compression}"
        if self.compression == "JPEG":
            require(info, what, dtypes=["uint8"], bands=[1, 3], instead="NITF with J2K or GTIFF")
        else:
            require(info, what, dtypes=_TYPES, bands=range(1, 1000), instead="GTIFF or NPY")
        if self._is_radar(info):
            _radar.check(info)

    def payload_bytes(self, info: ImageInfo, tile: Size) -> int:
        """The pixels, a subheader that grows with the bands, and what compression may add."""
        header = 32 * info.bands + HEADER + sum(len(fields) for _, fields in info.rsm)
        if self.compression == "JPEG":
            return raw_bytes(info, whole_blocks(tile)) + header
        if self._is_radar(info):
            return raw_bytes(info, tile) + _radar.header_bytes(info)
        growth = 1.0 if self.compression == "NONE" else 1.2
        return int(raw_bytes(info, tile) * growth) + header

    def encode(self, pixels: Pixels, info: ImageInfo, window: Window) -> bytes:
        """The tile as a NITF, without its corners."""
        return self._encoded(pixels, info, window)

    def encode_placed(
        self, pixels: Pixels, info: ImageInfo, window: Window, *, corners: Corners
    ) -> bytes:
        """The tile as a NITF."""
        if self._is_radar(info):
            return _radar.radar_tile(pixels, info, window, corners=corners)
        return self._encoded(pixels, info, window, corners=corners)

    def _is_radar(self, info: ImageInfo) -> bool:
        return self.compression == "NONE" and _radar.is_carried(info)

    def _encoded(
        self, pixels: Pixels, info: ImageInfo, window: Window, *, corners: Corners | None = None
    ) -> bytes:
        bands = pixels.shape[0]
        rgb = bands == len(_RGB) and info.colorinterp in {(), _RGB} and pixels.dtype == "uint8"
        meaning = "RGB" if rgb else ("MONO" if bands == 1 else "MULTI")
        options = {"FDT": _NO_DATE, "IDATIM": _NO_DATE, **self._coded(pixels)}
        if self.compression != "JPEG":  # it has a color space of its own
            options["IREP"] = meaning
        extensions = {**models(info, window)}
        if corners is not None:
            size = Size(height=window.height, width=window.width)
            options |= igeolo(corners)
            extensions |= blocka(corners, size)
        with writing("NITF", info, window):
            return copied(
                pixels, "NITF", options, colors=_RGB if rgb else (), extensions=extensions
            )

    def _coded(self, pixels: Pixels) -> dict[str, str]:
        """Creation options of the image's compression."""
        if self.compression == "JPEG":
            return {"IC": "C3", "QUALITY": str(self.quality or 75)}
        if self.compression == "NONE" or pixels.dtype.name not in _J2K_TYPES:
            return {"IC": "NC"}
        if self.quality is None:
            return {"IC": "C8", "PROFILE": "NPJE_NUMERICALLY_LOSSLESS"}
        return {"IC": "C8", "QUALITY": str(self.quality)}
