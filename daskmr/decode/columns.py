"""Read answers given as columns, and check the detections of every answer."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import isfinite, nan
from typing import Any, cast

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from daskmr.core.boxes import Boxes, bounds
from daskmr.core.features import Detections
from daskmr.core.grid import Size
from daskmr.decode.shapes import Drop, Unusable, is_number
from daskmr.decode.symptoms import NO_SCORE
from daskmr.errors import BadResponseError
from daskmr.validation import shortened

MAX_FEATURES = 100_000
"""Largest number of features in the answer for one tile."""

REACH_PX = 100_000.0
"""Largest distance of a coordinate from its tile; far beyond it, floats lose pixels."""

TOUCH_PX = 1.0
"""Distance from its tile at which a box still counts as touching it: models round."""

_MAX_DIMENSIONS = 8
_MAX_EXAMPLE = 200
_PLAIN = frozenset({int, float, bool, type(None)})  # types of JSON numbers; null is NaN


@dataclass(frozen=True, slots=True)
class Reading:
    """Context of an answer: its tile, class names and binary data."""

    tile: Size
    """Size of the tile that the model was called with."""
    classes: tuple[str, ...] = ()
    """Names of class numbers."""
    tail: bytes = b""
    """Raw tensors after the JSON of the answer."""
    is_local: bool = False
    """Whether a function of this process answered, whose plain ``geometry`` is in tile pixels."""


def refusal(message: str) -> BadResponseError:
    """Return the error that refuses a whole answer."""
    return BadResponseError(message, reason="BAD_RESPONSE")


def check_count(n_features: int) -> None:
    """Refuse an answer of too many features."""
    if n_features > MAX_FEATURES:
        msg = f"the answer holds {n_features} features, more than {MAX_FEATURES} for one tile"
        raise refusal(msg)


def usable(detections: Detections, tile: Size) -> Detections:
    """Return the detections that touch the tile, unclipped, their texts encodable as UTF-8."""
    size = np.array([tile.width, tile.height])
    corners = np.hstack([detections.boxes, bounds(detections.geometry)]).reshape(-1, 4, 2)
    near = ((corners >= -REACH_PX) & (corners <= size + REACH_PX)).all(axis=(1, 2))
    low, high = detections.boxes[:, :2], detections.boxes[:, 2:]
    near &= ((high >= -TOUCH_PX) & (low <= size + TOUCH_PX)).all(axis=1)
    kept = np.flatnonzero(near).tolist()
    n_far = len(detections) - len(kept)
    far = abbreviated(detections.boxes[~near][0].tolist()) if n_far else ""
    return Detections(
        geometry=detections.geometry[kept] if n_far else detections.geometry,
        boxes=detections.boxes[kept] if n_far else detections.boxes,
        labels=_encodable([detections.labels[i] for i in kept]),
        scores=[detections.scores[i] for i in kept],
        classes=_encodable([detections.classes[i] for i in kept]),
        properties=_encodable([detections.properties[i] for i in kept]),
        dropped={**detections.dropped, **({str(Drop.OUTSIDE): n_far} if n_far else {})},
        example=detections.example or far,
        symptoms=detections.symptoms,
    )


def abbreviated(value: object) -> str:
    """Return the beginning of a value's text, on one line."""
    return shortened(" ".join(repr(value).split()), _MAX_EXAMPLE)


def _encodable(texts: Sequence[str]) -> Sequence[str]:
    """Return the texts with lone surrogates replaced: JSON allows them, Arrow does not."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return [text.encode("utf-8", "replace").decode() for text in texts]
    return texts


def _json_default(value: object) -> object:
    """Convert numpy and pandas values for `json`, which calls this for types it does not know."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if value is pd.NA or value is pd.NaT:
        return None
    msg = f"a property is a {type(value).__name__}, which JSON cannot hold"
    raise TypeError(msg)


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_json_default
)


def json_text(value: object) -> str:
    """Return JSON in the form of `features.dumps`; NaN and infinity become null."""
    try:
        try:
            return _ENCODER.encode(value)
        except ValueError:
            return _ENCODER.encode(_without_nan(value))
    except (TypeError, ValueError) as error:
        msg = f"the answer cannot be written as JSON: {error}"
        raise refusal(msg) from None


def _without_nan(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float | np.floating) and not isfinite(value) else value


def nested(value: Sequence[object], name: str) -> tuple[tuple[int, ...], Sequence[object]]:
    """Return the shape of nested lists, and their innermost values.

    numpy is not used here: it converts text to numbers, and a single long text among many numbers
    would make it allocate gigabytes.
    """
    level, shape = value, [len(value)]
    while level:
        types = set(map(type, level))
        if any(hasattr(kind, "__array__") for kind in types):
            level = [_to_list(part) for part in level]
            types = set(map(type, level))
        if types.isdisjoint({list, tuple}):
            break
        rows = [part for part in level if isinstance(part, list | tuple)]
        if len(rows) < len(level) or len(set(map(len, rows))) > 1 or len(shape) == _MAX_DIMENSIONS:
            msg = f"{name} of the answer are lists of different lengths, not an array"
            raise refusal(msg)
        shape.append(len(rows[0]))
        level = [*chain.from_iterable(rows)]
    return tuple(shape), level


def _to_list(part: object) -> object:
    return np.asarray(part).tolist() if hasattr(type(part), "__array__") else part


def numbers(value: object, name: str) -> NDArray[Any]:
    """Return an array of numbers; null is NaN.

    Parameters
    ----------
    value
        Nested lists, or any value that numpy converts to an array.
    name
        Name of the numbers in error messages, in the plural.
    """
    try:
        array = _array(value, name)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        if isinstance(error, RecursionError):
            raise
        msg = f"{name} of the answer are a {type(value).__name__} that is no array: {error}"
        raise refusal(msg) from None
    if array.dtype.kind not in "biuf":
        msg = (
            f"{name} of the answer are a {type(value).__name__} of shape {array.shape} and type"
            f" {array.dtype}, not numbers"
        )
        raise refusal(msg)
    return array


def _array(value: object, name: str) -> NDArray[Any]:
    if not isinstance(value, list | tuple):
        return np.asarray(value)
    shape, flat = nested(value, name)
    types = set(map(type, flat))
    for kind in types - _PLAIN:
        msg = f"{name} of the answer contain a {kind.__name__}, not only numbers"
        raise refusal(msg)
    is_whole = bool(types) and types <= {int, bool}
    return np.array(flat, dtype=None if is_whole else np.float64).reshape(shape)


def class_name(value: object, classes: Sequence[str]) -> str:
    """Return the name of a class from its name or number; "" for None."""
    if value is None or isinstance(value, str):
        return str(value or "")
    if not is_number(value):
        raise Unusable(Drop.BAD_CLASSES)
    try:
        number = float(cast("float", value))
    except OverflowError:
        raise Unusable(Drop.BAD_CLASSES) from None
    if not number.is_integer():
        return f"{number:g}" if isfinite(number) else ""
    return classes[int(number)] if 0 <= number < len(classes) else str(int(number))


def from_frame(answer: gpd.GeoDataFrame, reading: Reading) -> Detections:
    """Return the detections of a table; columns besides geometry, label, score are properties."""
    _check_frame(answer)
    flat = shapely.force_2d(np.asarray(answer.geometry.array, dtype=object))
    values, owner = shapely.get_coordinates(flat, return_index=True)
    infinite = np.zeros(len(flat), dtype=bool)
    infinite[owner[~np.isfinite(values).all(axis=1)]] = True
    missing = shapely.is_missing(flat) | shapely.is_empty(flat)
    reasons = np.select([missing, infinite], [Drop.NO_SHAPE, Drop.NOT_FINITE], "")
    columns = answer.columns
    others = answer.drop(columns=[answer.active_geometry_name, "label", "score"], errors="ignore")
    labels = answer["label"].tolist() if "label" in columns else [""] * len(answer)
    scores = _score_column(answer["score"]) if "score" in columns else np.full(len(answer), nan)
    table = Table(
        reasons,
        label_column(labels, reading.classes),
        scores,
        # Up to pandas 2.2 a table without columns has no records.
        [json_text(row) for row in pd.DataFrame(others).to_dict("records") or [{}] * len(answer)],
        symptoms=odd_scores(scores) if "score" in columns else {},
    )
    return table.detections(_lines(flat[reasons == ""]), reading.tile)


def _check_frame(answer: gpd.GeoDataFrame) -> None:
    """Refuse a table that is too long, or not in tile pixels."""
    check_count(len(answer))
    if not answer.columns.is_unique:
        msg = f"the answer is a GeoDataFrame with a column twice: {[*map(str, answer.columns)]}"
        raise refusal(msg)
    if answer.active_geometry_name is None or answer.crs is not None:
        problem = "without geometry" if answer.active_geometry_name is None else f"in {answer.crs}"
        msg = f"the answer is a GeoDataFrame {problem}; expected tile pixels and CRS None"
        raise refusal(msg)


def odd_scores(scores: NDArray[np.float64]) -> dict[str, str]:
    """Return the symptom of scores that the model gave and that are no numbers."""
    odd = scores[~np.isfinite(scores)]
    return {NO_SCORE: f"{odd[0]:g}"} if len(odd) else {}


def _lines(geometry: NDArray[Any]) -> NDArray[Any]:
    """Return the geometries with linear rings as line strings, as GeoJSON has no rings."""
    for index in np.flatnonzero(shapely.get_type_id(geometry) == shapely.GeometryType.LINEARRING):
        geometry[index] = shapely.LineString(geometry[index])
    return geometry


def _score_column(values: object) -> NDArray[np.float64]:
    """Return the scores; NaN for a missing one."""
    try:
        numbers = pd.to_numeric(pd.Series(np.asarray(values)))
        return numbers.to_numpy(dtype=np.float64, na_value=nan)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"scores of the answer are no numbers: {error}"
        raise refusal(msg) from None


def label_column(values: Sequence[object], classes: Sequence[str]) -> list[str]:
    """Return the names of classes; "" for a missing one."""
    return [_label(value, classes) for value in values]


def _label(value: object, classes: Sequence[str]) -> str:
    if isinstance(value, str) or value is None:
        return str(value or "")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Mapping | list | tuple | np.ndarray):
        msg = f"labels of the answer contain a {type(value).__name__}, not only names or numbers"
        raise refusal(msg)
    if not is_number(value):
        return "" if value is pd.NA or value is pd.NaT else str(value)
    try:
        return class_name(value, classes)
    except Unusable:
        msg = "labels of the answer contain a number that is too large for a class"
        raise refusal(msg) from None


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of detections, and the reason why a row is unusable ("" for a usable row)."""

    reasons: NDArray[np.str_]
    labels: Sequence[str]
    scores: NDArray[np.float64]
    properties: Sequence[str]
    rows: NDArray[np.float64] | None = None
    """Numbers of the rows, for an example of an unusable one."""
    symptoms: Mapping[str, str] = field(default_factory=dict)
    """What the reader found odd."""

    def detections(
        self, geometry: NDArray[Any], tile: Size, *, boxes: Boxes | None = None
    ) -> Detections:
        """Return the detections of the usable rows.

        Parameters
        ----------
        geometry
            Geometries of the usable rows, shapely objects of shape (N,), in tile pixels.
        tile
            Size of the tile.
        boxes
            Boxes of the usable rows, shape (N, 4); None for the bounds of the geometries.
        """
        used = np.flatnonzero(self.reasons == "").tolist()
        labels = [self.labels[index] for index in used]
        finite = np.where(np.isfinite(self.scores), self.scores, nan)
        scores = finite[used].tolist()
        classes = [
            json_text([{"iri": label, "score": score}]) if label else "[]"
            for label, score in zip(labels, scores, strict=True)
        ]
        detections = Detections(
            geometry=geometry,
            boxes=bounds(geometry) if boxes is None else boxes,
            labels=labels,
            scores=scores,
            classes=classes,
            properties=[self.properties[index] for index in used],
            dropped=Counter(reason for reason in self.reasons.tolist() if reason),
            example=self._example(),
            symptoms=self.symptoms,
        )
        return usable(detections, tile)

    def _example(self) -> str:
        """Return the first unusable row; empty when there is none."""
        unusable = np.flatnonzero(self.reasons != "")
        if not len(unusable):
            return ""
        row = int(unusable[0])
        return f"row {row}" if self.rows is None else abbreviated(self.rows[row].tolist())
