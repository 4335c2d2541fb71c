import json
import math
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from daskmr.core.features import Detections, Sighting, dumps, gather
from daskmr.core.grid import Size, Window
from daskmr.decode import columns
from daskmr.decode.answers import decode
from daskmr.errors import BadResponseError

TILE = Size(height=512, width=512)
SQUARE = [[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0], [0.0, 0.0]]
HOLE = [[4.0, 4.0], [6.0, 4.0], [6.0, 6.0], [4.0, 6.0], [4.0, 4.0]]


def answer(*properties: object) -> dict[str, Any]:
    features = [{"type": "Feature", "geometry": None, "properties": p} for p in properties]
    return {"type": "FeatureCollection", "features": features}


def one(**properties: object) -> Detections:
    return decode(answer(properties), tile=TILE)


def refusal(value: object) -> str:
    with pytest.raises(BadResponseError) as caught:
        decode(value, tile=TILE)
    assert caught.value.reason == "BAD_RESPONSE"
    return str(caught.value)


# ---- shapes ----


def test_a_box_alone_is_also_the_geometry() -> None:
    found = one(imageBBox=[10, 20, 30, 40.5])
    assert found.boxes.tolist() == [[10.0, 20.0, 30.0, 40.5]]
    assert found.geometry[0].equals(shapely.box(10, 20, 30, 40.5))
    assert (found.labels, found.classes, found.properties) == ([""], ["[]"], ["{}"])
    assert math.isnan(found.scores[0])
    assert found.dropped == {}


def test_geometry_and_box_are_both_kept_when_both_are_given() -> None:
    found = one(imageGeometry={"type": "Point", "coordinates": [15, 25]}, imageBBox=[1, 2, 3, 4])
    assert found.geometry[0] == shapely.Point(15, 25)
    assert found.boxes.tolist() == [[1.0, 2.0, 3.0, 4.0]]


def test_the_first_shape_in_the_order_of_model_runner_is_used() -> None:
    said: dict[str, object] = {
        "imageGeometry": {"type": "Point", "coordinates": [1, 1]},
        "imageBBox": [2, 2, 3, 3],
        "geom_imcoords": [[[4, 4], [5, 4], [5, 5], [4, 4]]],
        "detection": {"type": "Point", "pixelCoordinates": [6, 6]},
        "bounds_imcoords": [7, 7, 8, 8],
    }
    corners = []
    kept = []
    while said:
        found = one(**said)
        corners.append(shapely.bounds(found.geometry[0])[0])
        kept.append(json.loads(found.properties[0]))
        del said[next(iter(said))]
    assert corners == [1.0, 2.0, 4.0, 6.0, 7.0]
    detection = {"detection": {"type": "Point", "pixelCoordinates": [6, 6]}}
    assert kept == [detection, detection, detection, {}, {}]


def test_deprecated_bounds_and_classes_are_read_and_not_passed_on() -> None:
    found = one(bounds_imcoords=[1, 2, 3, 4], feature_types={"car": 0.7}, detection_score=0.1)
    assert found.geometry[0].equals(shapely.box(1, 2, 3, 4))
    assert found.boxes.tolist() == [[1.0, 2.0, 3.0, 4.0]]
    assert (found.labels, found.scores) == (["car"], [0.7])
    assert found.classes == ['[{"iri":"car","score":0.7}]']
    assert found.properties == ["{}"]


@pytest.mark.parametrize("rings", [SQUARE, [SQUARE]])
def test_deprecated_rings_may_stand_alone_or_in_a_list(rings: object) -> None:
    assert one(geom_imcoords=rings).geometry[0].equals(shapely.box(0, 0, 10, 10))


@pytest.mark.parametrize(
    "shape",
    [
        shapely.Point(1, 2),
        shapely.MultiPoint([(1, 2), (3, 4)]),
        shapely.LineString([(1, 2), (3, 4), (5, 0)]),
        shapely.MultiLineString([[(1, 2), (3, 4)], [(5, 6), (7, 8)]]),
        shapely.Polygon(SQUARE),
        shapely.Polygon(SQUARE, [HOLE]),
        shapely.MultiPolygon([(SQUARE, [HOLE]), ([(20, 20), (30, 20), (30, 30)], [])]),
        shapely.GeometryCollection(
            [shapely.Point(1, 2), shapely.GeometryCollection([shapely.Polygon(SQUARE, [HOLE])])]
        ),
    ],
    ids=lambda shape: shape.geom_type,
)
def test_every_geojson_type_keeps_its_type_and_structure(shape: shapely.Geometry) -> None:
    found = decode(
        json.dumps(answer({"imageGeometry": json.loads(shapely.to_geojson(shape))})), tile=TILE
    )
    assert shapely.equals_exact(found.geometry[0], shape)
    assert found.boxes.tolist() == [shapely.bounds(shape).tolist()]


def test_third_coordinates_are_left_out_even_where_only_some_points_have_one() -> None:
    found = one(imageGeometry={"type": "LineString", "coordinates": [[1, 2, 9], [3, 4]]})
    assert found.geometry[0] == shapely.LineString([(1, 2), (3, 4)])
    assert not found.geometry[0].has_z


def test_a_linear_ring_becomes_a_line_string() -> None:
    found = one(imageGeometry={"type": "LinearRing", "coordinates": SQUARE})
    assert found.geometry[0] == shapely.LineString(SQUARE)


def test_an_open_ring_is_closed() -> None:
    found = one(imageGeometry={"type": "Polygon", "coordinates": [SQUARE[:-1]]})
    assert found.geometry[0].equals_exact(shapely.Polygon(SQUARE))


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({}, "NO_SHAPE"),
        (None, "NO_SHAPE"),
        ({"imageBBox": None, "detection": {"type": "Point"}}, "NO_SHAPE"),
        ({"imageBBox": [3, 0, 1, 1]}, "BAD_SHAPE"),
        ({"imageBBox": [0, 3, 1, 1]}, "BAD_SHAPE"),
        ({"imageBBox": [0, 0, 1]}, "BAD_SHAPE"),
        ({"imageBBox": [0, 0, "1", 1]}, "BAD_SHAPE"),
        ({"imageBBox": [0, 0, True, 1]}, "BAD_SHAPE"),
        ({"imageBBox": [0, 0, None, 1]}, "BAD_SHAPE"),
        ({"imageBBox": {"x": 1}}, "BAD_SHAPE"),
        ({"imageBBox": [0, 0, math.nan, 1]}, "NOT_FINITE"),
        ({"imageBBox": [0, 0, math.inf, 1]}, "NOT_FINITE"),
        ({"imageBBox": [0, 0, 10**400, 1]}, "NOT_FINITE"),
        ({"imageBBox": [0, 0, 1e30, 1]}, "OUTSIDE"),
        ({"imageBBox": [-9, 0, -1.1, 9]}, "OUTSIDE"),
        ({"imageBBox": [0, 513.1, 9, 600]}, "OUTSIDE"),
        ({"imageGeometry": {"type": "Point", "coordinates": [514, 5]}}, "OUTSIDE"),
        ({"imageBBox": [0, 0, 1, 1], "featureClasses": {"car": 1}}, "BAD_CLASSES"),
        ({"imageBBox": [0, 0, 1, 1], "featureClasses": [{"score": 1}]}, "BAD_CLASSES"),
        (
            {"imageBBox": [0, 0, 1, 1], "featureClasses": [{"iri": "a", "score": "1"}]},
            "BAD_CLASSES",
        ),
        ({"imageGeometry": "POINT (1 1)"}, "BAD_SHAPE"),
        ({"imageGeometry": {"type": "Circle", "coordinates": [1, 1]}}, "BAD_SHAPE"),
        ({"imageGeometry": {"type": ["Point"], "coordinates": [1, 1]}}, "BAD_SHAPE"),
        ({"imageGeometry": {"type": "Point", "coordinates": []}}, "BAD_SHAPE"),
        ({"imageGeometry": {"type": "Point", "coordinates": [math.nan, 1]}}, "NOT_FINITE"),
        ({"imageGeometry": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}}, "BAD_SHAPE"),
        ({"imageGeometry": {"type": "Polygon", "coordinates": [[0, 0], [1, 1]]}}, "BAD_SHAPE"),
        ({"imageGeometry": {"type": "LineString", "coordinates": [[0, 0]]}}, "BAD_SHAPE"),
        ({"imageGeometry": {"type": "GeometryCollection", "geometries": []}}, "BAD_SHAPE"),
    ],
)
def test_a_feature_that_cannot_be_used_is_counted_and_its_neighbours_kept(
    properties: object, reason: str
) -> None:
    good = {"imageBBox": [1, 2, 3, 4]}
    found = decode(answer(good, properties, good), tile=TILE)
    assert found.boxes.tolist() == [[1.0, 2.0, 3.0, 4.0]] * 2
    assert len(found.geometry) == len(found) == 2
    assert found.dropped == {reason: 1}


def test_what_is_no_object_is_no_feature() -> None:
    found = decode('{"features": [1, null, "x", [], {"type": "Feature"}]}', tile=TILE)
    assert found.dropped == {"NOT_A_FEATURE": 4, "NO_SHAPE": 1}


@pytest.mark.parametrize(
    "box", [[-50.0, -50.0, 5.0, 5.0], [500.0, 0.0, 900.0, 9.0], [-5.0, 3.0, -1.0, 4.0]]
)
def test_what_reaches_out_of_the_tile_or_just_beside_it_is_kept_as_it_is(box: list[float]) -> None:
    found = one(imageBBox=box)
    assert (found.boxes.tolist(), found.dropped) == ([box], {})
    assert found.geometry[0].bounds == tuple(box)


# ---- classes and properties ----


@pytest.mark.parametrize(
    ("classes", "label", "score"),
    [
        ([{"iri": "a", "score": 0.2}, {"iri": "b", "score": 0.9}], "b", 0.9),
        ([{"iri": "a", "score": 0.5}, {"iri": "b", "score": 0.5}], "a", 0.5),
        ([{"iri": "a"}, {"iri": "b", "score": -1}], "b", -1.0),
        ([{"iri": "a"}, {"iri": "b"}], "a", math.nan),
        ([{"iri": "a", "score": math.nan}], "a", math.nan),
        ([{"iri": "a", "score": 10**400}], "a", math.nan),
        ([], "", math.nan),
        (None, "", math.nan),
    ],
)
def test_the_label_is_the_class_of_the_highest_score(
    classes: object, label: str, score: float
) -> None:
    found = one(imageBBox=[0, 0, 1, 1], featureClasses=classes)
    assert found.labels == [label]
    assert found.scores == pytest.approx([score], nan_ok=True)


def test_properties_keep_what_is_the_models_own() -> None:
    own = {"modelMetadata": {"modelName": "m"}, "height_m": 3.5, "tags": ["é", None]}
    removed = {"image_id": "x", "inferenceTime": "now", "adjusted_feature_types": {}}
    found = one(imageBBox=[0, 0, 1, 1], **own, **removed)
    assert found.properties == [dumps(own)]


def test_numbers_that_json_lacks_become_null() -> None:
    text = (
        '{"features": [{"properties": {"imageBBox": [0, 0, 1, 1], "a": [NaN, 1, {"b": -Infinity}],'
        ' "featureClasses": [{"iri": "c", "score": NaN}]}}]}'
    )
    found = decode(text, tile=TILE)
    assert found.properties == ['{"a":[null,1,{"b":null}]}']
    assert found.classes == ['[{"iri":"c","score":null}]']


def test_numpy_values_of_a_model_in_the_same_process_are_read() -> None:
    found = one(
        imageBBox=np.array([0, 0, 1, 1], dtype=np.float32),
        imageGeometry={"type": "Polygon", "coordinates": [np.array(SQUARE)]},
        featureClasses=[{"iri": "a", "score": np.float32(0.5)}],
        embedding=np.array([1.0, np.nan]),
    )
    assert (found.labels, found.scores) == (["a"], [0.5])
    assert found.geometry[0].equals(shapely.box(0, 0, 10, 10))
    assert found.properties == ['{"embedding":[1.0,null]}']


def test_a_property_that_json_cannot_hold_is_refused_by_name_of_its_type() -> None:
    said = answer({"imageBBox": [0, 0, 1, 1], "when": pd.Timestamp(0)})
    assert "Timestamp" in refusal(said)


def test_half_a_surrogate_pair_does_not_reach_the_feature_table() -> None:
    text = (
        r'{"features": [{"properties": {"imageBBox": [0, 0, 1, 1], "a": "\ud800",'
        r' "featureClasses": [{"iri": "\udfff!"}]}}]}'
    )
    found = decode(text, tile=TILE)
    window = Window(row=0, col=0, height=512, width=512)
    table = gather([Sighting(tile=window, inferred_at="", detections=found)])
    assert table["label"].tolist() == ["?!"]
    assert table["properties"].tolist() == ['{"a":"?"}']


# ---- the whole answer ----


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "a JSON list, not a FeatureCollection"),
        ("3", "a JSON number"),
        ("null", "a JSON null"),
        ("true", "a JSON boolean"),
        ('"x"', "a JSON string"),
        ("{}", '{} has no "features"'),
        ('{"type": "Feature", "error": 1}', '{type, error} has no "features"'),
        ('{"type": "FeatureCollection", "Features": []}', 'Features} has no "features"'),
        ('{"features": {}}', "a JSON object, not a list"),
        ("<!DOCTYPE html><html></html>", "HTML"),
        ("<Error/>", "markup"),
        ("", "empty"),
        (" \n", "empty"),
        ('{"features": [', "not JSON: Expecting value"),
        ("1" * 5000, "not JSON"),
        ('{"features": ' + "[" * 100_000, "nested too deeply"),
        (b"\xff\xfe\x00", "3 bytes that are not UTF-8"),
    ],
)
def test_what_is_no_feature_collection_is_refused_and_told(text: str | bytes, said: str) -> None:
    assert said in refusal(text)
    if isinstance(text, str):
        assert said in refusal(text.encode())


def test_a_collection_nested_without_end_is_refused() -> None:
    shape: dict[str, Any] = {"type": "Point", "coordinates": [1, 1]}
    for _ in range(5000):
        shape = {"type": "GeometryCollection", "geometries": [shape]}
    assert "nested too deeply" in refusal(answer({"imageGeometry": shape}))


def test_further_keys_of_the_collection_are_not_looked_at() -> None:
    said = {**answer({"imageBBox": [0, 0, 1, 1]}), "invalid_key": "x"}
    assert len(decode(json.dumps(said).encode(), tile=TILE)) == 1


def test_too_many_features_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "MAX_FEATURES", 2)
    boxes = np.array([[0.0, 0, 1, 1]] * 3)
    frame = gpd.GeoDataFrame(geometry=[shapely.Point(1, 1)] * 3)
    for value in (answer({}, {}, {}), boxes, frame):
        assert "3 features, more than 2" in refusal(value)
    assert len(decode(boxes[:2], tile=TILE)) == 2


# ---- arrays ----


@pytest.mark.parametrize("value", [None, [], np.empty((0, 4)), np.empty(0), {"boxes": []}])
def test_nothing_is_no_detections(value: object) -> None:
    found = decode(value, tile=TILE)
    assert (len(found), found.boxes.shape, found.geometry.shape) == (0, (0, 4), (0,))


@pytest.mark.parametrize(
    ("rows", "labels", "scores", "classes"),
    [
        ([[1, 2, 3, 4]], [""], [math.nan], ["[]"]),
        (np.array([[1, 2, 3, 4, 0.5]]), [""], [0.5], ["[]"]),
        (((1, 2, 3, 4, 0.5, 7),), ["7"], [0.5], ['[{"iri":"7","score":0.5}]']),
        ({"boxes": [[1, 2, 3, 4]], "scores": [1]}, [""], [1.0], ["[]"]),
        (
            {"boxes": np.array([[1, 2, 3, 4]]), "labels": ["a"], "masks": None},
            ["a"],
            [math.nan],
            ['[{"iri":"a","score":null}]'],
        ),
        (
            {"boxes": [[1, 2, 3, 4]], "labels": np.array([3]), "scores": np.array([0.5])},
            ["3"],
            [0.5],
            ['[{"iri":"3","score":0.5}]'],
        ),
    ],
)
def test_boxes_come_with_scores_and_classes_in_the_row_or_beside_it(
    rows: object, labels: list[str], scores: list[float], classes: list[str]
) -> None:
    found = decode(rows, tile=TILE)
    assert found.boxes.tolist() == [[1.0, 2.0, 3.0, 4.0]]
    assert found.geometry[0].equals(shapely.box(1, 2, 3, 4))
    assert (found.labels, found.classes) == (labels, classes)
    assert found.scores == pytest.approx(scores, nan_ok=True)


def test_boxes_that_cannot_be_used_are_counted() -> None:
    rows = [[0, 0, 1, 1, 0.1], [0, 0, math.nan, 1, 0.2], [5, 0, 1, 1, 0.3], [0, 0, 1e9, 1, 0.4]]
    found = decode([*rows, [2, 2, 3, 3, math.inf]], tile=TILE)
    assert found.boxes.tolist() == [[0.0, 0.0, 1.0, 1.0], [2.0, 2.0, 3.0, 3.0]]
    assert found.scores == pytest.approx([0.1, math.nan], nan_ok=True)
    assert found.dropped == {"NOT_FINITE": 1, "BAD_SHAPE": 1, "OUTSIDE": 1}


@pytest.mark.parametrize(
    "value",
    [
        object(),
        "7",
        7,
        [1, 2, 3, 4],
        [[1, 2, 3]],
        [[1, 2, 3, 4], [1, 2]],
        [["a", "b", "c", "d"]],
        [{"imageBBox": [0, 0, 1, 1]}],
        np.zeros((2, 7)),
        np.zeros((2, 4), dtype=complex),
        {"boxes": [[0, 0, 1, 1]], "scores": [1, 2]},
        {"boxes": [[0, 0, 1, 1]], "scores": ["high"]},
        {"boxes": [[0, 0, 1, 1]], "labels": 5},
        {"boxes": [[0, 0, 1, 1]], "labels": [["a"], ["b"]]},
        {"boxes": [[0, 0, 1, 1]], "labels": [{}]},
        {"boxes": [[0, 0, 1, 1]], "labels": [10**400]},
        {"boxes": [[0, 0, 1, 1]], "masks": object()},
        {"boxes": [[0, 0, 1, 10**400]]},
        {"scores": [1]},
        {10**5000: 1},
        [[1, 2, 3, "4"]],
        [[[1, 2, 3, 4]], [[1, 2, 3, 4]]],
    ],
)
def test_values_that_are_no_boxes_are_refused(value: object) -> None:
    refusal(value)


# ---- tables ----


def test_a_table_gives_geometry_label_score_and_properties() -> None:
    frame = gpd.GeoDataFrame(
        {"label": ["a", None], "score": [0.5, None], "n": np.array([1, 2]), "x": [math.nan, 1.5]},
        geometry=[shapely.Point(1, 2, 3), shapely.LinearRing(SQUARE)],
    )
    found = decode(frame, tile=TILE)
    assert found.labels == ["a", ""]
    assert found.scores == pytest.approx([0.5, math.nan], nan_ok=True)
    assert found.classes == ['[{"iri":"a","score":0.5}]', "[]"]
    assert found.properties == ['{"n":1,"x":null}', '{"n":2,"x":1.5}']
    assert found.geometry.tolist() == [shapely.Point(1, 2), shapely.LineString(SQUARE)]
    assert found.boxes.tolist() == [[1.0, 2.0, 1.0, 2.0], [0.0, 0.0, 10.0, 10.0]]


def test_rows_of_a_table_without_a_usable_geometry_are_counted() -> None:
    shapes = [None, shapely.Point(), shapely.Point(math.inf, 1), shapely.Point(3, 4)]
    found = decode(gpd.GeoDataFrame({"label": list("abcd")}, geometry=shapes), tile=TILE)
    assert (found.labels, found.dropped) == (["d"], {"NO_SHAPE": 2, "NOT_FINITE": 1})


def test_a_table_in_the_world_is_refused() -> None:
    assert "4326" in refusal(gpd.GeoDataFrame(geometry=[shapely.Point(1, 1)], crs=4326))
    assert "without geometry" in refusal(gpd.GeoDataFrame({"a": [1]}))


# ---- anything at all ----

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(-(10**400), 10**400),
    st.integers(-5, 600),
    st.text(max_size=3),
    st.sampled_from(["Point", "Polygon", "GeometryCollection", "LineString", "\ud800"]),
)
_KEYS = st.sampled_from(
    [
        "type",
        "coordinates",
        "geometries",
        "imageGeometry",
        "imageBBox",
        "featureClasses",
        "geom_imcoords",
        "detection",
        "pixelCoordinates",
        "bounds_imcoords",
        "feature_types",
        "iri",
        "score",
        "properties",
        "features",
        "boxes",
    ]
)
_JSON = st.recursive(
    _SCALARS, lambda part: st.lists(part, max_size=5) | st.dictionaries(_KEYS, part, max_size=4)
)
_POINTS = st.lists(st.lists(st.floats(-9, 600) | _SCALARS, min_size=2, max_size=3), max_size=6)
_SHAPES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["Point", "MultiPoint", "LineString", "Polygon", "MultiPolygon"]),
        "coordinates": _POINTS | st.lists(_POINTS, max_size=3) | _JSON,
    }
)
_PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "imageGeometry": _SHAPES | _JSON,
        "imageBBox": st.lists(st.floats(0, 500) | _SCALARS, min_size=4, max_size=4) | _JSON,
        "featureClasses": st.lists(st.fixed_dictionaries({"iri": st.text(), "score": _SCALARS})),
        "extra": _JSON,
    },
)
_FEATURES = st.lists(st.fixed_dictionaries({"properties": _PROPERTIES}) | _JSON, max_size=6)


def check(value: object) -> Detections | None:
    try:
        found = decode(value, tile=TILE)
    except BadResponseError:
        return None
    n = len(found)
    assert found.boxes.shape == (n, 4)
    assert found.geometry.shape == (n,)
    assert len(found.scores) == len(found.classes) == len(found.properties) == n
    assert np.isfinite(found.boxes).all()
    assert shapely.is_geometry(found.geometry).all()
    assert not shapely.is_empty(found.geometry).any()
    for text in (*found.classes, *found.properties):
        dumps(json.loads(text)).encode()
    return found


@settings(deadline=None, max_examples=300)
@given(features=_FEATURES)
def test_any_features_are_decoded_or_counted(features: list[object]) -> None:
    for value in ({"features": features}, json.dumps({"features": features})):
        found = check(value)
        assert found is not None
        assert len(found) + sum(found.dropped.values()) == len(features)


@settings(deadline=None)
@given(value=st.binary(max_size=60) | st.text(max_size=60) | _JSON | _JSON.map(json.dumps))
def test_any_answer_is_decoded_or_refused(value: object) -> None:
    check(value)


@settings(deadline=None)
@given(
    corners=st.lists(
        st.tuples(*[st.floats(0, 256)] * 2, *[st.floats(256, 512)] * 2), min_size=1, max_size=20
    )
)
def test_boxes_as_geojson_as_text_and_as_array_decode_alike(
    corners: list[tuple[float, ...]],
) -> None:
    said = answer(*({"imageBBox": list(box)} for box in corners))
    forms = [decode(f, tile=TILE) for f in (said, json.dumps(said).encode(), np.array(corners))]
    for found in forms:
        assert found.boxes.tolist() == [list(box) for box in corners]
        # exactly: a box without width is not even equal to itself as a set of points
        boxes = shapely.box(*np.array(corners).T)
        assert shapely.equals_exact(found.geometry, boxes, tolerance=0).all()


@given(value=st.dictionaries(st.text(alphabet="aé"), st.lists(st.floats(0, 1) | st.none())))
def test_properties_are_written_in_the_one_form_of_the_feature_table(value: object) -> None:
    assert columns.json_text(value) == dumps(value)
