"""JPEG 2000 tiles."""

from typing import ClassVar, Literal

from daskmr.core.grid import Size, Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.encode._copy import copied, writing
from daskmr.encode._limits import HEADER, Quality, raw_bytes, require
from daskmr.registry import plugin

_TYPES = ("uint8", "int16", "uint16")


@plugin
class Jp2Encoder:
    """A JPEG 2000 file; pixels only."""

    content_type: ClassVar[str] = "image/jp2"

    codec: Literal["JP2", "J2K"] = "JP2"
    """J2K is the bare codestream."""
    quality: Quality = None
    """Part of the bits that is kept, in percent; nothing is lost when not given."""

    def check(self, info: ImageInfo) -> None:
        """Any number of bands of 8 or 16 bits."""
        require(info, "JP2", dtypes=_TYPES, instead="GTIFF or NPY")

    def payload_bytes(self, info: ImageInfo, tile: Size) -> int:
        """What noise makes of it."""
        return int(raw_bytes(info, tile) * 1.2) + 64 * info.bands + HEADER

    def encode(self, pixels: Pixels, info: ImageInfo, window: Window) -> bytes:
        """The tile as a JPEG 2000."""
        exact = {"QUALITY": 100, "REVERSIBLE": "YES", "YCC": "NO"}
        how = exact if self.quality is None else {"QUALITY": self.quality}
        plain = {"CODEC": self.codec, "GMLJP2": "NO", "GeoJP2": "NO"}
        with writing("JP2", info, window):
            return copied(pixels, "JP2OpenJPEG", {**plain, **how})
