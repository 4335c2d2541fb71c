"""Conventions that give one object a detection: COCO, Hugging Face, Roboflow, Ultralytics.

Each is a function that makes a `Row` of one object; `rows_of` keeps the rows and counts what is
left out. Pixels are pixels of the tile in all of them.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isfinite, nan
from typing import Any, NamedTuple, cast

import numpy as np
import shapely

from daskmr.core.boxes import bounds, polygons
from daskmr.core.features import Detections
from daskmr.decode.columns import Reading, check_count, class_name, json_text, refused, usable
from daskmr.decode.shapes import (
    Drop,
    Ring,
    Shape,
    Unusable,
    box_of,
    closed,
    floats_of,
    is_number,
    listed,
    polygons_of,
)

_NO_BOX = (nan, nan, nan, nan)
_TRIANGLE = 3
_COCO = frozenset({"bbox", "segmentation", "category_id", "category_name", "score"})
_HUGGINGFACE = frozenset({"box", "label", "score", "mask"})
_ROBOFLOW = frozenset({"x", "y", "width", "height", "points", "class", "confidence"})
_ULTRALYTICS = frozenset({"box", "segments", "name", "class", "confidence"})


class Row(NamedTuple):
    """One detection."""

    shape: Shape
    """Its geometry; None for just a box."""
    box: Sequence[float] | None
    """Its box; None for the bounds of the geometry."""
    label: str
    """Its best class."""
    score: float
    """Score of that class, or NaN."""
    classes: str
    """JSON of all classes."""
    properties: str
    """JSON of the rest."""


@dataclass(slots=True)
class _Rows:
    """Columns that grow row by row; shapely objects are made at the end, all at once."""

    rows: list[Row] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)

    def detections(self, reading: Reading) -> Detections:
        """All rows as columns."""
        rows = self.rows
        given = [_NO_BOX if row.box is None else row.box for row in rows]
        boxes = np.array(given, dtype=np.float64).reshape(-1, 4)
        geometry = polygons(boxes)
        rings = {i: row.shape for i, row in enumerate(rows) if isinstance(row.shape, np.ndarray)}
        if rings:
            geometry[list(rings)] = polygons_of(list(rings.values()))
        for index, row in enumerate(rows):
            if isinstance(row.shape, shapely.Geometry):
                geometry[index] = row.shape
        without = np.isnan(boxes[:, 0])
        boxes[without] = bounds(geometry[without])
        found = Detections(
            geometry=geometry,
            boxes=boxes,
            labels=[row.label for row in rows],
            scores=[row.score for row in rows],
            classes=[row.classes for row in rows],
            properties=[row.properties for row in rows],
            dropped=dict(self.dropped),
        )
        return usable(found, reading.tile)


def rows_of(
    items: object, read: Callable[[Mapping[str, Any]], Row], reading: Reading, *, what: str
) -> Detections:
    """Detections of a list of objects; one that is `Unusable` is counted and left out.

    Parameters
    ----------
    read
        Makes a row of one object.
    what
        What the list is, for the error when it is none.
    """
    if not isinstance(items, list | tuple):
        msg = f"{what} is a JSON {json_kind(items)}, not a list"
        raise refused(msg)
    check_count(len(items))
    rows = _Rows()
    for item in items:  # one by one: JSON objects have no columns
        try:
            rows.rows.append(read(_object(item)))
        except Unusable as unusable:
            rows.dropped[str(unusable)] += 1
    return rows.detections(reading)


def _object(item: object) -> Mapping[str, Any]:
    if not isinstance(item, Mapping):
        raise Unusable(Drop.NOT_A_FEATURE)
    return item


def json_kind(value: object) -> str:
    """JSON's word for the type of a value."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    words = {list: "list", tuple: "list", dict: "object", str: "string", int: "number"}
    return words.get(type(value), "number" if is_number(value) else type(value).__name__)


def score_of(score: object) -> float:
    """A score; NaN when there is none, or none that a float can hold."""
    if score is None:
        return nan
    if not is_number(score):
        raise Unusable(Drop.BAD_CLASSES)
    try:
        number = float(cast("float", score))
    except OverflowError:
        number = nan
    return number if isfinite(number) else nan


def coco(value: object, reading: Reading) -> Detections:
    """Detections of COCO results, or of a data set with annotations and categories."""
    names: dict[object, str] = {}
    if isinstance(value, Mapping):
        names = _categories(value.get("categories"))
        value = value.get("annotations")
    read = partial(_coco, names=names, reading=reading)
    return rows_of(value, read, reading, what="the COCO answer")


def _categories(value: object) -> dict[object, str]:
    """Names by number."""
    entries = value if isinstance(value, list | tuple) else []
    pairs = [(e.get("id"), e.get("name")) for e in entries if isinstance(e, Mapping)]
    return {key: name for key, name in pairs if type(key) is int and isinstance(name, str)}


def _coco(item: Mapping[str, Any], *, names: Mapping[object, str], reading: Reading) -> Row:
    outline = item.get("segmentation")
    shape = _flat_rings(outline) if isinstance(outline, list | tuple) else None
    box = None
    if (given := item.get("bbox")) is not None:
        edges = listed(given)
        if len(edges) != 4:  # noqa: PLR2004
            raise Unusable(Drop.BAD_SHAPE)
        x, y, width, height = floats_of(edges)
        box = box_of([x, y, x + width, y + height])
    said = item.get("category_name")
    if said is None:
        said = item.get("category_id")
        said = names.get(said, said) if type(said) is int else said
    label = class_name(said, reading.classes)
    return _row((shape, box), (label, item.get("score")), _rest(item, _COCO))


def _flat_rings(value: Sequence[object]) -> Shape:
    """Polygons, each a list of x, y, x, y; None for none that has an area."""
    rings = []
    for flat in value:
        numbers = listed(flat)
        if len(numbers) % 2:
            raise Unusable(Drop.BAD_SHAPE)
        ring = _outline(numbers[::2], numbers[1::2])
        rings += [] if ring is None else [ring]
    if len(rings) > 1:
        return shapely.MultiPolygon(polygons_of(rings).tolist())
    return rings[0] if rings else None


def huggingface(value: object, reading: Reading) -> Detections:
    """Detections of a Hugging Face object detection pipeline."""

    def read(item: Mapping[str, Any]) -> Row:
        given = item.get("box")
        box = None if given is None else box_of(_picked(given, ("xmin", "ymin", "xmax", "ymax")))
        label = class_name(item.get("label"), reading.classes)
        return _row((None, box), (label, item.get("score")), _rest(item, _HUGGINGFACE))

    return rows_of(value, read, reading, what="the Hugging Face answer")


def roboflow(value: object, reading: Reading) -> Detections:
    """Detections of Roboflow inference: a box has its centre and its extent."""

    def read(item: Mapping[str, Any]) -> Row:
        points = item.get("points")
        shape = None if points is None else _outline(_each(points, "x"), _each(points, "y"))
        box = None
        if any(item.get(key) is not None for key in ("x", "y", "width", "height")):
            x, y, width, height = floats_of(_picked(item, ("x", "y", "width", "height")))
            box = box_of([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
        said = item.get("class")
        label = class_name(item.get("class_id") if said is None else said, reading.classes)
        return _row((shape, box), (label, item.get("confidence")), _rest(item, _ROBOFLOW))

    if not isinstance(value, Mapping):
        msg = f"the Roboflow answer is a JSON {json_kind(value)}, not an object"
        raise refused(msg)
    what = '"predictions" of the Roboflow answer'
    return rows_of(value.get("predictions"), read, reading, what=what)


def ultralytics(value: object, reading: Reading) -> Detections:
    """Detections of Ultralytics results as JSON; oriented boxes are polygons."""

    def read(item: Mapping[str, Any]) -> Row:
        given, outline = item.get("box"), item.get("segments")
        shape, box = None, None
        if isinstance(given, Mapping) and "x3" in given:
            shape = _outline(
                _picked(given, ("x1", "x2", "x3", "x4")), _picked(given, ("y1", "y2", "y3", "y4"))
            )
        elif given is not None:
            box = box_of(_picked(given, ("x1", "y1", "x2", "y2")))
        if outline is not None:
            xs, ys = _picked(outline, ("x", "y"))
            ring = _outline(xs, ys)
            shape = shape if ring is None else ring
        said = item.get("name")
        label = class_name(item.get("class") if said is None else said, reading.classes)
        return _row((shape, box), (label, item.get("confidence")), _rest(item, _ULTRALYTICS))

    return rows_of(value, read, reading, what="the Ultralytics answer")


def _picked(value: object, keys: Sequence[str]) -> list[Any]:
    """The values of keys of an object; None for a missing one."""
    if not isinstance(value, Mapping):
        raise Unusable(Drop.BAD_SHAPE)
    return [value.get(key) for key in keys]


def _each(points: object, key: str) -> list[Any]:
    """One coordinate of each point."""
    return [_picked(point, (key,))[0] for point in listed(points)]


def _outline(xs: object, ys: object) -> Ring | None:
    """A closed ring; None for fewer than three points, which outline nothing."""
    columns = listed(xs), listed(ys)
    if len(columns[0]) != len(columns[1]):
        raise Unusable(Drop.BAD_SHAPE)
    if len(columns[0]) < _TRIANGLE:
        return None
    points = np.array([*map(floats_of, columns)], dtype=np.float64)
    return closed(np.ascontiguousarray(points.T))


def _rest(item: Mapping[str, Any], read: frozenset[str]) -> str:
    """JSON of what was not read."""
    rest = {key: value for key, value in item.items() if key not in read}
    return json_text(rest) if rest else "{}"


def _row(
    place: tuple[Shape, Sequence[float] | None], best: tuple[str, object], properties: str
) -> Row:
    shape, box = place
    if shape is None and box is None:
        raise Unusable(Drop.NO_SHAPE)
    label, score = best[0], score_of(best[1])
    classes = json_text([{"iri": label, "score": score}]) if label else "[]"
    return Row(shape, box, label, score, classes, properties)
