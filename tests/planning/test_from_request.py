"""Names of plug-ins in requests: those that there are, and no others."""

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import daskmr
from daskmr.core.grid import Window
from daskmr.encode import ENCODERS, compressions, encoder
from daskmr.endpoints import ENDPOINTS
from daskmr.errors import RequestError
from daskmr.merge import MERGES
from daskmr.planning.from_request import calls_from_request, check_request, read_request
from daskmr.planning.make_plan import make_plan
from daskmr.planning.outputs import destination
from daskmr.planning.settings import Settings
from daskmr.service.policy import RequestPolicy
from daskmr.testing.images import HALF_METRE, UTM, write_image

BASE: dict[str, Any] = {
    "jobId": "a", "imageUrls": ["s3://b/x.tif"], "imageProcessor": {"name": "m"},
    "outputs": [{"type": "S3", "bucket": "b"}],
}  # fmt: skip


def step(algorithm: str) -> dict[str, Any]:
    algorithm_step = {"step": "FEATURE_DISTILLATION", "algorithm": {"algorithmType": algorithm}}
    return {"postProcessing": [algorithm_step]}


@pytest.mark.parametrize("name", MERGES.names())
def test_every_way_to_merge_may_be_named(name: str) -> None:
    assert read_request({**BASE, **step(name)}).merging.algorithm_type == name.upper()


@pytest.mark.parametrize(
    ("name", "compression"), [(n, c) for n in ENCODERS.names() for c in compressions(n)]
)
def test_every_tile_format_may_be_named(name: str, compression: str) -> None:
    format_ = {"imageProcessorTileFormat": name, "imageProcessorTileCompression": compression}
    (call,) = calls_from_request(read_request({**BASE, **format_}), None)
    assert (call["tile_format"], call["tile_compression"]) == (name, compression)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            step("MAGIC"),
            "postProcessing.0.algorithm.algorithmType: 'MAGIC' is none of",
        ),
        (
            {"imageProcessorTileFormat": "BMP"},
            "imageProcessorTileFormat: 'BMP' is none of",
        ),
        (
            {"imageProcessorTileFormat": "PNG", "imageProcessorTileCompression": "ZSTD"},
            "imageProcessorTileFormat: tile format 'PNG' with compression 'ZSTD'",
        ),
        (
            {"imageProcessor": {"name": "m", "type": "FOO"}},
            "imageProcessor.type: 'FOO' is none of SM_ENDPOINT, HTTP_ENDPOINT",
        ),
        (
            {"imageProcessor": {"name": "m", "type": "SAGEMAKER-ASYNC"}},
            "imageProcessor.type: 'SAGEMAKER-ASYNC' is none of SM_ENDPOINT, HTTP_ENDPOINT",
        ),
    ],
)
def test_unknown_names_are_refused_with_those_that_there_are(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError) as caught:
        read_request({**BASE, **fields})
    assert str(caught.value).startswith(message)
    request = daskmr.ImageRequest.from_json({**BASE, **fields})
    with pytest.raises(RequestError, match=r"is none of|does not exist"):
        calls_from_request(request, None)


def test_all_unknown_names_and_wrong_values_are_told_at_once() -> None:
    fields = {**step("X"), "imageProcessorTileFormat": "Y", "priority": 1000}
    with pytest.raises(RequestError) as caught:
        read_request({**BASE, **fields, "imageProcessor": {"name": "m", "type": "Z"}})
    assert len(caught.value.problems) == 4


def test_an_endpoint_of_another_kind_is_called_if_the_operator_lists_its_address(
    bring_plugins: Any,
) -> None:
    bring_plugins({"endpoint": "folder = endpoint:FolderEndpoint"})
    assert "folder" in ENDPOINTS.names()
    request = read_request({**BASE, "imageProcessor": {"type": "folder", "name": "/answers/a"}})
    (call,) = calls_from_request(request, None)
    assert call["model"] == "folder:///answers/a"
    listed: dict[str, Any] = {"images": ("s3://b",), "outputs": ("s3://b",)}
    RequestPolicy(endpoints=("ships", "folder:///answers/*"), **listed).check(request)
    for patterns in (("*",), ("folder:///other/*",), ("/answers/a",)):
        with pytest.raises(RequestError, match=r"'folder:///answers/a' may not be called"):
            RequestPolicy(endpoints=patterns, **listed).check(request)


MODEL_RUNNER_FORMATS = ("GTIFF", "NITF", "JPEG", "PNG")
MODEL_RUNNER_COMPRESSIONS = ("NONE", "JPEG", "J2K", "LZW")


@pytest.mark.parametrize("compression", MODEL_RUNNER_COMPRESSIONS)
@pytest.mark.parametrize("name", MODEL_RUNNER_FORMATS)
def test_all_pairs_of_model_runner_run(name: str, compression: str) -> None:
    fields = {"imageProcessorTileFormat": name, "imageProcessorTileCompression": compression}
    request = read_request({**BASE, **fields})
    warnings = check_request(request)
    exists = compression in compressions(name)
    assert len(warnings) == (not exists)
    made: Any = encoder(name, compression)
    if exists:
        assert getattr(made, "compression", "NONE") == compression
    else:
        used = getattr(made, "compression", "NONE")
        sentence = f"tile format {name} has no compression {compression}: tiles are sent as"
        assert warnings == [f"{sentence} {name} with {used}"]
    pixels = np.arange(3 * 16 * 16, dtype=np.uint8).reshape(3, 16, 16)
    image = xr.DataArray(pixels, dims=("band", "y", "x"))
    plan = daskmr.plan(
        image, "http://127.0.0.1:9/x", tile_size=16, overlap=0, tile_format=name,
        tile_compression=compression,
    )  # fmt: skip
    assert set(warnings) <= set(plan.warnings)
    assert plan.encoder.encode(pixels, plan.info, Window(row=0, col=0, height=16, width=16))


ODD = st.sampled_from([
    {"imageProcessorTileSize": 512, "imageProcessorTileOverlap": 512},
    {"imageProcessorTileSize": "32x64", "imageProcessorTileOverlap": "8x8"},
    {"imageProcessorTileOverlap": 0, "imageProcessorTileSize": 32},
    {"imageProcessorParameters": {"TargetVariant": "x"}},
    {"imageProcessorParameters": {"X-Mode": "fast"}},
    {"imageProcessorParameters": {"Authorization": "x"}},
    {"imageProcessor": {"name": "os:system", "type": "HTTP_ENDPOINT"}},
    {"imageProcessor": {"name": "http://models.example/x", "type": "HTTP_ENDPOINT"}},
    {"imageProcessor": {"name": "ftp://models.example/x", "type": "HTTP_ENDPOINT"}},
    {"imageProcessor": {"name": "ships", "type": "SM_ENDPOINT"}},
    {"imageProcessor": {"name": "ships/a b", "type": "SM_ENDPOINT"}},
    {"imagePreparation": {"bands": "9"}},
    {"imagePreparation": {"stretch": "percentile", "dtype": "uint8"}},
    {"imagePreparation": {"stretch": "nonsense"}},
    {"regionOfInterest": "POLYGON ((-74.1 40.6, -73.9 40.6, -73.9 40.8, -74.1 40.8, -74.1 40.6))"},
    {"regionOfInterest": "POLYGON (("},
    {"regionOfInterest": "POINT (0 0)"},
    {"featureProperties": [{"a": 1}]},
    {"outputs": [{"type": "Kinesis", "stream": "s", "batchSize": 100}]},
    {"outputs": [{"type": "Kinesis", "stream": "s", "batchSize": 100_000}]},
    {"outputs": [{"type": "Kinesis", "stream": "no stream"}]},
    {"outputs": [{"type": "S3", "bucket": "B!"}]},
    step("NMS"),
    step("SOFT_NMS"),
    {"postProcessing": [{"step": "FEATURE_DISTILLATION", "algorithm": {
        "algorithmType": "SOFT_NMS", "sigma": -1}}]},
    {"postProcessing": [{"step": "FEATURE_DISTILLATION", "algorithm": {
        "algorithmType": "NMS", "iouThreshold": 0.3, "scoreThreshold": 2}}]},
    {"imageProcessorTileFormat": "KSERVE"},
    {"imageProcessorTileFormat": "NPY", "imageProcessorTileCompression": "J2K"},
])  # fmt: skip


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> str:
    """64 x 64 pixels of three bands."""
    path = tmp_path_factory.mktemp("scene") / "X1.tif"
    pixels = np.ones((3, 64, 64), np.uint8)
    return str(write_image(path, pixels, crs=UTM, transform=HALF_METRE))


@given(
    odd=st.lists(ODD, max_size=4),
    name=st.sampled_from(MODEL_RUNNER_FORMATS),
    compression=st.sampled_from(MODEL_RUNNER_COMPRESSIONS),
)
def test_what_is_called_valid_is_refused_for_its_image_alone(
    scene: str, odd: list[dict[str, Any]], name: str, compression: str
) -> None:
    """What `validate` says, and what the service does with the same request."""
    fields: dict[str, Any] = {
        "imageProcessorTileFormat": name, "imageProcessorTileCompression": compression
    }  # fmt: skip
    for each in odd:
        fields |= each
    with suppress(RequestError):
        check_request(request := read_request({**BASE, **fields}))
        (call,) = calls_from_request(request, None)
        outputs, model = call.pop("outputs"), call.pop("model")
        del call["image"], call["out"]
        refusals: list[str] = []
        try:
            make_plan(scene, model, Settings.of(call), is_trusted="://" in model)
        except RequestError as error:
            refusals = [text for text in error.problems if "X1" not in text and "band" not in text]
        assert refusals == []
        for output in outputs:
            destination(output, ("geojson",))
        return
    assert any(set(each) <= set(fields) for each in odd)  # something odd was refused
