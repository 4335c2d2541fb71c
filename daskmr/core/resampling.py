"""Resampling to another pixel size, with the same result in any window (pure).

A larger pixel is the mean of the area that it covers, a smaller one lies between its neighbours
(bilinear). The weights of a pixel depend only on its position in the whole image.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of an image that is resampled."""

    size: int
    """Pixels of the image."""
    scale: float
    """Pixels of the image in one new pixel."""

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first pixel, and the one after the last, that contribute to some new ones."""
        low, high = start * self.scale, stop * self.scale
        if self.scale < 1:
            low, high = low + self.scale / 2 - 0.5, high - self.scale / 2 + 1.5
        first = min(max(0, int(np.floor(low))), self.size - 1)
        return first, max(first + 1, min(self.size, int(np.ceil(high))))

    def weights(self, start: int, stop: int) -> Any:
        """Return the share of each pixel of the span in each new one.

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


def resample(
    pixels: NDArray[Any], valid: NDArray[np.bool_] | None, *, rows: Any, cols: Any
) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
    """Return the mean of the valid pixels below each new one.

    Parameters
    ----------
    pixels
        Shape (band, y, x).
    valid
        True for pixels with data, of the same shape; None for all.
    rows, cols
        Weights of both axes, shape (new y, y) and (new x, x).

    Returns
    -------
    Pixels of shape (band, new y, new x), and a mask of those with data.
    """
    if valid is None:
        return weighted_sum(pixels, rows=rows, cols=cols), None
    shares = weighted_sum(valid, rows=rows, cols=cols)
    sums = weighted_sum(np.where(valid, pixels, 0), rows=rows, cols=cols)
    has_data = shares > 0.0
    return sums / np.where(has_data, shares, 1.0), has_data


def weighted_sum(pixels: NDArray[Any], *, rows: Any, cols: Any) -> NDArray[np.float64]:
    """Return weighted sums of pixels (band, y, x), shape (band, new y, new x)."""
    sums = np.empty((len(pixels), rows.shape[0], cols.shape[0]))
    for band, plane in enumerate(pixels):
        sums[band] = (cols @ (rows @ plane.astype(np.float64)).T).T
    return sums
