"""Raw outputs of detectors, decoded to boxes, polygons or masks in tile pixels (numpy only).

::

    outputs ─► `split`, one set a tile ─► convention ─► score, tile, overlap ─► clip ─► answer

Coordinates are pixels of the model's input, whose first pixel is that of the tile: x right, y down,
(0, 0) the outer corner of the first pixel. What the input was padded with lies outside the tile.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from daskmr.core.boxes import Boxes, area, bounds, iou

Floats = NDArray[np.float64]
Outputs = Mapping[str, NDArray[Any]]
"""What a model said of one tile, by role, without an axis for the batch."""

_ROLES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "xyxy": {
        "boxes": ("boxes",),
        "scores": ("scores", "confidences"),
        "labels": ("labels", "classes", "class_ids"),
    },
    "centernet": {"wh": ("wh",), "peaks": ("keypoints", "heatmap", "hm", "scores")},
    "masks": {
        "masks": ("masks",),
        "scores": ("scores", "confidences"),
        "labels": ("labels", "classes", "class_ids"),
    },
}
"""Roles of a convention's outputs, and how the name of each ends."""

_RANKS = {"rows": 2, "boxes": 2, "scores": 1, "labels": 1, "wh": 3, "peaks": 3, "masks": 3}
_ROW = 6  # x1, y1, x2, y2, score, class
_INSIDE = 0.5  # a fraction above it is a pixel of the mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which detections of one tile are kept."""

    height: int
    """Rows of the tile."""
    width: int
    """Columns of the tile."""
    input_height: int
    """Rows of the model's input, with its padding."""
    input_width: int
    """Columns of the model's input, with its padding."""
    score_threshold: float
    iou_threshold: float
    max_detections: int
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """N detections, as the model gave them."""

    boxes: Boxes
    scores: Floats
    labels: NDArray[np.int64]
    corners: Floats | None = None
    """Of oriented boxes, shape (N, 4, 2)."""

    def take(self, index: NDArray[Any]) -> "Found":
        """Some of them."""
        corners = None if self.corners is None else self.corners[index]
        return Found(self.boxes[index], self.scores[index], self.labels[index], corners)


def roles(convention: str, names: Sequence[str]) -> Mapping[str, str]:
    """Which output of a model has which role.

    Raises
    ------
    ValueError
        When there is no output for a role, or more than one; lists the outputs.
    """
    if convention not in _ROLES or (convention == "xyxy" and len(names) == 1):
        if len(names) != 1:
            msg = f"{convention} is one output, but the model has {len(names)}: {_listed(names)}"
            raise ValueError(msg)
        return {"rows": names[0]}
    found = {}
    for role, endings in _ROLES[convention].items():
        ending = [name for name in names if name.lower().endswith(tuple(endings))]
        named = [name for name in names if name.lower() in endings] or ending
        if len(named) != 1:
            msg = (
                f"{convention} needs one output whose name ends with {' or '.join(endings)}, but"
                f" the model has {_listed(names)}"
            )
            raise ValueError(msg)
        found[role] = named[0]
    return found


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def split(outputs: Outputs, n_tiles: int) -> Sequence[Outputs]:
    """What was said of each tile of a batch.

    Parameters
    ----------
    outputs
        Arrays by role; for a single tile the axis of the batch may be missing.

    Raises
    ------
    ValueError
        When an output is not one for each tile.
    """
    whole = {role: _batched(role, values, n_tiles) for role, values in outputs.items()}
    return [{role: values[index] for role, values in whole.items()} for index in range(n_tiles)]


def _batched(role: str, values: NDArray[Any], n_tiles: int) -> NDArray[Any]:
    if values.dtype.kind not in "biuf":
        msg = f"the model's {role} have type {values.dtype}, not numbers"
        raise ValueError(msg)
    rank = _RANKS[role]
    if n_tiles == 1 and values.ndim == rank:
        return values[None]
    if values.ndim != rank + 1 or len(values) != n_tiles:
        msg = (
            f"the model's {role} have shape {values.shape}, but {rank} dimensions for each tile of"
            f" a batch of {n_tiles} are wanted"
        )
        raise ValueError(msg)
    return values


def answer(convention: str, outputs: Outputs, rules: Rules) -> Any:
    """What the model found in one tile, as `daskmr.decode.answers.decode` reads it.

    Returns
    -------
    A dict of ``boxes`` or ``masks``, ``scores`` and ``labels``, or a GeoDataFrame of oriented
    boxes; the highest score first.

    Raises
    ------
    ValueError
        When an output has not the shape of the convention.
    """
    return CONVENTIONS[convention](outputs, rules)


def _xyxy(outputs: Outputs, rules: Rules) -> Any:
    """Boxes that are final."""
    if "rows" in outputs:
        rows = _wide(outputs["rows"], "rows", _ROW)
        found = Found(rows[:, :4], rows[:, 4], _whole(rows[:, 5]))
    else:
        boxes, scores = _wide(outputs["boxes"], "boxes", 4), outputs["scores"].astype(np.float64)
        found = Found(boxes, scores, _whole(outputs["labels"]))
    _check_lengths(found)
    return _plain(_kept(found, rules), rules)


def _wide(values: NDArray[Any], role: str, width: int) -> Floats:
    if values.shape[1] != width:
        msg = f"the model's {role} have shape {values.shape}; (N, {width}) is wanted"
        raise ValueError(msg)
    return values.astype(np.float64)


def _check_lengths(found: Found) -> None:
    if not len(found.boxes) == len(found.scores) == len(found.labels):
        msg = (
            f"the model gave {len(found.boxes)} boxes, but {len(found.scores)} scores and"
            f" {len(found.labels)} labels"
        )
        raise ValueError(msg)


def _whole(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Class numbers; -1 for what is no number."""
    finite = np.nan_to_num(labels.astype(np.float64), nan=-1.0, posinf=-1.0, neginf=-1.0)
    return np.rint(np.clip(finite, -1, 2**31)).astype(np.int64)


def _yolo(outputs: Outputs, rules: Rules) -> Any:
    """Centre, size and a score for each class, overlapping."""
    rows = _anchors(outputs["rows"], 4, rules)
    half = rows[:, 2:4] / 2
    boxes = np.hstack([rows[:, :2] - half, rows[:, :2] + half])
    found = _kept(Found(boxes, *_best_class(rows[:, 4:])), rules)

    def overlap(first: int, others: NDArray[Any]) -> Floats:
        return iou(np.broadcast_to(found.boxes[first], (len(others), 4)), found.boxes[others])

    return _plain(found.take(_apart(found, overlap, rules)), rules)


def _yolo_obb(outputs: Outputs, rules: Rules) -> Any:
    """As `_yolo`, with an angle in radians behind the classes, clockwise as seen (y is down)."""
    rows = _anchors(outputs["rows"], 5, rules)
    corners = _corners(rows)
    boxes = np.hstack([corners.min(axis=1), corners.max(axis=1)])
    scores, labels = _best_class(rows[:, 4:-1])
    scores = np.where((rows[:, 2:4] > 0).all(axis=1), scores, -np.inf)
    found = _kept(Found(boxes, scores, labels, corners), rules)
    shapes: NDArray[Any] = np.asarray(shapely.polygons(found.corners), dtype=object)

    def overlap(first: int, others: NDArray[Any]) -> Floats:
        return _oriented_iou(shapes[first], shapes[others])

    kept = _apart(found, overlap, rules)
    return _frame(found.take(kept), shapes[kept], rules)


def _corners(rows: Floats) -> Floats:
    """Corners of oriented boxes, shape (N, 4, 2)."""
    with np.errstate(invalid="ignore"):  # an angle that is not finite
        cos, sin = np.cos(rows[:, -1]), np.sin(rows[:, -1])
    along = np.stack([cos, sin], axis=1) * rows[:, 2:3] / 2
    across = np.stack([-sin, cos], axis=1) * rows[:, 3:4] / 2
    sides = np.stack([along + across, along - across, -along - across, across - along], axis=1)
    corners: Floats = rows[:, None, :2] + sides
    return corners


def _oriented_iou(first: Any, others: NDArray[Any]) -> Floats:
    """Intersection over union of one polygon with others."""
    shared: Floats = np.zeros(len(others))
    near = shapely.intersects(first, others)
    shared[near] = shapely.area(shapely.intersection(first, others[near]))
    union: Floats = shapely.area(first) + shapely.area(others) - shared
    return shared / union


def _anchors(values: NDArray[Any], n_other: int, rules: Rules) -> Floats:
    """Rows of raw detections, shape (A, *n_other* + classes); the model may have them as columns.

    The axis that is as long as the declared classes say, else the shorter one.
    """
    wanted = n_other + len(rules.classes)
    if rules.classes and wanted not in values.shape:
        msg = (
            f"the model's output has shape {values.shape}, but {len(rules.classes)} classes need an"
            f" axis of {wanted}"
        )
        raise ValueError(msg)
    if min(values.shape) <= n_other and not rules.classes:
        msg = f"the model's output of shape {values.shape} has no room for {n_other} and a class"
        raise ValueError(msg)
    first = values.shape[0] == wanted if rules.classes else values.shape[0] <= values.shape[1]
    return (values.T if first else values).astype(np.float64)


def _best_class(scores: Floats) -> tuple[Floats, NDArray[np.int64]]:
    labels = scores.argmax(axis=1)
    return np.take_along_axis(scores, labels[:, None], axis=1)[:, 0], labels.astype(np.int64)


def _centernet(outputs: Outputs, rules: Rules) -> Any:
    """Peaks of scores for each class, and the distances of the sides from their cells' corners.

    Measured: mirrored images give mirrored boxes when the distances count from the first corner of
    a cell; from its centre, boxes lie half a cell too far right and down.
    """
    peaks, sides = outputs["peaks"], outputs["wh"]
    if sides.shape != (4, *peaks.shape[1:]):
        msg = (
            f"the model's wh have shape {sides.shape}, but its scores {peaks.shape};"
            f" {(4, *peaks.shape[1:])} is wanted"
        )
        raise ValueError(msg)
    labels, rows, cols = np.nonzero((peaks >= rules.score_threshold) & (peaks == _pooled(peaks)))
    step_y, step_x = (np.array([rules.input_height, rules.input_width]) / peaks.shape[1:]).tolist()
    corner = np.stack([cols * step_x, rows * step_y], axis=1)
    reach = sides[:, rows, cols].T.astype(np.float64)
    boxes = np.hstack([corner - reach[:, :2], corner + reach[:, 2:]])
    found = Found(boxes, peaks[labels, rows, cols].astype(np.float64), labels.astype(np.int64))
    return _plain(_kept(found, rules), rules)


def _pooled(values: NDArray[Any]) -> NDArray[Any]:
    """The highest of each cell and its 8 neighbours, shape (C, h, w)."""
    framed = np.pad(values, ((0, 0), (1, 1), (1, 1)), mode="edge")
    tall = np.maximum(np.maximum(framed[:, :-2], framed[:, 1:-1]), framed[:, 2:])
    pooled: NDArray[Any] = np.maximum(np.maximum(tall[..., :-2], tall[..., 1:-1]), tall[..., 2:])
    return pooled


def _masks(outputs: Outputs, rules: Rules) -> Any:
    """Masks of instances, as large as the model's input."""
    masks, scores = outputs["masks"], outputs["scores"].astype(np.float64)
    labels = _whole(outputs["labels"])
    if masks.shape[1:] != (rules.input_height, rules.input_width):
        msg = (
            f"the model's masks have shape {masks.shape}, but its input has height"
            f" {rules.input_height} and width {rules.input_width}"
        )
        raise ValueError(msg)
    if not len(masks) == len(scores) == len(labels):
        msg = f"the model gave {len(masks)} masks, {len(scores)} scores and {len(labels)} labels"
        raise ValueError(msg)
    part = masks[:, : rules.height, : rules.width]
    inside = part > _INSIDE if part.dtype.kind == "f" else part != 0
    index = np.flatnonzero((scores >= rules.score_threshold) & inside.any(axis=(1, 2)))
    index = index[np.argsort(-scores[index], kind="stable")][: rules.max_detections]
    return {
        "masks": inside[index],
        "scores": scores[index],
        "labels": _names(labels[index], rules.classes),
    }


def _kept(found: Found, rules: Rules) -> Found:
    """Those with a good score and a part in the tile, the highest score first."""
    usable = np.isfinite(found.boxes).all(axis=1) & (found.scores >= rules.score_threshold)
    usable &= area(_clipped(found.boxes, rules)) > 0
    index = np.flatnonzero(usable)
    return found.take(index[np.argsort(-found.scores[index], kind="stable")])


def _clipped(boxes: Boxes, rules: Rules) -> Boxes:
    return np.clip(boxes, 0.0, np.array([rules.width, rules.height] * 2, dtype=np.float64))


def _apart(
    found: Found, overlap: Callable[[int, NDArray[Any]], Floats], rules: Rules
) -> NDArray[np.int64]:
    """Greedy suppression in each class: no two that are kept overlap by more than the threshold."""
    waiting = np.arange(len(found.scores))
    kept: list[int] = []
    while len(waiting) and len(kept) < rules.max_detections:
        first, waiting = int(waiting[0]), waiting[1:]
        kept.append(first)
        free = found.labels[waiting] != found.labels[first]
        free[~free] = overlap(first, waiting[~free]) <= rules.iou_threshold
        waiting = waiting[free]
    return np.array(kept, dtype=np.int64)


def _plain(found: Found, rules: Rules) -> dict[str, Any]:
    first = found.take(np.arange(min(len(found.scores), rules.max_detections)))
    return {
        "boxes": _clipped(first.boxes, rules),
        "scores": first.scores,
        "labels": _names(first.labels, rules.classes),
    }


def _frame(found: Found, shapes: NDArray[Any], rules: Rules) -> Any:
    """Oriented boxes as a table; one that crosses the edge of the tile is cut there."""
    import geopandas as gpd

    low, high = found.boxes[:, :2], found.boxes[:, 2:]
    crossing = ~((low >= 0) & (high <= [rules.width, rules.height])).all(axis=1)
    tile = shapely.box(0, 0, rules.width, rules.height)
    shapes[crossing] = shapely.intersection(shapes[crossing], tile)
    kept = np.flatnonzero(area(bounds(shapes)) > 0)
    columns = {"label": _names(found.labels[kept], rules.classes), "score": found.scores[kept]}
    return gpd.GeoDataFrame(columns, geometry=shapes[kept], crs=None)


def _names(labels: NDArray[np.int64], classes: Sequence[str]) -> Sequence[int | str]:
    """Names of classes; numbers when none are declared, or for a number without a name."""
    numbers: list[int] = labels.tolist()
    if not classes:
        return numbers
    return [classes[n] if 0 <= n < len(classes) else str(n) for n in numbers]


CONVENTIONS: Mapping[str, Callable[[Outputs, Rules], Any]] = {
    "xyxy": _xyxy,
    "yolo": _yolo,
    "yolo_obb": _yolo_obb,
    "centernet": _centernet,
    "masks": _masks,
}
"""Readers of the conventions by name."""
