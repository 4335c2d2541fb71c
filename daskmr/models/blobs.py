"""A detector of small compact objects that are brighter or darker than their surroundings.

The response of a difference of two Gaussians is largest at the centre of a blob of the configured
size. Each local maximum is a candidate; a patch around it gives the level of the ground, the pixels
of the object (those above half its height over the ground), and so its box. Objects that extend
beyond the patch, such as a road or the edge of a field, are not small.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from daskmr.core.boxes import Boxes, iou
from daskmr.core.imagery import Pixels
from daskmr.models.base import feature_class, feature_collection
from daskmr.registry import plugin

_Grey = NDArray[np.float32]

_SIGNS = {"bright": np.float32(1), "dark": np.float32(-1)}
_WIDER = 1.6  # ratio of the Gaussians; the difference is then near the Laplacian (Marr, Hildreth)
_SIGMA = 1.4826  # standard deviation of a normal distribution, in median absolute deviations
_STEP = 3  # sampling step, pixels, to estimate the noise
_ROUNDING = 1e-5  # of the largest grey: what float32 filters leave on constant ground
_MORE = 4  # candidates for each of `max_objects`
_PATCH, _GROUND, _CORE = 1.6, 1.2, 0.15  # radii in object sizes: patch, ring of ground, summit
_STANDS_OUT = 2.0  # height over the ground, in answers of the filter: 3 for a disc of its size
_CALM_PX = 0.7  # sigma that quiets single pixels before outlines are drawn
_HALF = 0.5  # of the object's height: where its outline runs
_SAME = 0.3  # overlap (IoU) from which two candidates are one object
_BATCH = 64  # patches at a time, for memory
_IN_PLANE = np.array([np.zeros((3, 3)), [[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.zeros((3, 3))])


@plugin
class Blobs:
    """Find small objects by their contrast."""

    thread_safe: ClassVar[bool] = True

    size_px: Annotated[float, Field(ge=2, le=100)] = 10.0
    """Diameter of the objects, pixels; half and twice this size are detected as well."""
    threshold: Annotated[float, Field(gt=0)] = 8.0
    """Least contrast, in standard deviations of the filtered tile (robust)."""
    polarity: Literal["bright", "dark", "both"] = "both"
    """Objects brighter than the ground, darker, or both."""
    max_objects: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Largest number of objects in one tile; those of least contrast are left out."""

    def detect(self, pixels: Pixels) -> dict[str, Any]:
        """Return the boxes of the objects, highest score first.

        The score is ``c / (c + threshold)`` of the contrast c in standard deviations: 0.5 at the
        threshold, and near 1 for obvious objects.
        """
        grey = _grey(pixels)
        answer, noise = self._filtered(grey)
        features: list[dict[str, Any]] = []
        for name, sign in _SIGNS.items():
            if self.polarity in {name, "both"}:
                boxes, contrast = self._objects(sign * grey, sign * answer, noise)
                contrast /= noise
                scores = contrast / (contrast + self.threshold)
                features += [
                    {"imageBBox": box, "featureClasses": feature_class(f"{name}_object", score)}
                    for box, score in zip(boxes.tolist(), scores.tolist(), strict=True)
                ]
        features.sort(key=lambda feature: -float(feature["featureClasses"][0]["score"]))
        return feature_collection(features[: self.max_objects])

    def _filtered(self, grey: _Grey) -> tuple[_Grey, float]:
        """Return the difference of Gaussians, and its standard deviation without the objects."""
        sigma = self.size_px / np.sqrt(8)  # a disc responds most to a Laplacian of radius / sqrt 2
        inner = ndimage.gaussian_filter(grey, sigma / np.sqrt(_WIDER), truncate=3)
        answer: _Grey = inner - ndimage.gaussian_filter(grey, sigma * np.sqrt(_WIDER), truncate=3)
        sample = answer[::_STEP, ::_STEP]
        noise = _SIGMA * float(np.median(np.abs(sample - np.median(sample))))
        floor = max(_ROUNDING * float(np.abs(grey).max()), float(np.finfo(np.float32).tiny))
        return answer, max(noise, floor)

    def _objects(
        self, grey: _Grey, answer: _Grey, noise: float
    ) -> tuple[Boxes, NDArray[np.float64]]:
        """Return the boxes of bright objects and the filter's response there, highest first."""
        highest = ndimage.maximum_filter(answer, size=2 * int(self.size_px / 2) + 1)
        rows, cols = np.nonzero((answer == highest) & (answer > self.threshold * noise))
        answers = answer[rows, cols].astype(np.float64)
        first = np.lexsort((cols, rows, -answers))[: _MORE * self.max_objects]
        peaks = _Peaks(rows=rows[first], cols=cols[first], answers=answers[first])
        boxes = _outlines(grey, peaks, self.size_px)
        whole = np.flatnonzero(np.isfinite(boxes).all(axis=1))
        single = whole[_distinct(boxes[whole])]
        return boxes[single], peaks.answers[single]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Peaks:
    """N local maxima of the filter's response."""

    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    answers: NDArray[np.float64]


def _grey(pixels: Pixels) -> _Grey:
    """Return the mean of the first three bands; the modulus if complex, the median for NaN."""
    bands = np.abs(pixels[:3]) if np.iscomplexobj(pixels) else pixels[:3]
    with np.errstate(over="ignore", invalid="ignore"):  # non-finite values are replaced below
        grey: _Grey = bands.mean(axis=0, dtype=np.float32)
    known = np.isfinite(grey)
    if not known.all():
        grey = np.where(known, grey, np.median(grey[known]) if known.any() else np.float32(0))
    return grey


def _outlines(grey: _Grey, peaks: _Peaks, size_px: float) -> Boxes:
    """Return the boxes of the bright objects at the peaks; NaN for objects that are not compact."""
    half = int(np.ceil(_PATCH * size_px))
    # Mirrored at the edge of the tile, as the filters do: an object cut there stays compact.
    padded = np.pad(ndimage.gaussian_filter(grey, _CALM_PX), half, mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * half + 1, 2 * half + 1))
    boxes: Boxes = np.full((len(peaks.rows), 4), np.nan)
    for start in range(0, len(boxes), _BATCH):
        part = slice(start, start + _BATCH)
        patches = windows[peaks.rows[part], peaks.cols[part]]
        boxes[part] = _edges(patches, _STANDS_OUT * peaks.answers[part], size_px)
    boxes += np.stack([peaks.cols, peaks.rows, peaks.cols, peaks.rows], axis=1) - half
    return np.clip(boxes, 0.0, np.tile(grey.shape[::-1], 2))


def _edges(patches: _Grey, least: NDArray[np.float64], size_px: float) -> Boxes:
    """Boxes of the objects in the middle of patches, shape (N, y, x), in pixels of the patch.

    NaN for an object lower than `least`: the filter also answers beside an object of the other
    kind, where nothing stands out.
    """
    level, height = _levels(patches, size_px)
    parts, _ = ndimage.label(level > _HALF, structure=_IN_PLANE)
    middle = parts[:, parts.shape[1] // 2, parts.shape[2] // 2][:, None, None]
    inside = (parts == middle) & (middle > 0)
    level = np.where(ndimage.binary_dilation(inside, structure=_IN_PLANE), level, 0.0)
    x_min, x_max = _crossings(level.max(axis=1), inside.any(axis=1))
    y_min, y_max = _crossings(level.max(axis=2), inside.any(axis=2))
    boxes: Boxes = np.stack([x_min, y_min, x_max, y_max], axis=1)
    boxes[height < least] = np.nan
    return boxes


def _levels(patches: _Grey, size_px: float) -> tuple[_Grey, _Grey]:
    """Patches with the ground at 0 and the summit in their middle at 1; its height, shape (N,)."""
    half = patches.shape[1] // 2
    away = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1])
    ground = np.median(patches[:, away >= _GROUND * size_px], axis=1)
    height = patches[:, away <= _CORE * size_px].mean(axis=1) - ground
    with np.errstate(divide="ignore", invalid="ignore"):  # no height: refused by the caller
        return (patches - ground[:, None, None]) / height[:, None, None], height


def _crossings(
    level: NDArray[np.float64], inside: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where profiles, shape (N, pixel), rise above half and fall below it again.

    Between the centres of two pixels the level is taken to be linear. NaN for a profile that is
    above half at its ends, or nowhere.
    """
    row = np.arange(len(level))
    first = inside.argmax(axis=1)
    last = inside.shape[1] - 1 - inside[:, ::-1].argmax(axis=1)
    closed = inside.any(axis=1) & ~inside[:, 0] & ~inside[:, -1]
    first, last = np.where(closed, first, 1), np.where(closed, last, inside.shape[1] - 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        rise = (level[row, first] - _HALF) / (level[row, first] - level[row, first - 1])
        fall = (level[row, last] - _HALF) / (level[row, last] - level[row, last + 1])
    centre = 0.5  # of a pixel, from its outer corner
    low = np.where(closed, first + centre - rise, np.nan)
    high = np.where(closed, last + centre + fall, np.nan)
    return low, high


def _distinct(boxes: Boxes) -> list[int]:
    """Return indices of boxes, each the first of those that share its object."""
    kept: list[int] = []
    for index, box in enumerate(boxes):  # each depends on those kept before it
        rivals = boxes[kept]
        if not (iou(rivals, np.broadcast_to(box, rivals.shape)) > _SAME).any():
            kept.append(index)
    return kept
