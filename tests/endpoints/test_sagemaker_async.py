"""SageMaker's asynchronous endpoints: input and output as objects."""

import asyncio
import io
import json
from typing import Any

import boto3
import numpy as np
import pytest

from daskmr import aws
from daskmr.core.wire import Answer
from daskmr.endpoints import Hints, choose
from daskmr.endpoints.sagemaker_async import SageMakerAsyncEndpoint
from daskmr.errors import PermanentError, RequestError, SilentError
from daskmr.testing.contracts_endpoints import UrlEndpointContract
from daskmr.testing.gateway import Gateway, VariantSpec, create_endpoint

CENTERPOINT = (("CustomAttributes", "model_selection=centerpoint"),)


@pytest.fixture
def endpoint(sagemaker: Gateway) -> SageMakerAsyncEndpoint:
    client = boto3.client("sagemaker")
    create_endpoint(client, "later", [VariantSpec(instances=3)])
    client.close()
    return SageMakerAsyncEndpoint(
        endpoint="later", input_location="s3://bucket/in/", parameters=CENTERPOINT, timeout_s=20.0
    )


def tile() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.full((3, 64, 64), 90, np.uint8))
    return buffer.getvalue()


def asked(endpoint: SageMakerAsyncEndpoint, payload: bytes) -> Answer:
    async def attempt() -> Answer:
        try:
            return await endpoint.invoke(payload, content_type="application/x-npy")
        finally:
            await endpoint.close()

    return asyncio.run(attempt())


def names(s3: Any, prefix: str) -> list[str]:
    found = s3.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", [])
    return [entry["Key"] for entry in found]


def test_a_tile_goes_by_way_of_the_bucket(endpoint: SageMakerAsyncEndpoint, s3: Any) -> None:
    answer = asked(endpoint, tile())
    (feature,) = json.loads(answer.body)["features"]
    assert feature["properties"]["imageBBox"] == pytest.approx([25.6, 25.6, 38.4, 38.4])
    assert names(s3, "in/") == []


def test_what_the_model_says_of_a_failure_is_told(
    endpoint: SageMakerAsyncEndpoint, sagemaker: Gateway, s3: Any
) -> None:
    with pytest.raises(PermanentError, match="unreadable tile") as caught:
        asked(endpoint, b"no tile")
    assert caught.value.reason == "MODEL_ERROR"
    assert names(s3, "in/") == []


def test_the_parameters_go_by_the_headers_of_the_service(
    endpoint: SageMakerAsyncEndpoint, sagemaker: Gateway
) -> None:
    asked(endpoint, tile())
    (seen,) = sagemaker.requests
    assert seen.path == "/endpoints/later/async-invocations"
    assert seen.headers["x-amzn-sagemaker-content-type"] == "application/x-npy"
    assert seen.headers["x-amzn-sagemaker-custom-attributes"] == "model_selection=centerpoint"
    assert seen.headers["x-amzn-sagemaker-inputlocation"].startswith("s3://bucket/in/")


def test_an_answer_that_never_comes_is_given_up(endpoint: SageMakerAsyncEndpoint) -> None:
    slow = (("CustomAttributes", "model_selection=centerpoint,mock_latency_mean=3000"),)
    hasty = SageMakerAsyncEndpoint(
        endpoint="later", input_location="s3://bucket/in", parameters=slow, timeout_s=1.0
    )
    with pytest.raises(SilentError, match="within 1 s"):
        asked(hasty, tile())


def test_each_instance_finds_its_next_tile_waiting(endpoint: SageMakerAsyncEndpoint) -> None:
    assert endpoint.capacity() == 12


@pytest.mark.parametrize("location", ["", "https://bucket/x", "s3:///x", "bucket/x"])
def test_tiles_need_a_bucket(location: str) -> None:
    with pytest.raises(RequestError, match="input_location"):
        SageMakerAsyncEndpoint(endpoint="x", input_location=location)


def test_it_is_named_by_its_scheme() -> None:
    hints = Hints(options={"input_location": "s3://b/p"})
    made = choose("sagemaker-async://x", hints=hints)
    assert made == SageMakerAsyncEndpoint(endpoint="x", input_location="s3://b/p")
    with pytest.raises(RequestError, match=r"input_?[lL]ocation"):
        choose("sagemaker-async://x")


class TestSageMakerAsyncEndpoint(UrlEndpointContract):
    @pytest.fixture(autouse=True)
    def _environment(self, s3: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
        self.patch = monkeypatch
        aws.close()
        yield
        aws.close()

    def make(self, url: str) -> SageMakerAsyncEndpoint:
        self.patch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", url.rpartition("/")[0])
        return SageMakerAsyncEndpoint(endpoint="any", input_location="s3://bucket/in")
