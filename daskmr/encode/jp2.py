"""Encode tiles as JPEG 2000."""

from typing import ClassVar, Literal

from daskmr.core.grid import Size, Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.encode._copy import copy_file, writing_env
from daskmr.encode._limits import HEADER, Quality, raw_bytes, require
from daskmr.registry import plugin

_TYPES = ("uint8", "int16", "uint16")


@plugin
class Jp2Encoder:
    """A JPEG 2000 file without georeferencing."""

    content_type: ClassVar[str] = "image/jp2"

    codec: Literal["JP2", "J2K"] = "JP2"
    """Container: JP2, or J2K for the codestream only."""
    quality: Quality = None
    """Share of the bits that is kept, percent; lossless when None."""

    def check(self, info: ImageInfo) -> None:
        """Raise unless the pixels are uint8, int16 or uint16; any number of bands is supported."""
        require(info, "JP2", dtypes=_TYPES, instead="GTIFF or NPY")

    def payload_bytes(self, info: ImageInfo, tile: Size) -> int:
        """Return the size of a tile of noise, the worst case of the compression, bytes."""
        return int(raw_bytes(info, tile) * 1.2) + 64 * info.bands + HEADER

    def encode(self, pixels: Pixels, info: ImageInfo, window: Window) -> bytes:
        """Return the tile as JPEG 2000."""
        lossless: dict[str, object] = {"QUALITY": 100, "REVERSIBLE": "YES", "YCC": "NO"}
        options = lossless if self.quality is None else {"QUALITY": self.quality}
        plain = {"CODEC": self.codec, "GMLJP2": "NO", "GeoJP2": "NO"}
        with writing_env("JP2", info, window):
            return copy_file(pixels, "JP2OpenJPEG", {**plain, **options})
