"""What a tile encoder is."""

from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from daskmr.core.grid import Size, Window
from daskmr.core.imagery import ImageInfo, Pixels


class TileEncoder(Protocol):
    """Turns the pixels of one tile into the bytes that a model endpoint reads.

    Frozen plain data (see `daskmr.registry.plugin`); `encode` is called from many threads at once
    and releases the GIL where it works.
    """

    content_type: ClassVar[str]
    """Media type of the payload."""

    def check(self, info: ImageInfo) -> None:
        """Refuse, at plan time, an image that this format cannot carry.

        Raises
        ------
        RequestError
            Names the format, the compression, and the data type or band count that does not fit.
        """

    def payload_bytes(self, info: ImageInfo, tile: Size) -> int:
        """Upper estimate of the bytes of one full tile."""

    def encode(self, pixels: Pixels, info: ImageInfo, window: Window) -> bytes:
        """The payload of one tile.

        Parameters
        ----------
        pixels
            Shape (band, y, x), dtype of the image.
        info
            The image the tile was cut from.
        window
            Where the tile lies in the full image.

        Raises
        ------
        EncodeError
            When the library cannot write this tile.
        """


Corners = NDArray[np.float64]
"""lon, lat of the middle of the pixels at the upper left, upper right, lower right and lower left,
degrees, shape (4, 2)."""


@runtime_checkable
class PlacedTileEncoder(TileEncoder, Protocol):
    """An encoder whose format tells where the corners of a tile lie on the ground."""

    def encode_placed(
        self, pixels: Pixels, info: ImageInfo, window: Window, *, corners: Corners
    ) -> bytes:
        """The payload of one tile whose corners are known; as `encode` otherwise."""
