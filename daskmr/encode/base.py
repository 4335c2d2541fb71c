"""The protocol of tile encoders."""

from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from daskmr.core.grid import Size, Window
from daskmr.core.imagery import ImageInfo, Pixels


class TileEncoder(Protocol):
    """An encoder of the pixels of one tile into the bytes that a model endpoint reads.

    Frozen plain data (see `daskmr.registry.plugin`); `encode` is called from many threads at once
    and should release the GIL.
    """

    content_type: ClassVar[str]
    """Media type of the payload."""

    def check(self, info: ImageInfo) -> None:
        """Raise, at plan time, for an image that the format does not support.

        Raises
        ------
        RequestError
            When the pixel type or the number of bands is not supported; names both and the format.
        """

    def payload_bytes(self, info: ImageInfo, tile: Size) -> int:
        """Return an upper estimate of the size of one full tile, bytes."""

    def encode(self, pixels: Pixels, info: ImageInfo, window: Window) -> bytes:
        """Return the payload of one tile.

        Parameters
        ----------
        pixels
            Shape (band, y, x), dtype of the image.
        info
            The image the tile was cut from.
        window
            Window of the tile in the full image.

        Raises
        ------
        EncodeError
            When the library cannot write this tile.
        """


Corners = NDArray[np.float64]
"""lon, lat of the centres of the pixels at the upper left, upper right, lower right and lower left,
degrees, shape (4, 2)."""


@runtime_checkable
class PlacedTileEncoder(TileEncoder, Protocol):
    """An encoder whose format has the ground coordinates of a tile's corners."""

    def encode_placed(
        self, pixels: Pixels, info: ImageInfo, window: Window, *, corners: Corners
    ) -> bytes:
        """Return the payload of one tile with the ground coordinates of its corners.

        Parameters
        ----------
        pixels, info, window
            As for `encode`.
        corners
            See `Corners`.

        Raises
        ------
        EncodeError
            When the library cannot write this tile.
        """
