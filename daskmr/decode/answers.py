"""What a model answered for one tile, decoded to `Detections` in tile pixels.

::

    JSON text ─► FeatureCollection ─► _Rows ─┐
    boxes, scores, labels ───────────────────┼─► usable ─► Detections
    GeoDataFrame in tile pixels ─────────────┘

An answer is hostile until read here: the whole of it is refused when it is not a feature
collection, and a single feature that cannot be used is left out and counted by its reason (`Drop`).
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from numbers import Real
from typing import Any

import geopandas as gpd
import numpy as np
import shapely

from daskmr.core.boxes import bounds, polygons
from daskmr.core.features import Detections
from daskmr.core.grid import Size
from daskmr.core.wire import Answer
from daskmr.decode import AnswerForm
from daskmr.decode.columns import check_count, from_arrays, from_frame, json_text, refused, usable
from daskmr.decode.shapes import Drop, Ring, Unusable, is_number, polygons_of, shape_of

_NO_BOX = (nan, nan, nan, nan)
_OWN = frozenset({"imageGeometry", "imageBBox", "featureClasses"})
_DEPRECATED = frozenset(
    {
        "adjusted_feature_types",
        "bounds_imcoords",
        "detection_score",
        "feature_types",
        "geom_imcoords",
        "image_id",
        "inferenceTime",
    }
)


def decode(answer: object, *, tile: Size, form: AnswerForm = AnswerForm()) -> Detections:
    """Detections of one tile, whatever form the model gave them in.

    Parameters
    ----------
    answer
        JSON text (bytes or str) of a GeoJSON FeatureCollection in Model Runner's form; or the
        same as a dict; a GeoDataFrame without CRS, its columns ``label`` and ``score`` optional;
        boxes of shape (N, 4), (N, 5) with a score or (N, 6) with a score and a class number; a
        dict of ``boxes`` and, optionally, ``scores`` and ``labels``; None for no detections.
    tile
        Extent of the tile that was asked about.

    Raises
    ------
    BadResponseError
        When the answer as a whole is none of these; says what came instead.

    Examples
    --------
    >>> found = decode({"boxes": [[0, 0, 8, 4]], "labels": ["car"]}, tile=Size.parse("64"))
    >>> found.labels, found.boxes.tolist()
    (['car'], [[0.0, 0.0, 8.0, 4.0]])
    """
    if isinstance(answer, Answer):
        answer = answer.body
    try:
        if isinstance(answer, bytes | bytearray | str):
            return _collection(_parsed(answer), tile)
        if isinstance(answer, Mapping) and "boxes" not in answer:
            return _collection(answer, tile)
        if isinstance(answer, gpd.GeoDataFrame):
            return from_frame(answer, tile)
        return from_arrays(answer, tile)
    except RecursionError:
        msg = "the answer is nested too deeply"
        raise refused(msg) from None


def _parsed(text: bytes | bytearray | str) -> object:
    """The value that JSON text stands for."""
    try:
        plain = text if isinstance(text, str) else text.decode("utf-8-sig")
    except UnicodeDecodeError:
        msg = f"the answer is {len(text)} bytes that are not UTF-8 text"
        raise refused(msg) from None
    start = plain[:100].lstrip().lower()
    if not plain.strip():
        msg = "the answer is empty"
        raise refused(msg)
    if start.startswith("<"):
        msg = f"the answer is {'HTML' if 'html' in start else 'markup'}, not a FeatureCollection"
        raise refused(msg)
    try:
        return json.loads(plain)
    except ValueError as error:  # also integers of more than 4300 digits
        msg = f"the answer is not JSON: {error}"
        raise refused(msg) from None


def _collection(value: object, tile: Size) -> Detections:
    """Detections of a FeatureCollection; `type` and further keys of it are not looked at."""
    if not isinstance(value, Mapping):
        msg = f"the answer is a JSON {_kind(value)}, not a FeatureCollection"
        raise refused(msg)
    if "features" not in value:
        keys = ascii(", ".join(map(str, value)))[1:-1][:80]
        msg = f'the answer {{{keys}}} has no "features"'
        raise refused(msg)
    features = value["features"]
    if not isinstance(features, list | tuple):
        msg = f'"features" of the answer is a JSON {_kind(features)}, not a list'
        raise refused(msg)
    check_count(len(features))
    rows = _Rows()
    for feature in features:  # one by one: JSON objects have no columns
        try:
            rows.add(feature)
        except Unusable as unusable:
            rows.dropped[str(unusable)] += 1
    return rows.detections(tile)


def _kind(value: object) -> str:
    """JSON's word for the type of a value."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    words = {list: "list", tuple: "list", dict: "object", str: "string", int: "number"}
    return words.get(type(value), "number" if isinstance(value, Real) else type(value).__name__)


@dataclass(slots=True)
class _Rows:
    """Columns that grow feature by feature; shapely objects are made at the end, all at once."""

    boxes: list[Sequence[float]] = field(default_factory=list)
    shapes: dict[int, shapely.Geometry] = field(default_factory=dict)
    rings: dict[int, Ring] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    properties: list[str] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)

    def add(self, feature: object) -> None:
        """Take one feature in, or raise `Unusable` and take nothing."""
        if not isinstance(feature, Mapping):
            raise Unusable(Drop.NOT_A_FEATURE)
        said = feature.get("properties")
        if not isinstance(said, Mapping):
            raise Unusable(Drop.NO_SHAPE)
        shape, box, source = shape_of(said)
        label, score, classes = _classes(said)
        unread = _OWN | _DEPRECATED | {source}
        rest = {key: value for key, value in said.items() if key not in unread}
        plain = json_text(rest) if rest else "{}"
        if isinstance(shape, np.ndarray):
            self.rings[len(self.boxes)] = shape
        elif shape is not None:
            self.shapes[len(self.boxes)] = shape
        self.boxes.append(_NO_BOX if box is None else box)
        self.labels.append(label)
        self.scores.append(score)
        self.classes.append(classes)
        self.properties.append(plain)

    def detections(self, tile: Size) -> Detections:
        """All rows as columns."""
        boxes = np.array(self.boxes, dtype=np.float64).reshape(-1, 4)
        geometry = polygons(boxes)
        if self.rings:
            geometry[list(self.rings)] = polygons_of(list(self.rings.values()))
        for index, shape in self.shapes.items():
            geometry[index] = shape
        without = np.isnan(boxes[:, 0])
        boxes[without] = bounds(geometry[without])
        found = Detections(
            geometry=geometry,
            boxes=boxes,
            labels=self.labels,
            scores=self.scores,
            classes=self.classes,
            properties=self.properties,
            dropped=dict(self.dropped),
        )
        return usable(found, tile)


def _classes(said: Mapping[str, Any]) -> tuple[str, float, str]:
    """Label and score of the best class, and all classes as JSON."""
    classes = said.get("featureClasses")
    if classes is None:
        old = said.get("feature_types")
        if old is None:
            return "", nan, "[]"
        if not isinstance(old, Mapping):
            raise Unusable(Drop.BAD_CLASSES)
        classes = [{"iri": iri, "score": score} for iri, score in old.items()]
    if not isinstance(classes, list | tuple):
        raise Unusable(Drop.BAD_CLASSES)
    label, best = "", nan
    for index, entry in enumerate(classes):
        iri, score = _class(entry)
        if index == 0 or score > best or (best != best and score == score):  # noqa: PLR0124  NaN
            label, best = iri, score
    return label, best, json_text(classes)


def _class(entry: object) -> tuple[str, float]:
    """Name and score; NaN when there is no score, or none that a float can hold."""
    if not isinstance(entry, Mapping):
        raise Unusable(Drop.BAD_CLASSES)
    iri, score = entry.get("iri"), entry.get("score")
    if not isinstance(iri, str) or not (score is None or is_number(score)):
        raise Unusable(Drop.BAD_CLASSES)
    try:
        number = nan if score is None else float(score)
    except OverflowError:
        number = nan
    return iri, number if isfinite(number) else nan
