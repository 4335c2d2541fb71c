"""Answers that come as columns, boxes or a table, and the checks that every answer goes through."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from daskmr.core.boxes import bounds, polygons
from daskmr.core.features import Detections
from daskmr.core.grid import Size
from daskmr.decode.shapes import Drop
from daskmr.errors import BadResponseError

MAX_FEATURES = 100_000
"""Features that the answer for one tile may hold."""

REACH_PX = 100_000.0
"""How far outside its tile a detection may reach; far beyond it, floats lose pixels."""

_SCORE, _CLASS = 4, 5  # columns of a row of boxes, behind the box itself


def refused(message: str) -> BadResponseError:
    """The error for an answer that is refused as a whole."""
    return BadResponseError(message, reason="BAD_RESPONSE")


def check_count(n_features: int) -> None:
    """Refuse an answer of too many features."""
    if n_features > MAX_FEATURES:
        msg = f"the answer holds {n_features} features, more than {MAX_FEATURES} for one tile"
        raise refused(msg)


def usable(found: Detections, tile: Size) -> Detections:
    """The detections without those that reach absurdly far out; text as UTF-8 can carry it."""
    corners = np.hstack([found.boxes, bounds(found.geometry)]).reshape(-1, 4, 2)
    limit = np.array([tile.width, tile.height]) + REACH_PX
    near = ((corners >= -REACH_PX) & (corners <= limit)).all(axis=(1, 2))
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


def from_arrays(answer: object, tile: Size) -> Detections:
    """Detections of boxes, with scores and labels beside them or behind them in each row."""
    given = answer if isinstance(answer, Mapping) else {"boxes": answer}
    rows = _matrix(given["boxes"])
    check_count(len(rows))
    scores: NDArray[np.float64] = np.full(len(rows), nan)
    labels: Sequence[str] = [""] * len(rows)
    if rows.shape[1] > _SCORE:
        scores = rows[:, _SCORE]
    if rows.shape[1] > _CLASS:
        labels = ["" if v != v else f"{v:.0f}" for v in rows[:, _CLASS].tolist()]  # noqa: PLR0124
    if given.get("scores") is not None:
        scores = _score_column(given["scores"])
    if given.get("labels") is not None:
        labels = _label_column(given["labels"])
    if not len(labels) == len(scores) == len(rows):
        msg = f"{len(rows)} boxes, but {len(scores)} scores and {len(labels)} labels"
        raise refused(msg)
    boxes = rows[:, :4]
    reasons = np.select(
        [~np.isfinite(boxes).all(axis=1), (boxes[:, 2:] < boxes[:, :2]).any(axis=1)],
        [Drop.NOT_FINITE, Drop.BAD_SHAPE],
        "",
    )
    table = _Table(reasons, labels, scores, ["{}"] * len(rows))
    return table.detections(polygons(boxes[reasons == ""]), tile)


def _matrix(boxes: object) -> NDArray[np.float64]:
    """Rows of 4 to 6 numbers."""
    if boxes is None:
        return np.empty((0, 4))
    try:
        rows = np.asarray(boxes)
    except (TypeError, ValueError) as error:
        msg = f"the answer is a {type(boxes).__name__} that is no array: {error}"
        raise refused(msg) from None
    if rows.shape == (0,):
        return np.empty((0, 4))
    if rows.ndim != 2 or rows.dtype.kind not in "iuf" or not 4 <= rows.shape[1] <= _CLASS + 1:  # noqa: PLR2004
        msg = (
            f"the answer is a {type(boxes).__name__} of shape {rows.shape} and type {rows.dtype};"
            " boxes have shape (N, 4), (N, 5) or (N, 6)"
        )
        raise refused(msg)
    return rows.astype(np.float64)


def from_frame(answer: gpd.GeoDataFrame, tile: Size) -> Detections:
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
    table = _Table(
        reasons,
        _label_column(answer["label"]) if "label" in named else [""] * len(answer),
        _score_column(answer["score"]) if "score" in named else np.full(len(answer), nan),
        [json_text(row) for row in pd.DataFrame(others).to_dict("records")],
    )
    return table.detections(_lines(flat[reasons == ""]), tile)


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


def _label_column(values: object) -> list[str]:
    """Names; "" for a missing one."""
    if not isinstance(values, Iterable):
        msg = f"labels of the answer are a {type(values).__name__}, not a list"
        raise refused(msg)
    names = pd.Series([*values], dtype=object)
    return ["" if missing else str(name) for name, missing in zip(names, names.isna(), strict=True)]


@dataclass(frozen=True, slots=True)
class _Table:
    """Columns of an answer that came as columns, and why a row cannot be used ("" if it can)."""

    reasons: NDArray[np.str_]
    labels: Sequence[str]
    scores: NDArray[np.float64]
    properties: Sequence[str]

    def detections(self, geometry: NDArray[Any], tile: Size) -> Detections:
        """The usable rows, to which the geometries belong."""
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
            boxes=bounds(geometry),
            labels=labels,
            scores=scores,
            classes=classes,
            properties=[self.properties[index] for index in used],
            dropped=Counter(reason for reason in self.reasons.tolist() if reason),
        )
        return usable(found, tile)
