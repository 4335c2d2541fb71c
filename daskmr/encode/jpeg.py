"""Encode tiles as JPEG."""

from typing import ClassVar

from daskmr.core.grid import Size, Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.encode._copy import copy_file, writing_env
from daskmr.encode._limits import HEADER, Quality, raw_bytes, require, whole_blocks
from daskmr.registry import plugin


@plugin
class JpegEncoder:
    """A JPEG of 8 bits, lossy, without georeferencing."""

    content_type: ClassVar[str] = "image/jpeg"

    quality: Quality = None
    """Quality, 1 to 100; 75 when None."""

    def check(self, info: ImageInfo) -> None:
        """Raise for other than 1 or 3 bands of uint8."""
        require(info, "JPEG", dtypes=["uint8"], bands=[1, 3], instead="PNG, GTIFF or NPY")

    def payload_bytes(self, info: ImageInfo, tile: Size) -> int:
        """Return the size of the uncompressed 16 x 16 blocks, bytes."""
        return raw_bytes(info, whole_blocks(tile)) + HEADER

    def encode(self, pixels: Pixels, info: ImageInfo, window: Window) -> bytes:
        """Return the tile as JPEG."""
        with writing_env("JPEG", info, window):
            return copy_file(pixels, "JPEG", {"QUALITY": self.quality or 75})
