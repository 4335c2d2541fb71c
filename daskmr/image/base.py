"""What an image is: a header, a lazy array, and windows that a worker can read."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from daskmr.core.grid import Window
from daskmr.core.imagery import ImageInfo, Pixels


class Source(Protocol):
    """Where a worker gets the pixels of a window from.

    Frozen and picklable; it opens its file on the worker, on first use, one handle for each thread.
    """

    def read(self, window: Window) -> Pixels:
        """Pixels of a window, shape (band, window.height, window.width).

        Raises
        ------
        ImageReadError
            When the file is gone, truncated or corrupt; names the image and the window.
        SourceChangedError
            When it is not the one that was planned.
        """

    def read_valid(self, window: Window) -> NDArray[np.bool_] | None:
        """Which pixels of a window hold data, shape (height, width), by the image's own mask band.

        None when the image has no mask band; a nodata value is not looked at.

        Raises
        ------
        ImageReadError
            As `read`.
        """

    def check(self) -> None:
        """Say nothing when the image still is the one that was planned, as far as can be known.

        Raises
        ------
        SourceChangedError
            When it is another one.
        """

    def header(self) -> ImageInfo:
        """The image's header; reads no pixel.

        Raises
        ------
        ImageError
            When the image cannot be opened, or is refused.
        """
