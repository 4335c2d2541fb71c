"""Answers that come as columns, and the checks that every answer goes through."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from daskmr.errors import BadResponseError

MAX_FEATURES = 100_000
"""Features that the answer for one tile may hold."""

REACH_PX = 100_000.0
"""How far outside its tile a detection may reach; far beyond it, floats lose pixels."""

TOUCH_PX = 1.0
"""How far beside its tile a box may lie and still touch it: models round."""

_MAX_DIMENSIONS = 8
_PLAIN = frozenset({int, float, bool, type(None)})  # numbers as JSON spells them; null is NaN


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of an answer before it is read."""

    tile: Size
    """Extent of the tile that was asked about."""
    classes: tuple[str, ...] = ()
    """Names of class numbers."""
    tail: bytes = b""
    """Raw tensors behind the JSON of the answer."""


def refused(message: str) -> BadResponseError:
    """The error for an answer that is refused as a whole."""
    return BadResponseError(message, reason="BAD_RESPONSE")


def check_count(n_features: int) -> None:
    """Refuse an answer of too many features."""
    if n_features > MAX_FEATURES:
        msg = f"the answer holds {n_features} features, more than {MAX_FEATURES} for one tile"
        raise refused(msg)


def usable(found: Detections, tile: Size) -> Detections:
    """The detections that touch the tile, unclipped; text as UTF-8 can carry it."""
    size = np.array([tile.width, tile.height])
    corners = np.hstack([found.boxes, bounds(found.geometry)]).reshape(-1, 4, 2)
    near = ((corners >= -REACH_PX) & (corners <= size + REACH_PX)).all(axis=(1, 2))
    low, high = found.boxes[:, :2], found.boxes[:, 2:]
    near &= ((high >= -TOUCH_PX) & (low <= size + TOUCH_PX)).all(axis=1)
    kept = np.flatnonzero(near).tolist()
    n_far = len(found) - len(kept)
    return Detections(
        geometry=found.geometry[kept] if n_far else found.geometry,
        boxes=found.boxes[kept] if n_far else found.boxes,
        labels=_encodable([found.labels[i] for i in kept]),
        scores=[found.scores[i] for i in kept],
        classes=_encodable([found.classes[i] for i in kept]),
        properties=_encodable([found.properties[i] for i in kept]),
        dropped={**found.dropped, **({str(Drop.OUTSIDE): n_far} if n_far else {})},
    )


def _encodable(texts: Sequence[str]) -> Sequence[str]:
    """The texts with lone surrogates replaced: JSON can spell them, Arrow cannot hold them."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return [text.encode("utf-8", "replace").decode() for text in texts]
    return texts


def _plain(value: object) -> object:
    """Lists and numbers of what numpy and pandas hold; json asks about types it does not know."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if value is pd.NA or value is pd.NaT:
        return None
    msg = f"a property is a {type(value).__name__}, which JSON cannot hold"
    raise TypeError(msg)


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain
)


def json_text(value: object) -> str:
    """JSON in the form of `features.dumps`; NaN and infinity, which JSON lacks, become null."""
    try:
        try:
            return _ENCODER.encode(value)
        except ValueError:
            return _ENCODER.encode(_without_nan(value))
    except (TypeError, ValueError) as error:
        msg = f"the answer cannot be written as JSON: {error}"
        raise refused(msg) from None


def _without_nan(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float | np.floating) and not isfinite(value) else value


def nested(value: Sequence[object], what: str) -> tuple[tuple[int, ...], Sequence[object]]:
    """Shape of lists in lists, and what the innermost hold.

    numpy is not asked: it takes text for numbers, and one long text among many numbers for a
    request of many gigabytes.
    """
    level, shape = value, [len(value)]
    while level:
        types = set(map(type, level))
        if any(hasattr(kind, "__array__") for kind in types):
            level = [_opened(part) for part in level]
            types = set(map(type, level))
        if types.isdisjoint({list, tuple}):
            break
        rows = [part for part in level if isinstance(part, list | tuple)]
        if len(rows) < len(level) or len(set(map(len, rows))) > 1 or len(shape) == _MAX_DIMENSIONS:
            msg = f"{what} of the answer are lists of unlike lengths, not an array"
            raise refused(msg)
        shape.append(len(rows[0]))
        level = [*chain.from_iterable(rows)]
    return tuple(shape), level


def _opened(part: object) -> object:
    return np.asarray(part).tolist() if hasattr(type(part), "__array__") else part


def numbers(value: object, what: str) -> NDArray[Any]:
    """An array of numbers; null is NaN.

    Parameters
    ----------
    value
        Lists in lists, or whatever numpy makes an array of.
    what
        What the numbers are, in the plural.
    """
    try:
        found = _array(value, what)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        if isinstance(error, RecursionError):
            raise
        msg = f"{what} of the answer are a {type(value).__name__} that is no array: {error}"
        raise refused(msg) from None
    if found.dtype.kind not in "biuf":
        msg = (
            f"{what} of the answer are a {type(value).__name__} of shape {found.shape} and type"
            f" {found.dtype}, not numbers"
        )
        raise refused(msg)
    return found


def _array(value: object, what: str) -> NDArray[Any]:
    if not isinstance(value, list | tuple):
        return np.asarray(value)
    shape, flat = nested(value, what)
    types = set(map(type, flat))
    for kind in types - _PLAIN:
        msg = f"{what} of the answer hold a {kind.__name__}, not only numbers"
        raise refused(msg)
    is_whole = bool(types) and types <= {int, bool}
    return np.array(flat, dtype=None if is_whole else np.float64).reshape(shape)


def class_name(value: object, classes: Sequence[str]) -> str:
    """The name of a class that a model gave by name or by number; "" for none."""
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
    """Detections of a table; columns beside geometry, label and score become properties."""
    check_count(len(answer))
    if not answer.columns.is_unique:
        msg = f"the answer is a GeoDataFrame with a column twice: {[*map(str, answer.columns)]}"
        raise refused(msg)
    if answer.active_geometry_name is None or answer.crs is not None:
        what = "without geometry" if answer.active_geometry_name is None else f"in {answer.crs}"
        msg = f"the answer is a GeoDataFrame {what}; geometry is wanted in tile pixels, CRS None"
        raise refused(msg)
    flat = shapely.force_2d(np.asarray(answer.geometry.array, dtype=object))
    values, owner = shapely.get_coordinates(flat, return_index=True)
    infinite = np.zeros(len(flat), dtype=bool)
    infinite[owner[~np.isfinite(values).all(axis=1)]] = True
    missing = shapely.is_missing(flat) | shapely.is_empty(flat)
    reasons = np.select([missing, infinite], [Drop.NO_SHAPE, Drop.NOT_FINITE], "")
    named = answer.columns
    others = answer.drop(columns=[answer.active_geometry_name, "label", "score"], errors="ignore")
    labels = answer["label"].tolist() if "label" in named else [""] * len(answer)
    table = Table(
        reasons,
        label_column(labels, reading.classes),
        _score_column(answer["score"]) if "score" in named else np.full(len(answer), nan),
        [json_text(row) for row in pd.DataFrame(others).to_dict("records")],
    )
    return table.detections(_lines(flat[reasons == ""]), reading.tile)


def _lines(geometry: NDArray[Any]) -> NDArray[Any]:
    """The geometries, linear rings as line strings: GeoJSON has no ring of its own."""
    for index in np.flatnonzero(shapely.get_type_id(geometry) == shapely.GeometryType.LINEARRING):
        geometry[index] = shapely.LineString(geometry[index])
    return geometry


def _score_column(values: object) -> NDArray[np.float64]:
    """Numbers; NaN for a missing one."""
    try:
        numbers = pd.to_numeric(pd.Series(np.asarray(values)))
        return numbers.to_numpy(dtype=np.float64, na_value=nan)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"scores of the answer are no numbers: {error}"
        raise refused(msg) from None


def label_column(values: Sequence[object], classes: Sequence[str]) -> list[str]:
    """Names of classes; "" for a missing one."""
    return [_label(value, classes) for value in values]


def _label(value: object, classes: Sequence[str]) -> str:
    if isinstance(value, str) or value is None:
        return str(value or "")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Mapping | list | tuple | np.ndarray):
        msg = f"labels of the answer hold a {type(value).__name__}, not only names or numbers"
        raise refused(msg)
    if not is_number(value):
        return "" if value is pd.NA or value is pd.NaT else str(value)
    try:
        return class_name(value, classes)
    except Unusable:
        msg = "labels of the answer hold a number that is too large for a class"
        raise refused(msg) from None


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of an answer that came as columns, and why a row cannot be used ("" if it can)."""

    reasons: NDArray[np.str_]
    labels: Sequence[str]
    scores: NDArray[np.float64]
    properties: Sequence[str]

    def detections(
        self, geometry: NDArray[Any], tile: Size, *, boxes: Boxes | None = None
    ) -> Detections:
        """The usable rows, to which the geometries belong, and the boxes if there are any."""
        used = np.flatnonzero(self.reasons == "").tolist()
        labels = [self.labels[index] for index in used]
        finite = np.where(np.isfinite(self.scores), self.scores, nan)
        scores = finite[used].tolist()
        classes = [
            json_text([{"iri": label, "score": score}]) if label else "[]"
            for label, score in zip(labels, scores, strict=True)
        ]
        found = Detections(
            geometry=geometry,
            boxes=bounds(geometry) if boxes is None else boxes,
            labels=labels,
            scores=scores,
            classes=classes,
            properties=[self.properties[index] for index in used],
            dropped=Counter(reason for reason in self.reasons.tolist() if reason),
        )
        return usable(found, tile)
