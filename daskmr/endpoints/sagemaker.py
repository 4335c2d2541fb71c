"""SageMaker endpoints with synchronous answers: real-time and serverless."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import Any, ClassVar, Literal, Self
from urllib.parse import quote

from daskmr import aws
from daskmr.aws import Identity
from daskmr.aws.policies import invoking
from daskmr.aws.sagemaker import describe, endpoint_capacity
from daskmr.core.capacity import choose_variant
from daskmr.core.wire import Answer
from daskmr.endpoints._status import status_error
from daskmr.endpoints._transport import TIMEOUT_S, Response, Transport
from daskmr.errors import (
    AuthError,
    CapacityError,
    EndpointError,
    ExpiredCredentialsError,
    PermanentError,
    RequestError,
    TransientError,
)
from daskmr.registry import plugin

PARAMETERS = {
    "ContentType": "Content-Type",
    "Accept": "Accept",
    "CustomAttributes": "X-Amzn-SageMaker-Custom-Attributes",
    "TargetModel": "X-Amzn-SageMaker-Target-Model",
    "TargetVariant": "X-Amzn-SageMaker-Target-Variant",
    "TargetContainerHostname": "X-Amzn-SageMaker-Target-Container-Hostname",
    "InferenceId": "X-Amzn-SageMaker-Inference-Id",
    "EnableExplanations": "X-Amzn-SageMaker-Enable-Explanations",
    "InferenceComponentName": "X-Amzn-SageMaker-Inference-Component",
    "SessionId": "X-Amzn-SageMaker-Session-Id",
}
"""Parameters of InvokeEndpoint that a request may set, and the headers that carry them."""

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_TEXT = re.compile(r"[\x20-\x7e]*")
_MAX_ATTRIBUTES = 1024
_IN_THREAD_BYTES = 256 * 2**10
_THROTTLED = ("Throttling", "TooManyRequests", "ModelNotReady", "ServiceUnavailable")
_REFUSED = ("AccessDenied", "IncompleteSignature", "InvalidSignature", "MissingAuthentication")


@plugin
class SageMakerEndpoint:
    """InvokeEndpoint with the bytes of each tile, signed here and sent by the HTTP transport.

    Our own, since aiobotocore's hooks and parsers cost CPU on every call, in the process that also
    encodes and decodes tiles; here a call is one signature (`daskmr.aws.sign`) and one POST.
    """

    endpoint: str
    """Name of the endpoint."""
    variant: str = ""
    """Production variant; empty: chosen by weight, once for each image."""
    parameters: tuple[tuple[str, str], ...] = ()
    """Parameters of InvokeEndpoint, see `PARAMETERS`; others are left out."""
    role: str = ""
    """ARN of a role to assume; its session is limited to invoking this endpoint."""
    external_id: str = ""
    """ExternalId of AssumeRole; empty for none."""
    session: str = "daskmr"
    """RoleSessionName of AssumeRole."""
    region: str | None = None
    """Region of the endpoint; None: the configured one."""
    concurrency: int | Literal["auto"] = "auto"
    """Maximum calls in flight of the whole cluster; ``auto``: the capacity of its instances."""
    timeout_s: float = TIMEOUT_S
    """Seconds for one call."""
    max_payload_bytes: int | None = None
    """Maximum bytes of one tile; None: the limit of the service."""

    usual_payload_bytes: ClassVar[int] = 6 * 2**20
    """Documented maximum bytes of one tile of a real-time endpoint; serverless ones take 4 MiB."""

    def __post_init__(self) -> None:
        """Raise for names and parameters that the service would refuse for every tile."""
        check_endpoint(self.endpoint, self.parameters)
        if not 0 < self.timeout_s < inf:
            msg = f"timeout_s: {self.timeout_s!r} is not a number above zero"
            raise RequestError(msg)
        if self.concurrency != "auto" and self.concurrency < 1:
            msg = f"concurrency: {self.concurrency!r} is not a number above zero"
            raise RequestError(msg)

    @property
    def name(self) -> str:
        """``sagemaker://ENDPOINT``, with the variant or component that is called."""
        part = self._parameter("InferenceComponentName") or self._variant
        return f"sagemaker://{self.endpoint}" + (f"/{part}" if part else "")

    @property
    def notes(self) -> tuple[str, ...]:
        """A warning for each parameter that InvokeEndpoint does not have."""
        unknown = [name for name, _ in self.parameters if name not in PARAMETERS]
        return tuple(f"parameters: {name} is none of InvokeEndpoint, left out" for name in unknown)

    def resolved(self, *, key: str) -> Self:
        """Return the endpoint with the variant for an image."""
        if self._parameter("InferenceComponentName"):
            return self
        try:
            description = describe(self.endpoint, self.identity)
        except (AuthError, PermanentError, TransientError, CapacityError):
            return self  # no permission to describe; the service itself chooses
        names = [variant.name for variant in description.variants]
        if self._variant:
            if self._variant not in names:
                known = ", ".join(names)
                msg = f"model: {self.endpoint!r} has no variant {self._variant!r}; known: {known}"
                raise RequestError(msg)
            return self
        return replace(self, variant=choose_variant(description.variants, key))

    def capacity(self) -> int | None:
        """Return the calls that its instances can serve at once now."""
        return endpoint_capacity(
            self.endpoint,
            self.identity,
            variant=self._variant,
            component=self._parameter("InferenceComponentName"),
        )

    def instances(self) -> int:
        """Return the number of instances of the variant, at least 1; also 1 when it is unknown."""
        try:
            variants = describe(self.endpoint, self.identity).variants
        except (EndpointError, RequestError):
            return 1
        return max(1, sum(v.instances for v in variants if self._variant in {"", v.name}))

    async def invoke(self, payload: bytes, *, content_type: str) -> Answer:
        """Send one tile and return the answer."""
        headers = {"Content-Type": content_type, **invocation_headers(self.parameters)}
        if self._variant:
            headers[PARAMETERS["TargetVariant"]] = self._variant
        response = await self.post("invocations", payload, headers)
        error = invocation_error(response, self.name)
        if error is not None:
            raise error
        return response.answer

    async def post(self, action: str, payload: bytes, headers: Mapping[str, str]) -> Response:
        """Send a signed POST to the runtime."""
        if len(payload) > _IN_THREAD_BYTES:  # hashing would block the loop
            url, signed_headers = await asyncio.to_thread(self._sign, action, payload, headers)
        else:
            url, signed_headers = self._sign(action, payload, headers)
        return await self._transport.post(url, payload, signed_headers)

    async def check(self) -> None:
        """Load credentials, and open and close a connection to the runtime."""
        url, _ = await asyncio.to_thread(self._sign, "invocations", b"", {})
        await self._transport.connect(url)

    async def close(self) -> None:
        """Close the connections of the running loop."""
        await self._transport.close()

    async def refresh(self) -> None:
        """Load credentials again."""
        aws.forget(self.identity)

    @property
    def identity(self) -> Identity:
        """AWS identity of the calls."""
        return Identity(
            role=self.role,
            region=self.region,
            external_id=self.external_id,
            session=self.session,
            policy=invoking(self.role, self.endpoint) if self.role else "",
        )

    @property
    def _transport(self) -> Transport:
        return Transport(name=self.name, timeout_s=self.timeout_s)

    def _sign(
        self, action: str, payload: bytes, headers: Mapping[str, str]
    ) -> tuple[str, dict[str, str]]:
        with aws.translate_errors(self.name):
            base = aws.client("sagemaker-runtime", self.identity).meta.endpoint_url
        url = f"{base}/endpoints/{quote(self.endpoint, safe='')}/{action}"
        return url, aws.sign_headers(
            "sagemaker", url, payload, headers=headers, identity=self.identity
        )

    @property
    def _variant(self) -> str:
        return self._parameter("TargetVariant") or self.variant

    def _parameter(self, name: str) -> str:
        return dict(self.parameters).get(name, "")


def check_endpoint(endpoint: str, parameters: tuple[tuple[str, str], ...]) -> None:
    """Raise for names and parameters that the service would refuse for every tile.

    Raises
    ------
    RequestError
        Names every one of them.
    """
    problems = []
    if not _NAME.fullmatch(endpoint):
        problems.append(f"model: {endpoint!r} is not the name of a SageMaker endpoint")
    for name, value in parameters:
        if name in PARAMETERS and not _TEXT.fullmatch(value):
            problems.append(f"parameters: {name}: {value!r} holds characters no header can")
        elif name == "CustomAttributes" and len(value) > _MAX_ATTRIBUTES:
            problems.append(f"parameters: {name}: more than {_MAX_ATTRIBUTES} characters")
    if problems:
        raise RequestError(*problems)


def invocation_headers(parameters: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Return the headers of the parameters that InvokeEndpoint has.

    Examples
    --------
    >>> invocation_headers((("TargetModel", "a.tar.gz"), ("X-Foo", "1")))
    {'X-Amzn-SageMaker-Target-Model': 'a.tar.gz'}
    """
    return {PARAMETERS[name]: value for name, value in parameters if name in PARAMETERS}


def invocation_error(
    response: Response, name: str, *, success: tuple[int, ...] = (200,)
) -> EndpointError | None:
    """Return the error of a response of the runtime; None for a success.

    The error of a container (ModelError) is that of the container's own status.

    Parameters
    ----------
    response
        Response of the runtime.
    name
        Name of the endpoint, for the message.
    success
        HTTP statuses of success.
    """
    if response.status in success:
        return None
    code = response.headers.get("x-amzn-ErrorType", "").partition(":")[0].rpartition("#")[2]
    content = _json_object(response.body)
    text = " ".join(str(content.get("message") or content.get("Message") or "").split())[:300]
    message = f"{name}: {code or response.status}: {text}"
    if code == "ModelError":
        return _container_error(content.get("OriginalStatusCode"), message)
    error_class = _error_class(code, text)
    if error_class is not None:
        return error_class(message, reason=code.upper())
    return status_error(response.status, message)


def _error_class(code: str, text: str) -> type[EndpointError] | None:
    """Return the class of an error code of the service; None when its status decides."""
    if code.startswith(_THROTTLED) or (code == "ValidationError" and "not InService" in text):
        return CapacityError
    if code in aws.EXPIRED:
        return ExpiredCredentialsError
    if code.startswith(_REFUSED):
        return AuthError
    return PermanentError if code == "ValidationError" else None


def _container_error(status: Any, message: str) -> EndpointError:
    """Return the error of a container's status; status 0 means that it did not answer."""
    if not isinstance(status, int) or not 400 <= status < 600:  # noqa: PLR2004
        return TransientError(message, reason="MODEL_TIMEOUT")
    error = status_error(status, message)
    if isinstance(error, AuthError):  # the container's own business, not our credentials
        return PermanentError(message, reason=f"HTTP_{status}")
    return error or TransientError(message, reason=f"HTTP_{status}")


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
