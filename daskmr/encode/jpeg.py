"""JPEG tiles."""

from typing import ClassVar

from daskmr.core.grid import Size, Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.encode._copy import copied, writing
from daskmr.encode._limits import HEADER, Quality, raw_bytes, require, whole_blocks
from daskmr.registry import plugin


@plugin
class JpegEncoder:
    """A JPEG of 8 bits; pixels only, with some detail lost."""

    content_type: ClassVar[str] = "image/jpeg"

    quality: Quality = None
    """1 to 100; 75 when not given."""

    def check(self, info: ImageInfo) -> None:
        """Gray or RGB of uint8."""
        require(info, "JPEG", dtypes=["uint8"], bands=[1, 3], instead="PNG, GTIFF or NPY")

    def payload_bytes(self, info: ImageInfo, tile: Size) -> int:
        """The pixels of whole blocks of 16 x 16."""
        return raw_bytes(info, whole_blocks(tile)) + HEADER

    def encode(self, pixels: Pixels, info: ImageInfo, window: Window) -> bytes:
        """The tile as a JPEG."""
        with writing("JPEG", info, window):
            return copied(pixels, "JPEG", {"QUALITY": self.quality or 75})
