"""Read conventions with one object a detection: COCO, Hugging Face, Roboflow, Ultralytics.

Each has a function that makes a `Row` of one object; `rows_of` collects the rows and counts the
objects left out. All coordinates are in tile pixels.
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
from daskmr.decode.columns import (
    Reading,
    abbreviated,
    check_count,
    class_name,
    json_text,
    refusal,
    usable,
)
from daskmr.decode.shapes import (
    Drop,
    Ring,
    Shape,
    Unusable,
    as_list,
    box_of,
    close_ring,
    floats_of,
    is_number,
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
    """Geometry; None when there is only a box."""
    box: Sequence[float] | None
    """Box; None for the bounds of the geometry."""
    label: str
    """Name of the best class."""
    score: float
    """Score of that class, or NaN."""
    classes: str
    """JSON of all classes."""
    properties: str
    """JSON of the other properties."""


@dataclass(slots=True)
class _Rows:
    """Rows collected one by one; their shapely objects are created at the end, all at once."""

    rows: list[Row] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    example: str = ""

    def detections(self, reading: Reading) -> Detections:
        """Return the detections of all rows."""
        rows = self.rows
        edges = [_NO_BOX if row.box is None else row.box for row in rows]
        boxes = np.array(edges, dtype=np.float64).reshape(-1, 4)
        geometry = polygons(boxes)
        rings = {i: row.shape for i, row in enumerate(rows) if isinstance(row.shape, np.ndarray)}
        if rings:
            geometry[list(rings)] = polygons_of(list(rings.values()))
        for index, row in enumerate(rows):
            if isinstance(row.shape, shapely.Geometry):
                geometry[index] = row.shape
        without = np.isnan(boxes[:, 0])
        boxes[without] = bounds(geometry[without])
        detections = Detections(
            geometry=geometry,
            boxes=boxes,
            labels=[row.label for row in rows],
            scores=[row.score for row in rows],
            classes=[row.classes for row in rows],
            properties=[row.properties for row in rows],
            dropped=dict(self.dropped),
            example=self.example,
        )
        return usable(detections, reading.tile)


def rows_of(
    items: object, read: Callable[[Mapping[str, Any]], Row], reading: Reading, *, name: str
) -> Detections:
    """Return the detections of a list of objects; an unusable object is counted and left out.

    Parameters
    ----------
    items
        The list.
    read
        Function that makes a row of one object, or raises `Unusable`.
    reading
        The tile, and the names of class numbers.
    name
        Name of the list in the error message.
    """
    if not isinstance(items, list | tuple):
        msg = f"{name} is a JSON {json_kind(items)}, not a list"
        raise refusal(msg)
    check_count(len(items))
    rows = _Rows()
    for item in items:  # one by one: JSON objects have no columns
        try:
            rows.rows.append(read(_object(item)))
        except Unusable as unusable:
            rows.dropped[str(unusable)] += 1
            rows.example = rows.example or abbreviated(item)
    return rows.detections(reading)


def _object(item: object) -> Mapping[str, Any]:
    if not isinstance(item, Mapping):
        raise Unusable(Drop.NOT_A_FEATURE)
    return item


def json_kind(value: object) -> str:
    """Return the JSON name of the type of a value."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    words = {list: "list", tuple: "list", dict: "object", str: "string", int: "number"}
    return words.get(type(value), "number" if is_number(value) else type(value).__name__)


def score_of(score: object) -> float:
    """Return a score; NaN when it is missing or not finite."""
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
    """Return the detections of COCO results, or of a dataset with annotations and categories."""
    names: dict[object, str] = {}
    if isinstance(value, Mapping):
        names = _categories(value.get("categories"))
        value = value.get("annotations")
    read = partial(_coco, names=names, reading=reading)
    return rows_of(value, read, reading, name="the COCO answer")


def _categories(value: object) -> dict[object, str]:
    """Return the names of categories by number."""
    entries = value if isinstance(value, list | tuple) else []
    pairs = [(e.get("id"), e.get("name")) for e in entries if isinstance(e, Mapping)]
    return {key: name for key, name in pairs if type(key) is int and isinstance(name, str)}


def _coco(item: Mapping[str, Any], *, names: Mapping[object, str], reading: Reading) -> Row:
    outline = item.get("segmentation")
    shape = _flat_rings(outline) if isinstance(outline, list | tuple) else None
    box = None
    if (bbox := item.get("bbox")) is not None:
        edges = as_list(bbox)
        if len(edges) != 4:  # noqa: PLR2004
            raise Unusable(Drop.BAD_SHAPE)
        x, y, width, height = floats_of(edges)
        box = box_of([x, y, x + width, y + height])
    category = item.get("category_name")
    if category is None:
        category = item.get("category_id")
        category = names.get(category, category) if type(category) is int else category
    label = class_name(category, reading.classes)
    return _row((shape, box), (label, item.get("score")), _rest(item, _COCO))


def _flat_rings(value: Sequence[object]) -> Shape:
    """Return polygons of lists x, y, x, y; None when none of them has three points."""
    rings = []
    for flat in value:
        numbers = as_list(flat)
        if len(numbers) % 2:
            raise Unusable(Drop.BAD_SHAPE)
        ring = _outline(numbers[::2], numbers[1::2])
        rings += [] if ring is None else [ring]
    if len(rings) > 1:
        return shapely.MultiPolygon(polygons_of(rings).tolist())
    return rings[0] if rings else None


def huggingface(value: object, reading: Reading) -> Detections:
    """Return the detections of a Hugging Face object detection pipeline."""

    def read(item: Mapping[str, Any]) -> Row:
        value = item.get("box")
        box = None if value is None else box_of(_values_of(value, ("xmin", "ymin", "xmax", "ymax")))
        label = class_name(item.get("label"), reading.classes)
        return _row((None, box), (label, item.get("score")), _rest(item, _HUGGINGFACE))

    return rows_of(value, read, reading, name="the Hugging Face answer")


def roboflow(value: object, reading: Reading) -> Detections:
    """Return the detections of Roboflow inference, whose boxes are centre and size."""

    def read(item: Mapping[str, Any]) -> Row:
        points = item.get("points")
        shape = (
            None
            if points is None
            else _outline(_coordinates(points, "x"), _coordinates(points, "y"))
        )
        box = None
        if any(item.get(key) is not None for key in ("x", "y", "width", "height")):
            x, y, width, height = floats_of(_values_of(item, ("x", "y", "width", "height")))
            box = box_of([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
        name = item.get("class")
        label = class_name(item.get("class_id") if name is None else name, reading.classes)
        return _row((shape, box), (label, item.get("confidence")), _rest(item, _ROBOFLOW))

    if not isinstance(value, Mapping):
        msg = f"the Roboflow answer is a JSON {json_kind(value)}, not an object"
        raise refusal(msg)
    return rows_of(
        value.get("predictions"), read, reading, name='"predictions" of the Roboflow answer'
    )


def ultralytics(value: object, reading: Reading) -> Detections:
    """Return the detections of Ultralytics results as JSON; oriented boxes become polygons."""

    def read(item: Mapping[str, Any]) -> Row:
        corners, outline = item.get("box"), item.get("segments")
        shape, box = None, None
        if isinstance(corners, Mapping) and "x3" in corners:
            shape = _outline(
                _values_of(corners, ("x1", "x2", "x3", "x4")),
                _values_of(corners, ("y1", "y2", "y3", "y4")),
            )
        elif corners is not None:
            box = box_of(_values_of(corners, ("x1", "y1", "x2", "y2")))
        if outline is not None:
            xs, ys = _values_of(outline, ("x", "y"))
            ring = _outline(xs, ys)
            shape = shape if ring is None else ring
        name = item.get("name")
        label = class_name(item.get("class") if name is None else name, reading.classes)
        return _row((shape, box), (label, item.get("confidence")), _rest(item, _ULTRALYTICS))

    return rows_of(value, read, reading, name="the Ultralytics answer")


def _values_of(value: object, keys: Sequence[str]) -> list[Any]:
    """Return the values of keys of an object; None for a missing one."""
    if not isinstance(value, Mapping):
        raise Unusable(Drop.BAD_SHAPE)
    return [value.get(key) for key in keys]


def _coordinates(points: object, key: str) -> list[Any]:
    """Return one coordinate of each point."""
    return [_values_of(point, (key,))[0] for point in as_list(points)]


def _outline(xs: object, ys: object) -> Ring | None:
    """Return a closed ring; None for fewer than three points."""
    columns = as_list(xs), as_list(ys)
    if len(columns[0]) != len(columns[1]):
        raise Unusable(Drop.BAD_SHAPE)
    if len(columns[0]) < _TRIANGLE:
        return None
    points = np.array([*map(floats_of, columns)], dtype=np.float64)
    return close_ring(np.ascontiguousarray(points.T))


def _rest(item: Mapping[str, Any], read: frozenset[str]) -> str:
    """Return the JSON of the keys of an item that were not read."""
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
