"""Model Runner's requests: every form that is read, every refusal, cases Q1 to Q25."""

import json
from contextlib import suppress
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core.grid import Size
from daskmr.core.request import ImageRequest, KinesisOutput, Merging, S3Output
from daskmr.errors import RequestError

BASE: dict[str, Any] = {
    "jobId": "job-1",
    "jobName": "for people",
    "imageUrls": ["s3://bucket/image.tif"],
    "imageProcessor": {"name": "aircraft", "type": "SM_ENDPOINT"},
    "imageProcessorTileSize": 1024,
    "imageProcessorTileOverlap": 50,
    "imageProcessorTileFormat": "NITF",
    "imageProcessorTileCompression": "NONE",
    "outputs": [{"type": "S3", "bucket": "b", "prefix": "p"}],
}


def parsed(**changes: Any) -> ImageRequest:
    """The base request with some fields changed; None leaves a field out."""
    document = {n: v for n, v in {**BASE, **changes}.items() if v is not None}
    return ImageRequest.from_json(json.dumps(document))


def refused(**changes: Any) -> str:
    with pytest.raises(RequestError) as caught:
        parsed(**changes)
    return str(caught.value)


def test_a_valid_request_is_read_whole() -> None:  # Q1
    request = parsed()
    assert (request.job_id, request.job_name) == ("job-1", "for people")
    assert request.image_urls == ("s3://bucket/image.tif",)
    assert (request.image_processor.name, request.image_processor.type) == (
        "aircraft",
        "SM_ENDPOINT",
    )
    assert request.outputs == (S3Output(type="S3", bucket="b", prefix="p"),)
    assert request.warnings == ()


@pytest.mark.parametrize(("value", "text"), [(42, "42"), (0, "0"), (4.5, "4.5"), ("42", "42")])
def test_a_number_as_name_of_a_job_becomes_its_text(value: object, text: str) -> None:
    request = parsed(jobId=value, jobName=value)
    assert (request.job_id, request.job_name) == (text, text)


def test_what_is_neither_text_nor_a_number_is_no_name_of_a_job() -> None:
    assert refused(jobId=True).startswith("jobId: True")
    assert refused(jobName=["a"]).startswith("jobName: ")


def test_documented_defaults_are_applied() -> None:  # Q2, Q3, Q7, Q19
    request = ImageRequest.from_json(
        {"jobId": "j", "imageUrls": ["x.tif"], "imageProcessor": {"name": "m"}}
    )
    assert request.image_processor_tile_size == Size.parse(1024)
    assert request.image_processor_tile_overlap == Size.parse(50)
    assert request.image_processor_tile_format == "NITF"
    assert request.image_processor_tile_compression == "NONE"
    assert request.image_processor.type == "SM_ENDPOINT"
    # The one default that is another than documented: docs/merging.md has the reason.
    best = Merging(algorithm_type="EDGE_AWARE", iou_threshold=0.5)
    assert request.merging == best
    assert parsed(postProcessing=None).merging == best
    assert parsed(postProcessing=[]).merging == best
    step = {"step": "FEATURE_DISTILLATION"}
    assert parsed(postProcessing=[step]).merging == Merging(
        algorithm_type="NMS", iou_threshold=0.75
    )


def test_tile_sizes_may_be_text_or_rectangular() -> None:  # Q4
    assert parsed(imageProcessorTileSize="512").image_processor_tile_size == Size.parse(512)
    for value in ("640x480", [640, 480]):
        found = parsed(imageProcessorTileSize=value).image_processor_tile_size
        assert found == Size(height=480, width=640)
    assert "512.7" in refused(imageProcessorTileSize=512.7)
    assert "True" in refused(imageProcessorTileSize=True)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"imageProcessorTileOverlap": 1024}, "imageProcessorTileOverlap: 1024 "),  # Q5
        ({"imageProcessorTileOverlap": -1}, "imageProcessorTileOverlap: -1"),
        ({"imageProcessorTileSize": 0}, "imageProcessorTileSize: 0"),
        ({"imageProcessorTileSize": 8193}, "imageProcessorTileSize: 8193"),
        ({"imageProcessorTileSize": [512, 512, 3]}, "imageProcessorTileSize: [512, 512, 3]"),
        ({"imageProcessorTileSize": "5_1_2"}, "imageProcessorTileSize: '5_1_2'"),
        (
            {"imageProcessorTileSize": 40, "imageProcessorTileOverlap": None},
            "imageProcessorTileOverlap: 50x50 is not less than imageProcessorTileSize 40x40",
        ),
        (
            {"imageProcessorTileSize": [64, 512], "imageProcessorTileOverlap": [64, 8]},
            "imageProcessorTileOverlap: [64, 8] is not less than imageProcessorTileSize 64x512",
        ),
        ({"imageProcessor": None}, "imageProcessor: is missing"),  # Q6
        ({"imageProcessor": {"name": "m", "type": "a.b"}}, "imageProcessor.type: 'A.B'"),  # Q8
        ({"imageProcessorTileFormat": "B/P"}, "'B/P'"),
        ({"imageProcessorTileCompression": 3}, "imageProcessorTileCompression: 3"),
        ({"imageUrls": []}, "imageUrls: [] is empty"),  # Q10
        ({"imageUrls": ["a", " "]}, "imageUrls.1: ' ' is empty"),
        ({"imageUrls": [5]}, "imageUrls.0: 5: "),
        ({"imageUrls": ["a"] * 1001}, "imageUrls: ['a'"),
        ({"outputs": None, "outputBucket": "bb"}, "outputBucket: 'bb'"),  # Q13
        ({"outputs": None, "outputPrefix": "pp"}, "outputPrefix: 'pp'"),
        ({"outputs": 5, "outputBucket": "bb", "outputPrefix": "pp"}, "outputs: 5"),
        ({"outputs": [{"type": "kinesis", "stream": "s"}]}, "kinesis"),  # Q14
        ({"outputs": [{"type": "S3", "prefix": "p"}]}, "outputs.0.bucket: is missing"),  # Q15
        ({"outputs": [{"type": "Kinesis"}]}, "outputs.0.stream: is missing"),
        (
            {"outputs": [{"type": "Kinesis", "stream": "s", "batchSize": 0}]},
            "outputs.0.batchSize: 0",
        ),
        ({"job_id": "k"}, "jobId: stands twice, also as job_id"),
        (
            {"imageProcessor": {"name": "m", "assumedRole": "arn:a", "assumed_role": "arn:b"}},
            "imageProcessor: ",
        ),
        ({"imageProcessorParameters": {"S3": [1]}}, "imageProcessorParameters.S3: [1]"),
        ({"jobId": None}, "jobId: is missing"),  # Q16
        ({"imageReadRole": "role"}, "imageReadRole: 'role'"),  # Q17
        ({"imageProcessor": {"name": "m", "assumedRole": "x"}}, "assumedRole: 'x'"),
        ({"regionOfInterest": "POLYGON (("}, "regionOfInterest: 'POLYGON (('"),  # Q18
        ({"regionOfInterest": "POINT (1 2)"}, "Point"),
        ({"featureProperties": {"a": 1}}, "featureProperties"),  # Q25
        ({"featureProperties": [{"a": "x" * 70_000}]}, "featureProperties"),
        ({"imageProcessor": {"name": "os:system"}}, "imageProcessor.name: 'os:system'"),
        ({"imageProcessor": {"name": "m", "type": "HTTP_ENDPOINT"}}, "imageProcessor.name: 'm'"),
        (
            {"imageProcessor": {"name": "https://", "type": "http_endpoint"}},
            "imageProcessor.name: 'https://'",
        ),
        ({"imageProcessor": {"name": ""}}, "imageProcessor.name"),
        ({"jobId": "../x"}, "'../x'"),
        ({"jobId": "a..b"}, "'a..b'"),
        ({"jobId": "a\n"}, "jobId"),
        ({"jobId": "x" * 129}, "jobId"),
        ({"outputs": [{"type": "S3", "bucket": "b"}] * 9}, "outputs"),
    ],
)
def test_a_bad_field_is_refused_by_path_and_value(changes: dict[str, Any], named: str) -> None:
    assert named in refused(**changes)


@pytest.mark.parametrize(
    ("changes", "n_problems"),
    [
        ({"imageUrls": [5]}, 1),
        ({"imageProcessorParameters": {"a": {"b": 1}}}, 1),
        ({"outputs": None, "outputBucket": "b", "jobId": "/", "imageReadRole": "x"}, 3),
        ({"featureProperties": [0] * 1000}, 101),
    ],
)
def test_each_bad_field_is_one_problem_and_there_are_not_too_many(
    changes: dict[str, Any], n_problems: int
) -> None:
    with pytest.raises(RequestError) as caught:
        parsed(**changes)
    assert len(caught.value.problems) == n_problems
    assert all(len(problem) < 300 for problem in caught.value.problems)


@pytest.mark.parametrize("name", ["iouThreshold", "skipBoxThreshold", "sigma"])
@pytest.mark.parametrize("value", [-0.1, "0.5", True, [0.5], 10**400 * -1])
def test_a_threshold_that_is_none_is_refused(name: str, value: object) -> None:
    assert f"postProcessing.0.algorithm.{name}: " in refused(postProcessing=step(**{name: value}))


def test_null_is_as_good_as_left_out() -> None:
    processor = {"name": "m", "type": None, "assumedRole": None}
    nulls = dict.fromkeys(
        ["imageReadRole", "imageProcessorTileSize", "regionOfInterest", "outputs", "outputBucket"]
    )
    document = {**BASE, **nulls, "imageProcessor": processor, "featureProperties": [{"a": None}]}
    request = ImageRequest.from_json(document)
    assert request.image_processor.type == "SM_ENDPOINT"
    assert request.image_processor_tile_size == Size.parse(1024)
    assert (request.region_of_interest, request.outputs, request.warnings) == (None, (), ())
    assert request.feature_properties == ({"a": None},)


def test_a_bad_request_leaves_its_neighbours_alone() -> None:  # Q26
    names = []
    for document in (BASE, {"jobId": "bad"}, {**BASE, "jobId": "job-2"}):
        with suppress(RequestError):
            names.append(ImageRequest.from_json(document).job_id)
    assert names == ["job-1", "job-2"]


def test_names_of_formats_may_be_in_any_case() -> None:  # Q8
    request = parsed(imageProcessorTileFormat="gtiff", imageProcessorTileCompression="lzw")
    assert request.image_processor_tile_format == "GTIFF"
    assert request.image_processor_tile_compression == "LZW"


def test_every_image_is_kept() -> None:  # Q11
    assert parsed(imageUrls=["a", "b"]).image_urls == ("a", "b")


def test_the_legacy_output_form_is_read() -> None:  # Q12
    request = parsed(outputs=None, outputBucket="bb", outputPrefix="pp")
    assert request.outputs == (S3Output(type="S3", bucket="bb", prefix="pp"),)


def test_both_kinds_of_output_are_read() -> None:
    stream = {"type": "Kinesis", "stream": "s", "batchSize": 5, "assumedRole": "arn:aws:iam::1:r"}
    (output,) = parsed(outputs=[stream]).outputs
    assert isinstance(output, KinesisOutput)
    assert (output.stream, output.batch_size, output.assumed_role) == ("s", 5, "arn:aws:iam::1:r")


def step(**algorithm: Any) -> list[dict[str, Any]]:
    return [{"step": "FEATURE_DISTILLATION", "algorithm": algorithm}]


def test_post_processing_is_kept_as_asked_for() -> None:  # Q20, Q21, Q22, Q23
    documented = step(algorithmType="NMS", iouThreshold=0.6, skipBoxThreshold=0.0001)
    assert parsed(postProcessing=documented).merging.iou_threshold == 0.6
    soft = step(algorithmType="SOFT_NMS", iouThreshold=0.5, skipBoxThreshold=0.1, sigma=0.3)
    assert parsed(postProcessing=soft).merging == Merging(
        algorithm_type="SOFT_NMS", iou_threshold=0.5, skip_box_threshold=0.1, sigma=0.3
    )
    assert parsed(postProcessing=step(algorithmType="SOFT_NMS")).merging.sigma == 0.1
    assert parsed(postProcessing=step(algorithmType="none")).merging.algorithm_type == "NONE"
    assert "postProcessing" in refused(postProcessing=step() * 2)
    assert "M-?" in refused(postProcessing=step(algorithmType="m-?"))
    assert "1.5" in refused(postProcessing=step(algorithmType="NMS", iouThreshold=1.5))
    assert "sigma" in refused(postProcessing=step(algorithmType="SOFT_NMS", sigma=0))


def test_merging_says_what_model_runner_knows_nothing_of() -> None:
    aware = parsed(postProcessing=step(algorithmType="edge_aware", maxCount=9, classAware=False))
    assert aware.merging.iou_threshold == 0.5
    assert aware.merging.options == {"max_count": 9, "class_aware": False}
    said = step(algorithm_type="EDGE_AWARE", iou_threshold=None)
    assert parsed(postProcessing=said).merging.iou_threshold == 0.5
    said = step(algorithmType="EDGE_AWARE", iouThreshold=0.75)
    assert parsed(postProcessing=said).merging.iou_threshold == 0.75
    soft = parsed(postProcessing=step(algorithmType="SOFT_NMS", method="linear", sigma=0.3))
    assert soft.merging.options == {
        "method": "linear", "sigma": 0.3, "skip_box_threshold": 0.0001,
    }  # fmt: skip
    documented = step(algorithmType="NMS", iouThreshold=0.6, skipBoxThreshold=0.0001, sigma=0.1)
    assert parsed(postProcessing=documented).merging.options == {}
    special = {"classThresholds": {"car": 0.3}, "classGroups": [["car", "van"]], "metric": "ios"}
    for name in ("NMM", "WBF", "NMS"):
        request = parsed(postProcessing=step(algorithmType=name, **special))
        assert request.merging.options == {
            "class_thresholds": {"car": 0.3}, "class_groups": (("car", "van"),), "metric": "ios",
        }  # fmt: skip
        assert ImageRequest.from_json(request.to_json()) == request
    assert "metric" in refused(postProcessing=step(algorithmType="NMS", metric="giou"))
    assert "maxCount" in refused(postProcessing=step(algorithmType="NMS", maxCount=0))


def test_what_is_ignored_is_told() -> None:  # Q24
    request = parsed(imageProcessorParameters="abc", unheardOf=5)
    assert request.image_processor_parameters == {}
    assert [w.split(":")[0] for w in request.warnings] == ["unheardOf", "imageProcessorParameters"]
    kept = parsed(imageProcessorParameters={"CustomAttributes": "a=1", "X-N": 5})
    assert kept.image_processor_parameters == {"CustomAttributes": "a=1", "X-N": 5}


def test_snake_case_names_are_read_as_well() -> None:
    request = ImageRequest.from_json(
        {
            "job_id": "j",
            "image_urls": ["x"],
            "image_processor": {"name": "m", "assumed_role": "arn:x"},
            "image_processor_tile_size": 64,
            "image_processor_tile_overlap": 8,
        }
    )
    assert request.image_processor.assumed_role == "arn:x"
    assert request.image_processor_tile_size == Size.parse(64)


def test_a_misspelt_name_is_no_name() -> None:
    request = parsed(**{"image-processor-tile-size": 64, "ImageUrls": ["z"], "warnings": ["w"]})
    assert request.image_processor_tile_size == Size.parse(1024)
    assert request.image_urls == ("s3://bucket/image.tif",)
    assert sorted(w.split(":")[0] for w in request.warnings) == [
        "ImageUrls",
        "image-processor-tile-size",
        "warnings",
    ]


def test_what_is_ignored_is_told_in_one_short_line() -> None:
    request = parsed(imageProcessorParameters="x" * 9000, **{"two\nlines" + "y" * 900: 1})
    assert all(len(w) < 200 and "\n" not in w for w in request.warnings)
    assert len(request.warnings) == 2


def test_all_bad_fields_are_named_in_one_error() -> None:
    message = refused(jobId="/", imageUrls=[], imageProcessorTileFormat="B.P", imageReadRole="x")
    for field in ("jobId", "imageUrls", "imageProcessorTileFormat", "imageReadRole"):
        assert f"{field}: " in message
    assert len(message.splitlines()) == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "5",
        "null",
        "{",
        '{"jobId": NaN}',
        '{"jobId": "a", "jobId": "b"}',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"imageProcessorTileSize": ' + "9" * 10_000 + "}",
        b"\xff\xfe",
        "{" + " " * 300_000 + "}",
        '{"featureProperties": ' + "[" * 60 + "]" * 60 + "}",
        '{"featureProperties": [{"a": 1e999}]}',
        '{"jobId": "\\ud800"}',
        '{"jobId": "\ud800"}',
    ],
)
def test_what_is_no_request_document_is_one_error(text: str | bytes) -> None:
    with pytest.raises(RequestError, match=r"\Arequest: "):
        ImageRequest.from_json(text)


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"a": found}
    return found


@pytest.mark.parametrize(
    "value",
    [
        {**BASE, "featureProperties": [nested(100_000)]},
        {**BASE, "unheardOf": nested(50)},
        {**BASE, "featureProperties": [{"a": float("nan")}]},
        {**BASE, "featureProperties": [{"a": {1, 2}}]},
        {**BASE, "unheardOf": "x" * 300_000},
        {(1, 2): 3},
        [BASE],
        None,
        5,
    ],
)
def test_a_value_that_json_cannot_say_is_one_error(value: Any) -> None:
    with pytest.raises(RequestError, match=r"\Arequest: "):
        ImageRequest.from_json(value)


def test_many_keys_of_which_the_last_two_are_the_same_are_refused_at_once() -> None:
    keys = ",".join(f'"{i}":0' for i in [*range(25_000), 24_999])
    start = perf_counter()
    with pytest.raises(RequestError, match="'24999' stands twice"):
        ImageRequest.from_json(f"{{{keys}}}")
    assert perf_counter() - start < 2


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)
words = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=20
).filter(str.strip)
requests: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "jobId": names,
        "imageUrls": st.lists(words, min_size=1, max_size=3),
        "imageProcessor": st.fixed_dictionaries({"name": names}),
    },
    optional={
        "imageProcessorTileSize": st.one_of(st.integers(60, 8192), st.just([100, 200])),
        "imageProcessorTileFormat": st.sampled_from(["NITF", "gtiff", "PNG"]),
        "imageProcessorParameters": st.one_of(
            words, st.dictionaries(words, st.one_of(words, st.booleans(), st.integers()))
        ),
        "imageReadRole": st.sampled_from(["", "arn:aws:iam::1:role/r", None]),
        "featureProperties": st.lists(
            st.dictionaries(words, st.one_of(words, st.none(), st.just({}))), max_size=2
        ),
        "outputs": st.lists(
            st.one_of(
                st.fixed_dictionaries(
                    {"type": st.just("S3"), "bucket": words}, optional={"prefix": st.text("ab/")}
                ),
                st.fixed_dictionaries(
                    {"type": st.just("Kinesis"), "stream": words},
                    optional={"batchSize": st.integers(1, 500)},
                ),
            ),
            max_size=2,
        ),
        "unheardOf": words,
        "regionOfInterest": st.just("POLYGON ((0 0, 1 0, 1 1, 0 0))"),
        "postProcessing": st.just(step(algorithmType="SOFT_NMS", sigma=0.5)),
    },
)


@given(requests)
def test_a_request_written_out_reads_back_equal(document: dict[str, Any]) -> None:
    request = ImageRequest.from_json(document)
    again = ImageRequest.from_json(request.to_json())
    assert again == request
    assert hash(again) == hash(request)
    assert again.warnings == ()
    assert again != request.model_copy(update={"image_urls": ("another",)})


def test_a_request_written_out_says_its_defaults() -> None:
    text = ImageRequest.from_json(
        {"jobId": "j", "imageUrls": ["x.tif"], "imageProcessor": {"name": "m"}}
    ).to_json()
    assert json.loads(text) == {
        "jobId": "j",
        "imageUrls": ["x.tif"],
        "imageProcessor": {"name": "m", "type": "SM_ENDPOINT"},
        "imageProcessorTileSize": 1024,
        "imageProcessorTileOverlap": 50,
        "imageProcessorTileFormat": "NITF",
        "imageProcessorTileCompression": "NONE",
        "priority": 0,
    }


junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def any_of(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of some of these keys, whatever their values."""
    return st.dictionaries(st.sampled_from(names), junk, max_size=4)


outputs = any_of("type", "bucket", "stream", "prefix", "role", "batchSize").flatmap(
    lambda output: st.sampled_from(
        [output, {**output, "type": "S3"}, {**output, "type": "Kinesis"}]
    )
)
algorithms = any_of("algorithmType", "iouThreshold", "iou_threshold", "skipBoxThreshold", "sigma")
documents = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys([*BASE, "regionOfInterest", "postProcessing", "outputPrefix"], junk),
        "image_processor": any_of("name", "type", "assumedRole", "assumed_role"),
        "imageProcessorParameters": st.dictionaries(st.text(max_size=4), junk, max_size=3),
        "outputs": st.lists(outputs, max_size=3),
        "outputBucket": junk,
        "featureProperties": st.lists(junk, max_size=2),
        "post_processing": st.lists(
            st.fixed_dictionaries(
                {"step": st.just("FEATURE_DISTILLATION"), "algorithm": algorithms}
            ),
            max_size=2,
        ),
    },
)


@given(documents)
def test_no_document_gives_another_error(document: dict[str, Any]) -> None:
    for value in (document, {**BASE, **document}, {**document, **BASE}):
        with suppress(RequestError):
            ImageRequest.from_json(value)
        with suppress(RequestError):
            ImageRequest.from_json(json.dumps(value))


@given(st.one_of(st.text(), st.binary()))
def test_no_text_gives_another_error(text: str | bytes) -> None:
    with pytest.raises(RequestError):
        ImageRequest.from_json(text)
