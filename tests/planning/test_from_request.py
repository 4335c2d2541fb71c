"""Names of plug-ins in requests: those that there are, and no others."""

from typing import Any

import pytest

import daskmr
from daskmr.encode import ENCODERS, compressions
from daskmr.endpoints import ENDPOINTS
from daskmr.errors import RequestError
from daskmr.merge import MERGES
from daskmr.planning.from_request import calls_from_request, read_request
from daskmr.service.policy import RequestPolicy

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
            {"imageProcessorTileFormat": "PNG", "imageProcessorTileCompression": "J2K"},
            "imageProcessorTileFormat: tile format 'PNG' with compression 'J2K'",
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
