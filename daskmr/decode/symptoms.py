"""Signs that an answer does not mean what it says, and answers of which nothing can be read."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import shapely

from daskmr.core.features import Detections
from daskmr.core.grid import Size
from daskmr.decode.shapes import Drop
from daskmr.errors import BadResponseError

FRACTIONS, PERCENT, NO_SCORE = "FRACTIONS", "PERCENT", "NO_SCORE"
NO_AREA, HUGE, UNREAD, CLASS_NUMBERS = "NO_AREA", "HUGE", "UNREAD", "CLASS_NUMBERS"
_SENTENCES: Final[Mapping[str, str]] = {
    FRACTIONS: "all coordinates of {n} are between 0 and 2, such as {example}: are they fractions "
    "of the tile? Answer in its pixels",
    PERCENT: "scores above 1 in {n}, such as {example}: are they percent?",
    NO_SCORE: "scores that are no numbers (NaN, infinite) in {n}",
    NO_AREA: "boxes or polygons without area in {n}, such as {example}",
    HUGE: "boxes many times larger than their tile in {n}, such as {example}",
    UNREAD: "keys that are not read in {n}: {example}",
    CLASS_NUMBERS: "classes are numbers in {n}, such as {example}; name them: classes (--classes)",
}
_FRACTION_PX = 2.0
_LEAST_TILE_PX = 100
"""Least side of a tile in which objects of two pixels at the corner are unlikely."""
_HUGE = 3.0
"""Size of a box in tiles from which on it is odd."""
_OF_ALL = frozenset({FRACTIONS})
"""What is odd only if all answers have it."""


def check_readable(detections: Detections) -> None:
    """Raise when an answer holds something, and nothing of it can be read.

    Raises
    ------
    BadResponseError
        With the reason ``UNREADABLE``, and the first example.
    """
    dropped = {reason: n for reason, n in detections.dropped.items() if reason != Drop.OUTSIDE}
    if len(detections) or not dropped or len(dropped) < len(detections.dropped):
        return
    counts = ", ".join(f"{n:,} x {reason}" for reason, n in sorted(dropped.items()))
    msg = f"nothing of the answer can be read: {counts}, such as {detections.example}"
    raise BadResponseError(msg, reason="UNREADABLE")


def symptoms(detections: Detections, tile: Size, *, has_names: bool) -> dict[str, str]:
    """Return what is odd about the detections of one tile: an example by the name of the symptom.

    Parameters
    ----------
    detections
        Decoded answer.
    tile
        Size of the tile.
    has_names
        Whether the names of class numbers are known.
    """
    odd = dict(detections.symptoms)
    if not len(detections):
        return odd
    boxes, scores = detections.boxes, np.asarray(detections.scores)
    sizes = boxes[:, 2:] - boxes[:, :2]
    if min(tile.height, tile.width) >= _LEAST_TILE_PX and boxes.max() <= _FRACTION_PX:
        odd[FRACTIONS] = _box(boxes[0])
    if (above := scores > 1).any():
        odd[PERCENT] = f"{scores[above][0]:g}"
    if (flat := (sizes <= 0).any(axis=1)).any():
        areal = shapely.get_dimensions(detections.geometry) == 2  # noqa: PLR2004 - polygons
        if (flat & areal).any():
            odd[NO_AREA] = _box(boxes[flat & areal][0])
    if (huge := (sizes > _HUGE * np.array([tile.width, tile.height])).any(axis=1)).any():
        odd[HUGE] = _box(boxes[huge][0])
    numbers = [] if has_names else [label for label in detections.labels if label.isdecimal()]
    if numbers:
        odd[CLASS_NUMBERS] = numbers[0]
    return odd


def sentences(counts: Mapping[str, int], examples: Mapping[str, str], n_tiles: int) -> list[str]:
    """Return a sentence for each symptom of a job.

    Parameters
    ----------
    counts
        Tiles by symptom.
    examples
        The first example of each symptom.
    n_tiles
        Tiles with detections.
    """
    return [
        _SENTENCES[name].format(
            n=f"the {'answers' if n > 1 else 'answer'} for {n:,} tile{'s' if n > 1 else ''}",
            example=examples[name],
        )
        for name, n in sorted(counts.items())
        if name not in _OF_ALL or n == n_tiles
    ]


def _box(box: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> str:
    return str([float(f"{value:.6g}") for value in box])
