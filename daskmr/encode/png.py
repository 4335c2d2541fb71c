"""Encode tiles as PNG."""

from typing import ClassVar

from daskmr.core.grid import Size, Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.encode._copy import copy_file, writing_env
from daskmr.encode._limits import HEADER, raw_bytes, require
from daskmr.registry import plugin


@plugin
class PngEncoder:
    """A PNG of 8 or 16 bits without georeferencing.

    Compressed at the fastest level: a seventh larger than at the default level, ten times faster.
    """

    content_type: ClassVar[str] = "image/png"

    def check(self, info: ImageInfo) -> None:
        """Raise for other than 1 to 4 bands (gray or RGB, alpha optional) of uint8 or uint16."""
        require(info, "PNG", dtypes=["uint8", "uint16"], bands=[1, 2, 3, 4], instead="GTIFF or NPY")

    def payload_bytes(self, info: ImageInfo, tile: Size) -> int:
        """Return the size of the pixels with a filter byte a row and 1 % overhead, bytes."""
        return int((raw_bytes(info, tile) + tile.height) * 1.01) + HEADER

    def encode(self, pixels: Pixels, info: ImageInfo, window: Window) -> bytes:
        """Return the tile as PNG."""
        with writing_env("PNG", info, window):
            return copy_file(pixels, "PNG", {"ZLEVEL": 1})
