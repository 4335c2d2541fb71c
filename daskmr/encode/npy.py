"""Encode tiles as ``.npy`` files."""

import io
from typing import ClassVar

import numpy as np

from daskmr.core.grid import Size, Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.encode._limits import HEADER, raw_bytes
from daskmr.errors import EncodeError
from daskmr.registry import plugin


@plugin
class NpyEncoder:
    """A ``.npy`` file of the array (band, y, x) of any type, written by ``numpy.save``."""

    content_type: ClassVar[str] = "application/x-npy"

    def check(self, info: ImageInfo) -> None:
        """Accept every image."""

    def payload_bytes(self, info: ImageInfo, tile: Size) -> int:
        """Return the size of the pixels and a header, bytes."""
        return raw_bytes(info, tile) + HEADER

    def encode(self, pixels: Pixels, info: ImageInfo, window: Window) -> bytes:
        """Return the tile in numpy's format, rows in C order."""
        buffer = io.BytesIO()
        try:
            np.save(buffer, np.ascontiguousarray(pixels), allow_pickle=False)
        except ValueError as error:
            place = f"tile at row {window.row}, column {window.col}"
            msg = f"{info.url}: {place} cannot be written as NPY: {error}"
            raise EncodeError(msg) from error
        return buffer.getvalue()
