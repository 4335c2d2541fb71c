"""Decode the answer of a model for one tile into `Detections` in tile pixels.

::

    JSON text ─► convention ─► one object a detection ─► rows ─────┐
                     │                                             ├─► usable ─► Detections
    arrays, .npy ────┴───────► boxes, masks, scores, labels ───────┤
    GeoDataFrame in tile pixels ───────────────────────────────────┘

Answers are not trusted: one that breaks its convention is refused as a whole; a single feature that
cannot be used is left out and counted by its reason (`Drop`).
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from math import nan
from typing import Any

import geopandas as gpd

from daskmr.core.features import Detections
from daskmr.core.grid import Size
from daskmr.core.wire import Answer
from daskmr.decode import AUTO, AnswerForm
from daskmr.decode.columns import Reading, class_name, from_frame, json_text, refusal
from daskmr.decode.masks import from_arrays, keys_of
from daskmr.decode.peers import (
    Row,
    coco,
    huggingface,
    json_kind,
    roboflow,
    rows_of,
    score_of,
    ultralytics,
)
from daskmr.decode.shapes import Drop, Unusable, has_shape, shape_of
from daskmr.decode.tensors import NPY, kserve, npy

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


_KEYS: Mapping[str, str] = {
    "features": "geojson",
    "predictions": "roboflow",
    "outputs": "kserve",
    "boxes": "boxes",
    "masks": "boxes",
    "annotations": "coco",
}
"""Convention by the key that identifies it; the first key that is present decides."""

_PLAIN = AnswerForm()


def decode(answer: object, *, tile: Size, form: AnswerForm = _PLAIN) -> Detections:
    """Return the detections of one tile from an answer of any known convention.

    Parameters
    ----------
    answer
        Response of an endpoint, or its text or bytes: JSON, a ``.npy`` file, KServe V2 with raw
        tensors; or the return value of a callable: the same as Python values, an array of boxes of
        shape (N, 4), (N, 5) with a score or (N, 6) with a score and a class number, a dict of
        ``boxes`` or ``masks`` and, optionally, ``scores`` and ``labels``, a GeoDataFrame without
        CRS, its columns ``label`` and ``score`` optional, or None for no detections.
    tile
        Size of the tile that the model was called with.
    form
        The convention, and the names of class numbers. With ``auto`` the keys of an object decide;
        a JSON list is refused, because an empty list means no detections in one convention and is
        an error in another.

    Raises
    ------
    BadResponseError
        When the answer has none of these forms; the message describes the answer.

    Examples
    --------
    >>> detections = decode({"boxes": [[0, 0, 8, 4]], "labels": ["car"]}, tile=Size.parse("64"))
    >>> detections.labels, detections.boxes.tolist()
    (['car'], [[0.0, 0.0, 8.0, 4.0]])
    """
    try:
        if isinstance(answer, gpd.GeoDataFrame):
            return from_frame(answer, Reading(tile, form.classes))
        if isinstance(answer, Answer | bytes | bytearray | str):
            return _from_text(answer, Reading(tile, form.classes), form.convention)
        convention = form.convention
        if answer is None:
            convention = "boxes"
        elif convention == AUTO:
            convention = _convention_of_value(answer)
        return CONVENTIONS[convention](answer, Reading(tile, form.classes, is_local=True))
    except RecursionError:
        msg = "the answer is nested too deeply"
        raise refusal(msg) from None
    except MemoryError:
        msg = "the answer needs more memory than there is"
        raise refusal(msg) from None


def _convention_of_value(value: object) -> str:
    """Return the convention of a Python value; raise when it has none."""
    if isinstance(value, Mapping):
        for key, convention in _KEYS.items():
            if key in value:
                return convention
        msg = f'the answer {keys_of(value)} has no "features", nor a key of another convention'
        raise refusal(msg)
    if not isinstance(value, list | tuple) or not value or not isinstance(value[0], Mapping):
        return "boxes"
    convention = _convention_of_item(value[0])
    if not convention:
        msg = f"the answer is a list of dicts {keys_of(value[0])}, not of a known convention"
        raise refusal(msg)
    return convention


def _convention_of_item(item: object) -> str:
    """Return the convention of a list by its first item; "" when unknown."""
    if isinstance(item, list | tuple):
        return "boxes"
    if not isinstance(item, Mapping):
        return ""
    if "bbox" in item:
        return "coco"
    box = item.get("box")
    if isinstance(box, Mapping) and "label" in item and "xmin" in box:
        return "huggingface"
    is_ultralytics = isinstance(box, Mapping) and "confidence" in item and "x1" in box
    return "ultralytics" if is_ultralytics else ""


def _from_text(
    answer: Answer | bytes | bytearray | str, reading: Reading, convention: str
) -> Detections:
    """Return the detections of an answer of bytes or text."""
    size = answer.json_bytes if isinstance(answer, Answer) else None
    body = answer.body if isinstance(answer, Answer) else answer
    body = bytes(body) if isinstance(body, bytearray) else body
    if isinstance(body, bytes) and body.startswith(NPY):
        if convention not in {AUTO, "boxes"}:
            msg = f"the answer is an .npy file, not {convention}; set answer_format='boxes'"
            raise refusal(msg)
        return from_arrays(npy(body), reading)
    if size is not None and isinstance(body, bytes):
        if size > len(body):
            msg = f"the answer has {len(body)} bytes, but its header counts {size} bytes of JSON"
            raise refusal(msg)
        reading = Reading(reading.tile, reading.classes, body[size:])
        body = body[:size]
    value = _parse_json(body)
    if convention == AUTO:
        convention = _convention_of_json(value)
    if reading.tail and convention != "kserve":
        msg = f"the answer has {len(reading.tail)} bytes after its JSON, which is {convention}"
        raise refusal(msg)
    if not isinstance(value, dict | list):
        msg = f"the answer is a JSON {json_kind(value)}, not {convention}"
        raise refusal(msg)
    return CONVENTIONS[convention](value, reading)


def _convention_of_json(value: object) -> str:
    """Return the convention of parsed JSON; a list is refused, as it may be empty by mistake."""
    if isinstance(value, dict):
        return _convention_of_value(value)
    msg = f"the answer is a JSON {json_kind(value)}, not a FeatureCollection"
    if isinstance(value, list):
        name = _convention_of_item(value[0]) if value else ""
        hint = f"looks like {name}; set answer_format={name!r}"
        msg = f"{msg}; {hint if name else 'set its convention with answer_format'}"
    raise refusal(msg)


def _parse_json(text: bytes | str) -> object:
    """Return the value of JSON text."""
    try:
        plain = text if isinstance(text, str) else text.decode("utf-8-sig")
    except UnicodeDecodeError:
        msg = f"the answer is {len(text)} bytes that are not UTF-8 text"
        raise refusal(msg) from None
    start = plain[:100].lstrip().lower()
    if not plain.strip():
        msg = "the answer is empty"
        raise refusal(msg)
    if start.startswith("<"):
        msg = f"the answer is {'HTML' if 'html' in start else 'markup'}, not a FeatureCollection"
        raise refusal(msg)
    try:
        return json.loads(plain)
    except ValueError as error:  # also integers of more than 4300 digits
        msg = f"the answer is not JSON: {error}"
        raise refusal(msg) from None


def geojson(value: object, reading: Reading) -> Detections:
    """Return the detections of a FeatureCollection; only its key "features" is read."""
    if not isinstance(value, Mapping):
        msg = f"the answer is a JSON {json_kind(value)}, not a FeatureCollection"
        raise refusal(msg)
    if "features" not in value:
        msg = f'the answer {keys_of(value)} has no "features"'
        raise refusal(msg)
    read = partial(_feature, reading=reading)
    return rows_of(value["features"], read, reading, name='"features" of the answer')


def _feature(feature: Mapping[str, Any], reading: Reading) -> Row:
    """Return the row of one feature."""
    properties, geometry = feature.get("properties"), feature.get("geometry")
    is_plain = reading.is_local and geometry is not None
    if properties is None and is_plain:
        properties = {}
    if not isinstance(properties, Mapping):
        raise Unusable(Drop.NO_SHAPE)
    if is_plain and not has_shape(properties):
        properties = {**properties, "imageGeometry": geometry}
    shape, box, source = shape_of(properties)
    label, score, classes = _classes(properties, reading)
    unread = _OWN | _DEPRECATED | {source}
    rest = {key: value for key, value in properties.items() if key not in unread}
    return Row(shape, box, label, score, classes, json_text(rest) if rest else "{}")


def _classes(properties: Mapping[str, Any], reading: Reading) -> tuple[str, float, str]:
    """Return the label and score of the best class, and all classes as JSON."""
    classes = properties.get("featureClasses")
    if classes is None:
        old = properties.get("feature_types")
        if old is None:
            return _plain_class(properties, reading)
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


def _plain_class(properties: Mapping[str, Any], reading: Reading) -> tuple[str, float, str]:
    """Return the class of plain GeoJSON: ``label`` or ``class``, ``score`` or ``confidence``."""
    names = [properties[key] for key in ("label", "class") if key in properties]
    scores = [properties[key] for key in ("score", "confidence") if key in properties]
    label = class_name(names[0], reading.classes) if names else ""
    score = score_of(scores[0]) if scores else nan
    return label, score, json_text([{"iri": label, "score": score}]) if label else "[]"


def _class(entry: object) -> tuple[str, float]:
    """Return the name and score of a class; the score is NaN when missing or not finite."""
    if not isinstance(entry, Mapping):
        raise Unusable(Drop.BAD_CLASSES)
    iri = entry.get("iri")
    if not isinstance(iri, str):
        raise Unusable(Drop.BAD_CLASSES)
    return iri, score_of(entry.get("score"))


CONVENTIONS: Mapping[str, Callable[[object, Reading], Detections]] = {
    "geojson": geojson,
    "coco": coco,
    "huggingface": huggingface,
    "roboflow": roboflow,
    "ultralytics": ultralytics,
    "boxes": from_arrays,
    "kserve": kserve,
}
"""Reader of each convention, by name."""
