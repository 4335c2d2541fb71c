import json
import math
import pickle
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from daskmr.core.features import Detections
from daskmr.core.grid import Size
from daskmr.core.wire import Answer
from daskmr.decode import NAMES, AnswerForm, columns
from daskmr.decode.answers import CONVENTIONS, decode
from daskmr.errors import BadResponseError, UnknownNameError

TILE = Size(height=64, width=96)
NAMED = AnswerForm(classes=("car", "ship"))


def read(answer: object, convention: str = "auto", **form: Any) -> Detections:
    return decode(answer, tile=TILE, form=AnswerForm(convention=convention, **form))


def refusal(answer: object, convention: str = "auto") -> str:
    with pytest.raises(BadResponseError) as caught:
        read(answer, convention)
    assert caught.value.reason == "BAD_RESPONSE"
    return str(caught.value)


COCO = [{"bbox": [10, 20, 20, 30], "category_id": 1, "score": 0.9}]
HUGGINGFACE = [
    {"label": "ship", "score": 0.9, "box": {"xmin": 10, "ymin": 20, "xmax": 30, "ymax": 50}}
]
ROBOFLOW = {
    "predictions": [
        {"x": 20, "y": 35, "width": 20, "height": 30, "class": "ship", "confidence": 0.9}
    ]
}
ULTRALYTICS = [
    {"name": "ship", "class": 1, "confidence": 0.9, "box": {"x1": 10, "y1": 20, "x2": 30, "y2": 50}}
]
KSERVE = {
    "outputs": [
        {
            "name": "Detection_Boxes",
            "datatype": "FP32",
            "shape": [1, 1, 4],
            "data": [10, 20, 30, 50],
        },
        {"name": "scores", "datatype": "FP64", "shape": [1, 1], "data": [[0.9]]},
        {"name": "class_ids", "datatype": "INT64", "shape": [1], "data": [1]},
    ]
}
GEOJSON = {
    "features": [
        {
            "properties": {
                "imageBBox": [10, 20, 30, 50],
                "featureClasses": [{"iri": "ship", "score": 0.9}],
            }
        }
    ]
}
SAME = [
    ("geojson", GEOJSON),
    ("coco", COCO),
    ("coco", {"annotations": COCO, "categories": [{"id": 1, "name": "ship"}]}),
    ("coco", [{"bbox": [10, 20, 20, 30], "category_name": "ship", "score": 0.9}]),
    ("huggingface", HUGGINGFACE),
    ("roboflow", ROBOFLOW),
    ("ultralytics", ULTRALYTICS),
    ("boxes", [[10, 20, 30, 50, 0.9, 1]]),
    ("boxes", [[[10, 20, 30, 50, 0.9, 1]]]),
    ("boxes", {"boxes": [[10, 20, 30, 50]], "scores": [0.9], "labels": ["ship"]}),
    ("boxes", {"boxes": [[10, 20, 30, 50]], "scores": [[0.9]], "labels": [1.0]}),
    ("kserve", KSERVE),
    (
        "kserve",
        {
            "outputs": [
                {
                    "name": "output0",
                    "datatype": "FP32",
                    "shape": [1, 1, 6],
                    "data": [[[10, 20, 30, 50, 0.9, 1]]],
                }
            ]
        },
    ),
]


def same(found: Detections) -> None:
    assert found.boxes.tolist() == [[10.0, 20.0, 30.0, 50.0]]
    assert found.geometry[0].equals(shapely.box(10, 20, 30, 50))
    assert (found.labels, found.dropped) == (["ship"], {})
    assert found.scores == pytest.approx([0.9])
    assert [entry["iri"] for entry in json.loads(found.classes[0])] == ["ship"]
    assert found.properties == ["{}"]


@pytest.mark.parametrize(("convention", "answer"), SAME)
def test_every_convention_says_the_same_ship(convention: str, answer: object) -> None:
    text = json.dumps(answer)
    forms: list[object] = [text, text.encode(), Answer(text.encode(), "application/json"), answer]
    for form in forms:
        same(read(form, convention, classes=NAMED.classes))
    same(decode(answer, tile=TILE, form=NAMED))  # a Python value needs no name
    if isinstance(answer, dict):
        same(decode(text, tile=TILE, form=NAMED))


# ---- the form ----


def test_the_table_holds_a_reader_for_every_name() -> None:
    assert {*CONVENTIONS, "auto"} == set(NAMES)


def test_a_form_is_a_plain_value() -> None:
    form = AnswerForm(convention="HuggingFace", classes=("a", "b"))
    assert form.convention == "huggingface"
    assert pickle.loads(pickle.dumps(form)) == form  # noqa: S301
    assert {form: 1}[AnswerForm(convention="huggingface", classes=("a", "b"))] == 1


def test_an_unknown_convention_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"'yolo'; known: auto, geojson, .*kserve"):
        AnswerForm(convention="yolo")


@pytest.mark.parametrize(
    ("number", "label"),
    [(0, "car"), (1, "ship"), (2, "2"), (-1, "-1"), (1.0, "ship"), (1.5, "1.5"), (math.nan, "")],
)
def test_class_numbers_have_names_where_the_form_gives_them(number: float, label: str) -> None:
    coco = [{"bbox": [1, 1, 2, 2], "category_id": number}]
    row = [[1, 1, 3, 3, 0.5, number]]
    beside = {"boxes": [[1, 1, 3, 3]], "labels": np.array([number])}
    frame = gpd.GeoDataFrame({"label": [number]}, geometry=[shapely.box(1, 1, 3, 3)])
    for answer in (coco, row, beside, frame):
        assert decode(answer, tile=TILE, form=NAMED).labels == [label]


# ---- what auto refuses ----


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ([], "set its convention with answer_format"),
        ([1], "set its convention with answer_format"),
        ([{"box": [1]}], "set its convention with answer_format"),
        (COCO, "looks like coco; set answer_format='coco'"),
        (HUGGINGFACE, "looks like huggingface; set answer_format='huggingface'"),
        (ULTRALYTICS, "looks like ultralytics; set answer_format='ultralytics'"),
        ([[1, 2, 3, 4]], "looks like boxes; set answer_format='boxes'"),
    ],
)
def test_a_json_list_is_refused_until_its_convention_is_named(answer: object, hint: str) -> None:
    text = json.dumps(answer)
    for form in (text, text.encode(), Answer(text.encode())):
        said = refusal(form)
        assert "a JSON list, not a FeatureCollection" in said
        assert hint in said


@pytest.mark.parametrize(
    ("convention", "answer"),
    [
        ("coco", "[]"),
        ("huggingface", "[]"),
        ("ultralytics", "[]"),
        ("boxes", "[]"),
        ("boxes", '{"boxes": [], "scores": [], "labels": []}'),
        ("boxes", '{"masks": []}'),
        ("roboflow", '{"predictions": []}'),
        ("coco", '{"annotations": []}'),
        ("geojson", '{"features": []}'),
        ("auto", []),
        ("coco", None),
    ],
)
def test_the_empty_answer_of_a_named_convention_is_no_detections(
    convention: str, answer: object
) -> None:
    found = read(answer, convention)
    assert (len(found), found.boxes.shape, found.dropped) == (0, (0, 4), {})


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(
    "text", ["null", "3", '"x"', "true", "", "<html>", "[" * 100_000, "1" * 5000, "{}"]
)
def test_what_no_convention_says_is_refused_by_each(convention: str, text: str) -> None:
    assert "answer" in refusal(text, convention)
    assert "answer" in refusal(text.encode(), convention)


@pytest.mark.parametrize(
    ("convention", "said"),
    [
        ("geojson", "a JSON list, not a FeatureCollection"),
        ("roboflow", "a JSON list, not an object"),
        ("kserve", 'no list of "outputs"'),
    ],
)
def test_a_list_is_refused_by_conventions_of_objects(convention: str, said: str) -> None:
    assert said in refusal("[]", convention)


@pytest.mark.parametrize(
    ("convention", "answer", "said"),
    [
        ("auto", [{"imageBBox": [0, 0, 1, 1]}], "a list of dicts {imageBBox}"),
        ("auto", '{"detections": []}', "{detections} has no"),
        ("roboflow", '{"predictions": {}}', "a JSON object, not a list"),
        ("coco", '{"images": []}', "a JSON null, not a list"),
        ("boxes", '{"scores": [1]}', '{scores} has no "boxes"'),
        ("boxes", '[[1, 2, 3, "4"]]', "boxes of the answer contain a str"),
        ("boxes", '{"boxes": [[1, 2, 3, 4]], "scores": "high"}', "scores"),
    ],
)
def test_a_refusal_names_what_came(convention: str, answer: object, said: str) -> None:
    assert said in refusal(answer, convention)


def test_too_many_detections_are_refused_in_every_convention(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(columns, "MAX_FEATURES", 1)
    for convention, answer in (
        ("coco", COCO * 2),
        ("huggingface", HUGGINGFACE * 2),
        ("ultralytics", ULTRALYTICS * 2),
        ("roboflow", {"predictions": ROBOFLOW["predictions"] * 2}),
        ("boxes", [[1, 2, 3, 4]] * 2),
        ("boxes", {"masks": np.ones((2, 64, 96))}),
        ("boxes", {"masks": np.arange(64 * 96).reshape(64, 96) // 2048}),
    ):
        assert "2 features, more than 1" in refusal(answer, convention)


# ---- outlines ----

CORNERS = [[5.0, 5.0], [15.0, 10.0], [10.0, 20.0], [0.0, 15.0]]
TURNED = shapely.Polygon(CORNERS)
XS, YS = [x for x, _ in CORNERS], [y for _, y in CORNERS]
FLAT = [value for corner in CORNERS for value in corner]
POINTS = [{"x": x, "y": y} for x, y in CORNERS]
BOX = {"x1": 0, "y1": 5, "x2": 15, "y2": 20}


@pytest.mark.parametrize(
    ("convention", "item"),
    [
        ("coco", {"segmentation": [FLAT]}),
        ("coco", {"bbox": [0, 5, 15, 15], "segmentation": [FLAT]}),
        ("coco", {"bbox": np.array([0, 5, 15, 15]), "segmentation": [np.array(FLAT)]}),
        ("roboflow", {"points": POINTS}),
        ("roboflow", {"x": 7.5, "y": 12.5, "width": 15, "height": 15, "points": POINTS}),
        ("ultralytics", {"box": {f"{k}{i + 1}": p[k] for i, p in enumerate(POINTS) for k in "xy"}}),
        ("ultralytics", {"box": BOX, "segments": {"x": XS, "y": YS}}),
        ("ultralytics", {"box": BOX, "segments": {"x": np.array(XS), "y": np.array(YS)}}),
    ],
)
def test_outlines_and_oriented_boxes_are_polygons(convention: str, item: dict[str, Any]) -> None:
    found = read({"predictions": [item]} if convention == "roboflow" else [item], convention)
    assert found.geometry[0].equals_exact(TURNED)
    assert found.boxes.tolist() == [[0.0, 5.0, 15.0, 20.0]]


def test_several_polygons_of_coco_are_one_detection() -> None:
    far = [40, 40, 50, 40, 50, 50]
    found = read([{"segmentation": [FLAT, far]}], "coco")
    wanted = shapely.MultiPolygon([TURNED, shapely.Polygon([(40, 40), (50, 40), (50, 50)])])
    assert found.geometry[0].equals_exact(wanted)
    assert found.boxes.tolist() == [[0.0, 5.0, 50.0, 50.0]]


@pytest.mark.parametrize(
    ("convention", "item"),
    [
        ("coco", {"bbox": [0, 5, 15, 15], "segmentation": {"size": [64, 96], "counts": "abc"}}),
        ("coco", {"bbox": [0, 5, 15, 15], "segmentation": [[1, 1, 2, 2]]}),
        ("coco", {"bbox": [0, 5, 15, 15], "segmentation": []}),
        ("ultralytics", {"box": BOX, "segments": {"x": [], "y": []}}),
    ],
)
def test_what_outlines_nothing_leaves_the_box(convention: str, item: object) -> None:
    found = read([item], convention)
    assert found.geometry[0].equals(shapely.box(0, 5, 15, 20))


@pytest.mark.parametrize(
    ("convention", "item", "reason"),
    [
        ("coco", 3, "NOT_A_FEATURE"),
        ("coco", {"score": 1}, "NO_SHAPE"),
        ("coco", {"segmentation": {"counts": []}}, "NO_SHAPE"),
        ("coco", {"bbox": [0, 0, -1, 1]}, "BAD_SHAPE"),
        ("coco", {"bbox": [0, 0, "1", 1]}, "BAD_SHAPE"),
        ("coco", {"bbox": {"x": 1}}, "BAD_SHAPE"),
        ("coco", {"bbox": [0, 0, math.nan, 1]}, "NOT_FINITE"),
        ("coco", {"bbox": [1e308, 0, 1e308, 1]}, "NOT_FINITE"),
        ("coco", {"bbox": [0, 0, 10**400, 1]}, "NOT_FINITE"),
        ("coco", {"bbox": [200, 0, 10, 10]}, "OUTSIDE"),
        ("coco", {"bbox": [0, 0, 1, 1], "category_id": 10**400}, "BAD_CLASSES"),
        ("coco", {"bbox": [0, 0, 1, 1], "category_id": [1]}, "BAD_CLASSES"),
        ("coco", {"bbox": [0, 0, 1, 1], "score": "high"}, "BAD_CLASSES"),
        ("coco", {"segmentation": [[0, 0, 1, 1, 2]]}, "BAD_SHAPE"),
        ("coco", {"segmentation": ["long text"]}, "BAD_SHAPE"),
        ("huggingface", {"label": "a", "mask": "iVBOR"}, "NO_SHAPE"),
        ("huggingface", {"box": {"xmin": 1}}, "BAD_SHAPE"),
        ("huggingface", {"box": [1, 2, 3, 4]}, "BAD_SHAPE"),
        ("roboflow", {"x": 1, "y": 1}, "BAD_SHAPE"),
        ("roboflow", {"points": [1, 2, 3]}, "BAD_SHAPE"),
        ("roboflow", {"points": POINTS[:2]}, "NO_SHAPE"),
        ("ultralytics", {"box": {"x3": 1}}, "BAD_SHAPE"),
        ("ultralytics", {"segments": {"x": [1, 2, 3], "y": [1]}}, "BAD_SHAPE"),
        ("ultralytics", {"segments": "none"}, "BAD_SHAPE"),
    ],
)
def test_an_object_that_cannot_be_used_is_counted(
    convention: str, item: object, reason: str
) -> None:
    good: dict[str, Any] = {
        "coco": COCO[0],
        "huggingface": HUGGINGFACE[0],
        "roboflow": ROBOFLOW["predictions"][0],
        "ultralytics": ULTRALYTICS[0],
    }
    items = [good[convention], item, good[convention]]
    answer: object = {"predictions": items} if convention == "roboflow" else items
    for form in (answer, json.dumps(answer)):
        found = read(form, convention)
        assert found.boxes.tolist() == [[10.0, 20.0, 30.0, 50.0]] * 2
        assert found.dropped == {reason: 1}


def test_what_a_convention_does_not_know_is_kept_as_properties() -> None:
    item = {**COCO[0], "image_id": 7, "area": 600.0}
    assert read([item], "coco").properties == ['{"image_id":7,"area":600.0}']


def test_a_category_of_the_data_set_goes_before_the_classes_of_the_form() -> None:
    answer = {"annotations": COCO, "categories": [{"id": 1, "name": "boat"}, 3, {"id": []}]}
    assert decode(answer, tile=TILE, form=NAMED).labels == ["boat"]
    assert decode(COCO, tile=TILE, form=NAMED).labels == ["ship"]
    assert read(COCO, "coco").labels == ["1"]


def test_null_among_boxes_is_not_a_number() -> None:
    found = read('{"boxes": [[1, 2, 3, null], [1, 2, 3, 4]], "scores": [null, null]}')
    assert (len(found), found.dropped) == (1, {"NOT_FINITE": 1})
    assert math.isnan(found.scores[0])


def test_a_long_text_among_numbers_takes_no_memory() -> None:
    rows = [[0, 0, 1, 1]] * 50_000
    assert "contain a str" in refusal(json.dumps([*rows, [0, 0, 1, "x" * 1_000_000]]), "boxes")
    scores = [0.5] * 50_000 + ["x" * 1_000_000]
    assert "contain a str" in refusal({"boxes": [*rows, rows[0]], "scores": scores})


def test_the_last_of_duplicate_keys_counts() -> None:
    assert len(read('{"predictions": 3, "predictions": []}')) == 0


def test_half_a_surrogate_pair_is_replaced() -> None:
    found = read(r'[{"bbox": [1, 1, 2, 2], "category_name": "\ud800!", "\udfff": 1}]', "coco")
    assert (found.labels, found.properties) == (["?!"], ['{"?":1}'])
    assert r"\udfff" in refusal(r'{"\udfff": 1}')


# ---- anything at all ----

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(-(10**400), 10**400),
    st.integers(-3, 90),
    st.text(max_size=3),
    st.sampled_from(["FP32", "INT64", "BYTES", "BOOL", "boxes", "masks", "scores", "\ud800"]),
)
_KEYS = st.sampled_from(
    [
        "features",
        "properties",
        "predictions",
        "outputs",
        "boxes",
        "masks",
        "scores",
        "labels",
        "annotations",
        "categories",
        "id",
        "name",
        "class",
        "confidence",
        "box",
        "x1",
        "y1",
        "x2",
        "y2",
        "x3",
        "y3",
        "x4",
        "y4",
        "segments",
        "x",
        "y",
        "width",
        "height",
        "points",
        "bbox",
        "segmentation",
        "category_id",
        "category_name",
        "score",
        "label",
        "xmin",
        "ymin",
        "xmax",
        "ymax",
        "shape",
        "datatype",
        "data",
        "parameters",
        "binary_data_size",
    ]
)
_JSON = st.recursive(
    _SCALARS, lambda part: st.lists(part, max_size=5) | st.dictionaries(_KEYS, part, max_size=6)
)
_NUMBERS = st.integers(-3, 90) | st.floats(-3, 90) | _SCALARS
_COORDINATES = st.lists(_NUMBERS, max_size=8)
_ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "bbox": st.lists(_NUMBERS, min_size=4, max_size=4) | _JSON,
        "segmentation": st.lists(_COORDINATES, max_size=3) | _JSON,
        "box": st.fixed_dictionaries(
            dict.fromkeys(("xmin", "ymin", "xmax", "ymax", "x1", "y1", "x2", "y2"), _NUMBERS),
            optional=dict.fromkeys(("x3", "y3", "x4", "y4"), _NUMBERS),
        ),
        "segments": st.fixed_dictionaries({"x": _COORDINATES, "y": _COORDINATES}) | _JSON,
        "points": st.lists(st.fixed_dictionaries({"x": _NUMBERS, "y": _NUMBERS})) | _JSON,
        **dict.fromkeys(("x", "y", "width", "height"), _NUMBERS),
        **dict.fromkeys(("label", "score", "class", "name", "confidence"), _SCALARS),
        **dict.fromkeys(("category_id", "category_name"), _SCALARS),
    },
)
_LISTS = st.lists(_ITEMS | _JSON, max_size=4)
_MASKS = st.lists(st.lists(st.lists(_NUMBERS, max_size=3), max_size=3), max_size=3)
_ARRAYS = st.fixed_dictionaries(
    {},
    optional={
        "boxes": st.lists(st.lists(_NUMBERS, min_size=4, max_size=6), max_size=3) | _JSON,
        "scores": _COORDINATES | _JSON,
        "labels": st.lists(_SCALARS, max_size=3) | _JSON,
        "masks": _MASKS | _JSON,
    },
)
_OUTPUTS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["boxes", "scores", "labels", "masks", "num_dets", "x"]) | _JSON,
        "datatype": st.sampled_from(["FP32", "INT64", "BYTES", "BOOL"]) | _JSON,
        "shape": st.lists(st.integers(0, 6) | _SCALARS, max_size=4) | _JSON,
        "data": st.lists(_NUMBERS, max_size=12) | _JSON,
    },
    optional={"parameters": st.fixed_dictionaries({"binary_data_size": _SCALARS}) | _JSON},
)
_ANSWERS = st.one_of(
    _JSON,
    _LISTS,
    _ARRAYS,
    st.fixed_dictionaries({"predictions": _LISTS}),
    st.fixed_dictionaries({"annotations": _LISTS, "categories": _LISTS | _JSON}),
    st.fixed_dictionaries({"outputs": st.lists(_OUTPUTS, max_size=3)}),
)


def check(answer: object, convention: str, tile: Size) -> None:
    form = AnswerForm(convention=convention, classes=("a",))
    try:
        found = decode(answer, tile=tile, form=form)
    except BadResponseError as error:
        str(error).encode()
        return
    n = len(found)
    assert found.boxes.shape == (n, 4)
    assert found.geometry.shape == (n,)
    assert len(found.scores) == len(found.classes) == len(found.properties) == n
    assert np.isfinite(found.boxes).all()
    assert shapely.is_geometry(found.geometry).all()
    assert not shapely.is_empty(found.geometry).any()
    for text in (*found.labels, *found.classes, *found.properties):
        text.encode()


@settings(deadline=None, max_examples=300)
@given(answer=_ANSWERS, size=st.integers(0, 3))
def test_any_json_under_any_convention_is_decoded_or_refused(answer: object, size: int) -> None:
    text = json.dumps(answer)
    for convention in NAMES:
        for form in (answer, text):
            check(form, convention, Size(height=size, width=size))


@settings(deadline=None, max_examples=300)
@given(
    body=st.binary(max_size=80)
    | st.binary(max_size=80).map(lambda rest: b"\x93NUMPY\x01\0" + rest),
    head=st.integers(0, 90),
)
def test_any_bytes_under_any_convention_are_decoded_or_refused(body: bytes, head: int) -> None:
    for convention in NAMES:
        check(body, convention, TILE)
        check(Answer(body, f"application/octet-stream;json-header-size={head}"), convention, TILE)


@settings(deadline=None)
@given(answer=_LISTS)
def test_every_object_of_a_list_is_decoded_or_counted(answer: list[object]) -> None:
    for convention in ("coco", "huggingface", "ultralytics"):
        found = read(json.dumps(answer), convention)
        assert len(found) + sum(found.dropped.values()) == len(answer)
