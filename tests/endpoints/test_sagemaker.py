"""SageMaker's real-time and serverless endpoints, over the wire: cases E8 to E10, K2 to K8."""

import asyncio
import io
import json
from typing import Any

import boto3
import botocore.session
import numpy as np
import pytest

from daskmr import aws
from daskmr.core.wire import Answer
from daskmr.endpoints import Hints, choose
from daskmr.endpoints._transport import Response
from daskmr.endpoints.base import ControlPlane, Endpoint, Refreshing
from daskmr.endpoints.sagemaker import PARAMETERS, SageMakerEndpoint, invocation_error
from daskmr.errors import (
    AuthError,
    CapacityError,
    EndpointError,
    ExpiredCredentialsError,
    PermanentError,
    RequestError,
    TransientError,
)
from daskmr.testing.contracts_endpoints import PostingContract
from daskmr.testing.gateway import Gateway, VariantSpec, create_endpoint

PIXELS = np.full((3, 64, 64), 90, np.uint8)
ROLE = "arn:aws:iam::123456789012:role/inference"


@pytest.fixture
def control(sagemaker: Gateway) -> Any:
    client = boto3.client("sagemaker")
    yield client
    client.close()


def tile(pixels: Any = PIXELS) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


def asked(endpoint: SageMakerEndpoint, payload: bytes | None = None) -> Answer:
    async def attempt() -> Answer:
        try:
            return await endpoint.invoke(
                tile() if payload is None else payload, content_type="application/x-npy"
            )
        finally:
            await endpoint.close()

    return asyncio.run(attempt())


def model(**parameters: str) -> tuple[tuple[str, str], ...]:
    return (("CustomAttributes", "model_selection=centerpoint"), *parameters.items())


def test_a_tile_goes_to_the_container_and_its_answer_comes_back(
    sagemaker: Gateway, control: Any
) -> None:
    create_endpoint(control, "centerpoint", [VariantSpec()])
    endpoint = SageMakerEndpoint(endpoint="centerpoint", parameters=model())
    answer = asked(endpoint)
    (feature,) = json.loads(answer.body)["features"]
    assert feature["properties"]["imageBBox"] == pytest.approx([25.6, 25.6, 38.4, 38.4])
    assert answer.content_type.startswith("application/json")
    (seen,) = sagemaker.requests
    assert seen.headers["content-type"] == "application/x-npy"
    assert seen.n_bytes == len(tile())


def test_the_ten_parameters_go_by_the_headers_of_the_service() -> None:
    service = botocore.session.get_session().get_service_model("sagemaker-runtime")
    members = service.operation_model("InvokeEndpoint").input_shape.members
    assert len(PARAMETERS) == 10
    assert {name: members[name].serialization["name"] for name in PARAMETERS} == dict(PARAMETERS)


def test_every_parameter_arrives_and_others_are_left_out_with_a_note(
    sagemaker: Gateway, control: Any
) -> None:  # E8
    create_endpoint(control, "all", [VariantSpec(name="blue")])
    said = {name: f"v-{name}" for name in PARAMETERS if name not in {"ContentType", "Accept"}}
    said |= {"CustomAttributes": "model_selection=flood", "TargetVariant": "blue"}
    chosen = choose("sagemaker://all", parameters={**said, "X-Foo": 5, "Body": "no"})
    assert isinstance(chosen, SageMakerEndpoint)
    assert [note.split()[1] for note in chosen.notes] == ["X-Foo", "Body"]
    with pytest.raises(EndpointError):  # there is no such component, but the headers have arrived
        asked(chosen)
    (seen,) = sagemaker.requests
    for name, value in said.items():
        assert seen.headers[PARAMETERS[name].lower()] == value
    assert "x-foo" not in seen.headers


def test_a_content_type_that_is_asked_for_replaces_the_formats_own(
    sagemaker: Gateway, control: Any
) -> None:
    create_endpoint(control, "typed", [VariantSpec()])
    asked(SageMakerEndpoint(endpoint="typed", parameters=model(ContentType="image/x-custom")))
    assert sagemaker.requests[0].headers["content-type"] == "image/x-custom"


def test_one_variant_is_chosen_by_weight_for_each_image(
    sagemaker: Gateway, control: Any
) -> None:  # E9
    specs = [VariantSpec(name="a", weight=3), VariantSpec(name="b", weight=1, model="other")]
    create_endpoint(control, "split", specs)
    endpoint = SageMakerEndpoint(endpoint="split", parameters=model())
    chosen = [endpoint.resolved(key=f"job:{n}.tif").variant for n in range(40)]
    assert 20 <= chosen.count("a") <= 38
    assert chosen.count("a") + chosen.count("b") == 40
    again = endpoint.resolved(key="job:7.tif")
    assert again.variant == chosen[7]
    for _ in range(5):
        asked(again)
    assert sagemaker.variants == [chosen[7]] * 5
    assert again.name == f"sagemaker://split/{chosen[7]}"


def test_a_variant_that_is_named_is_the_one_that_answers(
    sagemaker: Gateway, control: Any
) -> None:  # E10
    specs = [VariantSpec(name="a", weight=100), VariantSpec(name="b", weight=0.001)]
    create_endpoint(control, "named", specs)
    by_url = choose("sagemaker://named/b", parameters=dict(model()))
    by_parameter = choose("sagemaker://named", parameters=dict(model(TargetVariant="b")))
    for endpoint in (by_url, by_parameter):
        assert isinstance(endpoint, SageMakerEndpoint)
        asked(endpoint.resolved(key="x"))
    assert sagemaker.variants == ["b", "b"]


def test_what_does_not_exist_is_refused_before_any_tile(sagemaker: Gateway, control: Any) -> None:
    create_endpoint(control, "known", [VariantSpec(name="a")])
    with pytest.raises(RequestError, match="no variant 'c'; known: a"):
        SageMakerEndpoint(endpoint="known", variant="c").resolved(key="x")
    with pytest.raises(RequestError, match="'unknown'"):
        SageMakerEndpoint(endpoint="unknown").resolved(key="x")
    assert sagemaker.requests == []


def test_capacity_is_what_the_control_plane_says(sagemaker: Gateway, control: Any) -> None:
    create_endpoint(control, "serverless", [VariantSpec(max_concurrency=100)])
    create_endpoint(control, "two", [VariantSpec(instances=2)])
    tags = {"osml:instance-concurrency": "5"}
    create_endpoint(control, "tagged", [VariantSpec(instances=3)], tags=tags)
    odd = {"osml:instance-concurrency": "several"}
    create_endpoint(control, "odd", [VariantSpec(instances=1)], tags=odd)
    both = [VariantSpec(name="v1", instances=2), VariantSpec(name="v2", instances=3)]
    create_endpoint(control, "both", both)
    expected = {"serverless": 100, "two": 4, "tagged": 15, "odd": 2, "both": 10}  # K2 to K6
    found = {name: SageMakerEndpoint(endpoint=name).capacity() for name in expected}
    assert found == expected
    assert SageMakerEndpoint(endpoint="both", variant="v1").capacity() == 4
    assert SageMakerEndpoint(endpoint="both", variant="v2").capacity() == 6
    assert SageMakerEndpoint(endpoint="both", variant="v3").capacity() == 0  # K7
    assert SageMakerEndpoint(endpoint="gone").capacity() == 2  # K8


def test_an_endpoint_that_scales_is_seen_to(sagemaker: Gateway, control: Any) -> None:
    create_endpoint(control, "scaling", [VariantSpec(instances=1)])
    endpoint = SageMakerEndpoint(endpoint="scaling")
    assert endpoint.capacity() == 2
    control.update_endpoint_weights_and_capacities(
        EndpointName="scaling",
        DesiredWeightsAndCapacities=[{"VariantName": "primary", "DesiredInstanceCount": 4}],
    )
    assert endpoint.capacity() == 8


def test_a_fault_of_the_container_is_judged_by_its_own_status(
    sagemaker: Gateway, control: Any
) -> None:
    create_endpoint(control, "failing", [VariantSpec()])
    attributes = (("CustomAttributes", "model_selection=failure"),)
    red = np.zeros((3, 64, 64), np.uint8)
    red[0] = 255
    endpoint = SageMakerEndpoint(endpoint="failing", parameters=attributes)
    with pytest.raises(TransientError) as caught:
        asked(endpoint, tile(red))
    assert caught.value.reason == "HTTP_500"
    with pytest.raises(PermanentError) as refused:
        asked(endpoint, b"no tile")
    assert refused.value.reason == "HTTP_400"


def test_throttling_is_a_matter_of_capacity(sagemaker: Gateway, control: Any) -> None:
    create_endpoint(control, "busy", [VariantSpec()])
    sagemaker.limit = 0
    with pytest.raises(CapacityError) as caught:
        asked(SageMakerEndpoint(endpoint="busy", parameters=model()))
    assert caught.value.reason == "THROTTLINGEXCEPTION"


def test_expired_credentials_are_renewed_once(
    sagemaker: Gateway, control: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_endpoint(control, "renewed", [VariantSpec()])
    endpoint = SageMakerEndpoint(endpoint="renewed", parameters=model())
    monkeypatch.setattr(aws, "_FRESH_S", 0.0)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "expired")
    with pytest.raises(AuthError) as caught:
        asked(endpoint)
    assert caught.value.reason == "EXPIREDTOKENEXCEPTION"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    asyncio.run(endpoint.refresh())
    assert asked(endpoint).body


def test_a_role_is_assumed_and_signs(sagemaker: Gateway, control: Any) -> None:
    create_endpoint(control, "guarded", [VariantSpec()])
    endpoint = SageMakerEndpoint(endpoint="guarded", parameters=model(), role=ROLE)
    asked(endpoint)
    (seen,) = sagemaker.requests
    assert "Credential=test/" not in seen.headers["authorization"]
    assert seen.headers["x-amz-security-token"]
    assert endpoint.identity.role == ROLE
    (allowed,) = json.loads(endpoint.identity.policy)["Statement"]
    assert "arn:aws:sagemaker:*:*:endpoint/guarded" in allowed["Resource"]
    assert {action.partition(":")[0] for action in allowed["Action"]} == {"sagemaker"}


def test_a_large_tile_is_signed_as_it_is_sent(sagemaker: Gateway, control: Any) -> None:
    create_endpoint(control, "large", [VariantSpec()])
    endpoint = SageMakerEndpoint(
        endpoint="large", parameters=(("CustomAttributes", "model_selection=flood"),)
    )
    assert asked(endpoint, tile(np.zeros((3, 1024, 1024), np.uint8))).body


def test_without_credentials_there_is_one_clear_error(
    sagemaker: Gateway, control: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    aws.close()
    with pytest.raises(AuthError, match="no AWS credentials"):
        asked(SageMakerEndpoint(endpoint="any"))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"endpoint": "a/b"}, "'a/b' is not the name"),
        ({"endpoint": ""}, "'' is not the name"),
        ({"endpoint": "a" * 64}, "is not the name"),
        ({"endpoint": "a", "parameters": (("CustomAttributes", "x" * 1025),)}, "CustomAttributes"),
        ({"endpoint": "a", "parameters": (("SessionId", "a\r\nb"),)}, "SessionId"),
        ({"endpoint": "a", "timeout_s": 0.0}, "timeout_s"),
        ({"endpoint": "a", "concurrency": 0}, "concurrency"),
    ],
)
def test_what_the_service_would_refuse_is_refused_at_once(
    options: dict[str, Any], match: str
) -> None:
    with pytest.raises(RequestError, match=match):
        SageMakerEndpoint(**options)


@pytest.mark.parametrize(
    ("status", "code", "said", "kind", "reason"),
    [
        (424, "ModelError", {"OriginalStatusCode": 500}, TransientError, "HTTP_500"),
        (424, "ModelError", {"OriginalStatusCode": 400}, PermanentError, "HTTP_400"),
        (424, "ModelError", {"OriginalStatusCode": 401}, PermanentError, "HTTP_401"),
        (424, "ModelError", {"OriginalStatusCode": 503}, CapacityError, "HTTP_503"),
        (424, "ModelError", {"OriginalStatusCode": 0}, TransientError, "MODEL_TIMEOUT"),
        (424, "ModelError", {}, TransientError, "MODEL_TIMEOUT"),
        (429, "ModelNotReadyException", {}, CapacityError, "MODELNOTREADYEXCEPTION"),
        (400, "ThrottlingException", {}, CapacityError, "THROTTLINGEXCEPTION"),
        (503, "ServiceUnavailable", {}, CapacityError, "SERVICEUNAVAILABLE"),
        (500, "InternalFailure", {}, TransientError, "HTTP_500"),
        (530, "InternalDependencyException", {}, TransientError, "HTTP_530"),
        (400, "ValidationError", {"message": "no"}, PermanentError, "VALIDATIONERROR"),
        (400, "ValidationError", {"message": "not InService"}, CapacityError, "VALIDATIONERROR"),
        (403, "ExpiredTokenException", {}, ExpiredCredentialsError, "EXPIREDTOKENEXCEPTION"),
        (403, "AccessDeniedException", {}, AuthError, "ACCESSDENIEDEXCEPTION"),
        (413, "", {}, PermanentError, "HTTP_413"),
    ],
)  # fmt: skip
def test_each_error_of_the_service_has_its_class(
    status: int, code: str, said: dict[str, Any], kind: type[EndpointError], reason: str
) -> None:
    response = Response(status, {"x-amzn-ErrorType": code}, json.dumps(said).encode())
    error = invocation_error(response, "x")
    assert type(error) is kind
    assert error.reason == reason


def test_it_is_what_a_job_expects_of_an_endpoint() -> None:
    made = SageMakerEndpoint(endpoint="x")
    assert isinstance(made, Endpoint)
    assert isinstance(made, ControlPlane)
    assert isinstance(made, Refreshing)


def test_options_beside_the_name_reach_it() -> None:
    hints = Hints(concurrency=7, timeout_s=9.0, options={"role": ROLE, "region": "eu-west-1"})
    made = choose("sagemaker://x/v", hints=hints)
    assert made == SageMakerEndpoint(
        endpoint="x", variant="v", role=ROLE, region="eu-west-1", concurrency=7, timeout_s=9.0
    )
    with pytest.raises(RequestError, match="rolle"):
        choose("sagemaker://x", hints=Hints(options={"rolle": ROLE}))


class TestSageMakerEndpoint(PostingContract):
    """The contract, with a server that speaks plain HTTP in the place of the runtime."""

    @pytest.fixture(autouse=True)
    def _environment(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        self.patch = monkeypatch
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        aws.close()
        yield
        aws.close()

    def make(self, url: str) -> SageMakerEndpoint:
        base = url.rpartition("/")[0]
        self.patch.setenv("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", base)
        return SageMakerEndpoint(endpoint="any")
