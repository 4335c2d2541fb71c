"""Pixels of another size: each a mean of those below it, whatever window it is computed in (pure).

A larger pixel is the mean of the area that it covers, a smaller one lies between its neighbours
(bilinear). The weights of a pixel depend on its place in the whole image alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of an image that is brought to another pixel size."""

    size: int
    """Pixels that there are."""
    scale: float
    """How many of them make one."""

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """First pixel, and the one after the last, that some new ones are made of."""
        low, high = start * self.scale, stop * self.scale
        if self.scale < 1:
            low, high = low + self.scale / 2 - 0.5, high - self.scale / 2 + 1.5
        first = min(max(0, int(np.floor(low))), self.size - 1)
        return first, max(first + 1, min(self.size, int(np.ceil(high))))

    def weights(self, start: int, stop: int) -> Any:
        """Share of each pixel of the span in each new one.

        Returns
        -------
        scipy.sparse.csr_array of shape (stop - start, span). A product with it adds up in the order
        of the pixels, whatever the span, which a dense one does not.
        """
        from scipy.sparse import csr_array

        first, last = self.span(start, stop)
        old = np.arange(first, last, dtype=np.float64)
        new = np.arange(start, stop, dtype=np.float64)[:, None]
        if self.scale < 1:
            centre = np.clip((new + 0.5) * self.scale - 0.5, 0, self.size - 1)
            return csr_array(np.maximum(0.0, 1.0 - np.abs(old - centre)))
        end = np.minimum((new + 1.0) * self.scale, self.size)
        covered = np.minimum(old + 1.0, end) - np.maximum(old, new * self.scale)
        return csr_array(np.maximum(0.0, covered) / (end - new * self.scale))


def resampled(
    pixels: NDArray[Any], valid: NDArray[np.bool_] | None, *, rows: Any, cols: Any
) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
    """Means of the valid pixels below each new one.

    Parameters
    ----------
    pixels
        Shape (band, y, x).
    valid
        Which of them hold data, of the same shape; None for all.
    rows, cols
        Weights of both axes, shape (new y, y) and (new x, x).

    Returns
    -------
    Pixels of shape (band, new y, new x), and which of them hold data.
    """
    if valid is None:
        return summed(pixels, rows=rows, cols=cols), None
    shares = summed(valid, rows=rows, cols=cols)
    sums = summed(np.where(valid, pixels, 0), rows=rows, cols=cols)
    is_seen = shares > 0.0
    return sums / np.where(is_seen, shares, 1.0), is_seen


def summed(pixels: NDArray[Any], *, rows: Any, cols: Any) -> NDArray[np.float64]:
    """Weighted sums of pixels (band, y, x), shape (band, new y, new x)."""
    found = np.empty((len(pixels), rows.shape[0], cols.shape[0]))
    for band, plane in enumerate(pixels):
        found[band] = (cols @ (rows @ plane.astype(np.float64)).T).T
    return found
