"""Raw outputs of detectors, decoded to boxes, polygons or masks in tile pixels (numpy only).

::

    outputs ─► `split_batch` ─► convention ─► score, tile, overlap filters ─► clip ─► answer

Coordinates are pixels of the model's input, whose first pixel is that of the tile: x right, y down,
(0, 0) the outer corner of the first pixel. What the input was padded with lies outside the tile.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from daskmr.core.arrays import Floats
from daskmr.core.boxes import Boxes, area, bounds, iou

Outputs = Mapping[str, NDArray[Any]]
"""Output arrays of one tile by role, without a batch axis."""

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
"""Roles of a convention's outputs, and the endings of their names."""

_RANKS = {"rows": 2, "boxes": 2, "scores": 1, "labels": 1, "wh": 3, "peaks": 3, "masks": 3}
_ROW = 6  # x1, y1, x2, y2, score, class
_INSIDE = 0.5  # a fraction above it is a pixel of the mask


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions:
    """Sizes of one tile, and the filters of its detections."""

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
class RawDetections:
    """N raw detections, in pixels of the model's input."""

    boxes: Boxes
    scores: Floats
    labels: NDArray[np.int64]
    corners: Floats | None = None
    """Return the corners of oriented boxes, shape (N, 4, 2)."""

    def take(self, index: NDArray[Any]) -> "RawDetections":
        """Return the detections at an index."""
        corners = None if self.corners is None else self.corners[index]
        return RawDetections(self.boxes[index], self.scores[index], self.labels[index], corners)


def output_roles(convention: str, names: Sequence[str]) -> Mapping[str, str]:
    """Return the output name of each role of a convention.

    Raises
    ------
    ValueError
        When there is no output for a role, or more than one; lists the outputs.
    """
    if convention not in _ROLES or (convention == "xyxy" and len(names) == 1):
        if len(names) != 1:
            msg = f"{convention} is one output, but the model has {len(names)}: {_quoted(names)}"
            raise ValueError(msg)
        return {"rows": names[0]}
    matches = {}
    for role, endings in _ROLES[convention].items():
        similar = [name for name in names if name.lower().endswith(tuple(endings))]
        named = [name for name in names if name.lower() in endings] or similar
        if len(named) != 1:
            msg = (
                f"{convention} needs one output whose name ends with {' or '.join(endings)}, but"
                f" the model has {_quoted(names)}"
            )
            raise ValueError(msg)
        matches[role] = named[0]
    return matches


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def split_batch(outputs: Outputs, n_tiles: int) -> Sequence[Outputs]:
    """Split the outputs of a batch into those of each tile.

    Parameters
    ----------
    outputs
        Arrays by role; for a single tile the axis of the batch may be missing.

    Raises
    ------
    ValueError
        When an output is not one for each tile.
    """
    batch = {role: _with_batch_axis(role, values, n_tiles) for role, values in outputs.items()}
    return [{role: values[index] for role, values in batch.items()} for index in range(n_tiles)]


def _with_batch_axis(role: str, values: NDArray[Any], n_tiles: int) -> NDArray[Any]:
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


def decode_outputs(convention: str, outputs: Outputs, options: DecodeOptions) -> Any:
    """Decode the outputs of one tile to an answer that `daskmr.decode.answers.decode` reads.

    Returns
    -------
    A dict of ``boxes`` or ``masks``, ``scores`` and ``labels``, or a GeoDataFrame of oriented
    boxes; the highest score first.

    Raises
    ------
    ValueError
        When an output does not have the shape of the convention.
    """
    return CONVENTIONS[convention](outputs, options)


def _xyxy(outputs: Outputs, options: DecodeOptions) -> Any:
    """Decode boxes that are already filtered."""
    if "rows" in outputs:
        rows = _check_width(outputs["rows"], "rows", _ROW)
        raw = RawDetections(rows[:, :4], rows[:, 4], _class_numbers(rows[:, 5]))
    else:
        boxes, scores = (
            _check_width(outputs["boxes"], "boxes", 4),
            outputs["scores"].astype(np.float64),
        )
        raw = RawDetections(boxes, scores, _class_numbers(outputs["labels"]))
    _check_lengths(raw)
    return _boxes_answer(_filter(raw, options), options)


def _check_width(values: NDArray[Any], role: str, width: int) -> Floats:
    if values.shape[1] != width:
        msg = f"the model's {role} have shape {values.shape}; (N, {width}) is wanted"
        raise ValueError(msg)
    return values.astype(np.float64)


def _check_lengths(raw: RawDetections) -> None:
    if not len(raw.boxes) == len(raw.scores) == len(raw.labels):
        msg = (
            f"the model gave {len(raw.boxes)} boxes, but {len(raw.scores)} scores and"
            f" {len(raw.labels)} labels"
        )
        raise ValueError(msg)


def _class_numbers(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Return class numbers as integers; -1 for NaN and infinity."""
    finite = np.nan_to_num(labels.astype(np.float64), nan=-1.0, posinf=-1.0, neginf=-1.0)
    return np.rint(np.clip(finite, -1, 2**31)).astype(np.int64)


def _yolo(outputs: Outputs, options: DecodeOptions) -> Any:
    """Decode rows of centre, size and a score for each class; suppress overlaps."""
    rows = _anchors(outputs["rows"], 4, options)
    half = rows[:, 2:4] / 2
    boxes = np.hstack([rows[:, :2] - half, rows[:, :2] + half])
    raw = _filter(RawDetections(boxes, *_best_class(rows[:, 4:])), options)

    def overlap(first: int, others: NDArray[Any]) -> Floats:
        return iou(np.broadcast_to(raw.boxes[first], (len(others), 4)), raw.boxes[others])

    return _boxes_answer(raw.take(_suppress(raw, overlap, options)), options)


def _yolo_obb(outputs: Outputs, options: DecodeOptions) -> Any:
    """Decode as `_yolo`, with an angle in radians after the classes, clockwise (y is down)."""
    rows = _anchors(outputs["rows"], 5, options)
    corners = _corners(rows)
    boxes = np.hstack([corners.min(axis=1), corners.max(axis=1)])
    scores, labels = _best_class(rows[:, 4:-1])
    scores = np.where((rows[:, 2:4] > 0).all(axis=1), scores, -np.inf)
    raw = _filter(RawDetections(boxes, scores, labels, corners), options)
    shapes: NDArray[Any] = np.asarray(shapely.polygons(raw.corners), dtype=object)

    def overlap(first: int, others: NDArray[Any]) -> Floats:
        return _oriented_iou(shapes[first], shapes[others])

    kept = _suppress(raw, overlap, options)
    return _oriented_answer(raw.take(kept), shapes[kept], options)


def _corners(rows: Floats) -> Floats:
    """Return the corners of oriented boxes, shape (N, 4, 2)."""
    with np.errstate(invalid="ignore"):  # an angle that is not finite
        cos, sin = np.cos(rows[:, -1]), np.sin(rows[:, -1])
    along = np.stack([cos, sin], axis=1) * rows[:, 2:3] / 2
    across = np.stack([-sin, cos], axis=1) * rows[:, 3:4] / 2
    sides = np.stack([along + across, along - across, -along - across, across - along], axis=1)
    corners: Floats = rows[:, None, :2] + sides
    return corners


def _oriented_iou(first: Any, others: NDArray[Any]) -> Floats:
    """Return the intersection over union of one polygon with each of others."""
    shared: Floats = np.zeros(len(others))
    near = shapely.intersects(first, others)
    shared[near] = shapely.area(shapely.intersection(first, others[near]))
    union: Floats = shapely.area(first) + shapely.area(others) - shared
    return shared / union


def _anchors(values: NDArray[Any], n_other: int, options: DecodeOptions) -> Floats:
    """Return the rows of raw detections, shape (A, *n_other* + classes), of either axis order.

    The values' axis has the length that the declared classes imply, else it is the shorter one.
    """
    n_values = n_other + len(options.classes)
    if options.classes and n_values not in values.shape:
        msg = (
            f"the model's output has shape {values.shape}, but {len(options.classes)} classes need"
            f" an axis of {n_values}"
        )
        raise ValueError(msg)
    if min(values.shape) <= n_other and not options.classes:
        msg = f"the model's output of shape {values.shape} has no room for {n_other} and a class"
        raise ValueError(msg)
    first = values.shape[0] == n_values if options.classes else values.shape[0] <= values.shape[1]
    return (values.T if first else values).astype(np.float64)


def _best_class(scores: Floats) -> tuple[Floats, NDArray[np.int64]]:
    labels = scores.argmax(axis=1)
    return np.take_along_axis(scores, labels[:, None], axis=1)[:, 0], labels.astype(np.int64)


def _centernet(outputs: Outputs, options: DecodeOptions) -> Any:
    """Decode peaks of scores for each class, and distances of the sides from the cells' corners.

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
    labels, rows, cols = np.nonzero((peaks >= options.score_threshold) & (peaks == _pooled(peaks)))
    step_y, step_x = (
        np.array([options.input_height, options.input_width]) / peaks.shape[1:]
    ).tolist()
    corner = np.stack([cols * step_x, rows * step_y], axis=1)
    reach = sides[:, rows, cols].T.astype(np.float64)
    boxes = np.hstack([corner - reach[:, :2], corner + reach[:, 2:]])
    raw = RawDetections(
        boxes, peaks[labels, rows, cols].astype(np.float64), labels.astype(np.int64)
    )
    return _boxes_answer(_filter(raw, options), options)


def _pooled(values: NDArray[Any]) -> NDArray[Any]:
    """Return the maximum of each cell and its 8 neighbours, shape (C, h, w)."""
    framed = np.pad(values, ((0, 0), (1, 1), (1, 1)), mode="edge")
    tall = np.maximum(np.maximum(framed[:, :-2], framed[:, 1:-1]), framed[:, 2:])
    pooled: NDArray[Any] = np.maximum(np.maximum(tall[..., :-2], tall[..., 1:-1]), tall[..., 2:])
    return pooled


def _masks(outputs: Outputs, options: DecodeOptions) -> Any:
    """Decode masks of instances, as large as the model's input."""
    masks, scores = outputs["masks"], outputs["scores"].astype(np.float64)
    labels = _class_numbers(outputs["labels"])
    if masks.shape[1:] != (options.input_height, options.input_width):
        msg = (
            f"the model's masks have shape {masks.shape}, but its input has height"
            f" {options.input_height} and width {options.input_width}"
        )
        raise ValueError(msg)
    if not len(masks) == len(scores) == len(labels):
        msg = f"the model gave {len(masks)} masks, {len(scores)} scores and {len(labels)} labels"
        raise ValueError(msg)
    part = masks[:, : options.height, : options.width]
    inside = part > _INSIDE if part.dtype.kind == "f" else part != 0
    index = np.flatnonzero((scores >= options.score_threshold) & inside.any(axis=(1, 2)))
    index = index[np.argsort(-scores[index], kind="stable")][: options.max_detections]
    return {
        "masks": inside[index],
        "scores": scores[index],
        "labels": _names(labels[index], options.classes),
    }


def _filter(raw: RawDetections, options: DecodeOptions) -> RawDetections:
    """Return the detections that pass the score and touch the tile, the highest score first."""
    usable = np.isfinite(raw.boxes).all(axis=1) & (raw.scores >= options.score_threshold)
    usable &= area(_clipped(raw.boxes, options)) > 0
    index = np.flatnonzero(usable)
    return raw.take(index[np.argsort(-raw.scores[index], kind="stable")])


def _clipped(boxes: Boxes, options: DecodeOptions) -> Boxes:
    return np.clip(boxes, 0.0, np.array([options.width, options.height] * 2, dtype=np.float64))


def _suppress(
    raw: RawDetections,
    overlap: Callable[[int, NDArray[Any]], Floats],
    options: DecodeOptions,
) -> NDArray[np.int64]:
    """Suppress overlaps greedily in each class; return the indices that are kept."""
    remaining = np.arange(len(raw.scores))
    kept: list[int] = []
    while len(remaining) and len(kept) < options.max_detections:
        first, remaining = int(remaining[0]), remaining[1:]
        kept.append(first)
        free = raw.labels[remaining] != raw.labels[first]
        free[~free] = overlap(first, remaining[~free]) <= options.iou_threshold
        remaining = remaining[free]
    return np.array(kept, dtype=np.int64)


def _boxes_answer(raw: RawDetections, options: DecodeOptions) -> dict[str, Any]:
    first = raw.take(np.arange(min(len(raw.scores), options.max_detections)))
    return {
        "boxes": _clipped(first.boxes, options),
        "scores": first.scores,
        "labels": _names(first.labels, options.classes),
    }


def _oriented_answer(raw: RawDetections, shapes: NDArray[Any], options: DecodeOptions) -> Any:
    """Return oriented boxes as a table, clipped to the tile."""
    import geopandas as gpd

    low, high = raw.boxes[:, :2], raw.boxes[:, 2:]
    crossing = ~((low >= 0) & (high <= [options.width, options.height])).all(axis=1)
    tile = shapely.box(0, 0, options.width, options.height)
    shapes[crossing] = shapely.intersection(shapes[crossing], tile)
    kept = np.flatnonzero(area(bounds(shapes)) > 0)
    columns = {
        "label": _names(raw.labels[kept], options.classes),
        "score": raw.scores[kept],
    }
    return gpd.GeoDataFrame(columns, geometry=shapes[kept], crs=None)


def _names(labels: NDArray[np.int64], classes: Sequence[str]) -> Sequence[int | str]:
    """Return the names of classes; numbers when none are declared, or for one without a name."""
    numbers: list[int] = labels.tolist()
    if not classes:
        return numbers
    return [classes[n] if 0 <= n < len(classes) else str(n) for n in numbers]


CONVENTIONS: Mapping[str, Callable[[Outputs, DecodeOptions], Any]] = {
    "xyxy": _xyxy,
    "yolo": _yolo,
    "yolo_obb": _yolo_obb,
    "centernet": _centernet,
    "masks": _masks,
}
"""Readers of the conventions by name."""
