"""A tile format: WebP without loss, for models that read pictures."""

import io
from typing import ClassVar

import numpy as np
from PIL import Image

from daskmr.core.grid import Size, Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.errors import RequestError
from daskmr.registry import plugin


@plugin
class WebpEncoder:
    """RGB of 8 bits as WebP, without loss."""

    content_type: ClassVar[str] = "image/webp"

    effort: int = 0
    """0, fastest, to 6, smallest; a tile option."""

    def check(self, info: ImageInfo) -> None:
        """Refuse, before any work, what the format cannot hold."""
        if info.dtype != "uint8" or info.bands != 3:
            msg = f"{info.url}: WEBP takes 3 bands of uint8, not {info.bands} bands of {info.dtype}"
            raise RequestError(msg)

    def payload_bytes(self, info: ImageInfo, tile: Size) -> int:
        """Return the pixels, and some more for noise."""
        return int(tile.height * tile.width * info.bands * 1.2) + 4096

    def encode(self, pixels: Pixels, info: ImageInfo, window: Window) -> bytes:
        """Return the tile as WebP."""
        picture = Image.fromarray(np.ascontiguousarray(np.moveaxis(pixels, 0, -1)))
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", lossless=True, method=self.effort)
        return buffer.getvalue()
