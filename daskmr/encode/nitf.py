"""NITF tiles."""

from typing import ClassVar

from daskmr.core.grid import Size, Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.encode._copy import copied, writing
from daskmr.encode._limits import HEADER, raw_bytes, require
from daskmr.registry import plugin

_TYPES = ("uint8", "int16", "uint16", "int32", "uint32", "float32", "float64", "complex64")
_RGB = ("red", "green", "blue")
# MIL-STD-2500C writes an unknown date as hyphens; a real one would change the bytes every second.
_NO_DATE = "-" * 14


@plugin
class NitfEncoder:
    """An uncompressed NITF 2.1 with pixels only.

    No georeferencing, no TREs and no security marks of the image are carried over yet.
    """

    content_type: ClassVar[str] = "application/vnd.nitf"

    def check(self, info: ImageInfo) -> None:
        """Up to 999 bands of the pixel types that the standard knows."""
        require(info, "NITF", dtypes=_TYPES, bands=range(1, 1000), instead="GTIFF or NPY")

    def payload_bytes(self, info: ImageInfo, tile: Size) -> int:
        """The pixels, and a subheader that grows with the bands."""
        return raw_bytes(info, tile) + 32 * info.bands + HEADER

    def encode(self, pixels: Pixels, info: ImageInfo, window: Window) -> bytes:
        """The tile as a NITF, bands one after the other in each block."""
        bands = pixels.shape[0]
        rgb = bands == len(_RGB) and info.colorinterp in {(), _RGB} and pixels.dtype == "uint8"
        meaning = "RGB" if rgb else ("MONO" if bands == 1 else "MULTI")
        options = {"IC": "NC", "FDT": _NO_DATE, "IDATIM": _NO_DATE, "IREP": meaning}
        with writing("NITF", info, window):
            return copied(pixels, "NITF", options, colors=_RGB if rgb else ())
