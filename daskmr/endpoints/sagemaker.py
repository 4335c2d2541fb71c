"""SageMaker endpoints that answer at once: real-time and serverless."""

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
from daskmr.endpoints._status import error_of
from daskmr.endpoints._wire import TIMEOUT_S, Response, Wire
from daskmr.errors import (
    AuthError,
    CapacityError,
    EndpointError,
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
_MOST_ATTRIBUTES = 1024
_IN_THREAD_BYTES = 256 * 2**10
_THROTTLED = ("Throttling", "TooManyRequests", "ModelNotReady", "ServiceUnavailable")
_REFUSED = (
    "AccessDenied", "ExpiredToken", "IncompleteSignature", "InvalidSignature",
    "MissingAuthentication", "UnrecognizedClient",
)  # fmt: skip


@plugin
class SageMakerEndpoint:
    """InvokeEndpoint with the bytes of each tile; signed, and sent like any other POST."""

    endpoint: str
    """Name of the endpoint."""
    variant: str = ""
    """Production variant; empty: chosen by weight, once for each image."""
    parameters: tuple[tuple[str, str], ...] = ()
    """Parameters of InvokeEndpoint, see `PARAMETERS`; others are left out."""
    role: str = ""
    """ARN of a role to call it with; its session can do nothing else."""
    external_id: str = ""
    """What the role's owner asks for; empty for nothing."""
    session: str = "daskmr"
    """What the session of the role is called."""
    region: str | None = None
    """Region of the endpoint; None: the configured one."""
    concurrency: int | Literal["auto"] = "auto"
    """Calls that the whole cluster may have in flight; ``auto``: what its instances stand."""
    timeout_s: float = TIMEOUT_S
    """Seconds for one call."""
    max_payload_bytes: int | None = None
    """Most bytes of one tile; None: whatever the service takes."""

    usual_payload_bytes: ClassVar[int] = 6 * 2**20
    """Most bytes that endpoints of this kind are documented to take; serverless ones 4 MiB."""

    def __post_init__(self) -> None:
        """Refuse names and parameters that the service would refuse for every tile."""
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
        part = self._said("InferenceComponentName") or self._variant
        return f"sagemaker://{self.endpoint}" + (f"/{part}" if part else "")

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left out of a request."""
        unknown = [name for name, _ in self.parameters if name not in PARAMETERS]
        return tuple(f"parameters: {name} is none of InvokeEndpoint, left out" for name in unknown)

    def resolved(self, *, key: str) -> Self:
        """The endpoint with the variant that an image is sent to."""
        if self._said("InferenceComponentName"):
            return self
        try:
            description = describe(self.endpoint, self.identity)
        except (AuthError, PermanentError, TransientError, CapacityError):
            return self  # we may not ask; the service itself will choose
        names = [variant.name for variant in description.variants]
        if self._variant:
            if self._variant not in names:
                known = ", ".join(names)
                msg = f"model: {self.endpoint!r} has no variant {self._variant!r}; known: {known}"
                raise RequestError(msg)
            return self
        return replace(self, variant=choose_variant(description.variants, key))

    def capacity(self) -> int | None:
        """Calls that its instances stand at present."""
        return endpoint_capacity(
            self.endpoint,
            self.identity,
            variant=self._variant,
            component=self._said("InferenceComponentName"),
        )

    def instances(self) -> int:
        """Instances of what is called, at least 1; also 1 when nobody tells."""
        try:
            variants = describe(self.endpoint, self.identity).variants
        except (EndpointError, RequestError):
            return 1
        return max(1, sum(v.instances for v in variants if self._variant in {"", v.name}))

    async def invoke(self, payload: bytes, *, content_type: str) -> Answer:
        """One attempt at one tile."""
        headers = {"Content-Type": content_type, **headers_of(self.parameters)}
        if self._variant:
            headers[PARAMETERS["TargetVariant"]] = self._variant
        response = await self.post("invocations", payload, headers)
        error = fault_of(response, self.name)
        if error is not None:
            raise error
        return response.answer

    async def post(self, action: str, payload: bytes, headers: Mapping[str, str]) -> Response:
        """One signed POST to the runtime."""
        if len(payload) > _IN_THREAD_BYTES:  # hashing is not for the loop
            url, signed = await asyncio.to_thread(self._signed, action, payload, headers)
        else:
            url, signed = self._signed(action, payload, headers)
        wire = Wire(name=self.name, timeout_s=self.timeout_s)
        return await wire.post(url, payload, signed)

    async def check(self) -> None:
        """Find credentials, and connect to the runtime."""
        url, _ = await asyncio.to_thread(self._signed, "invocations", b"", {})
        await Wire(name=self.name, timeout_s=self.timeout_s).connect(url)

    async def refresh(self) -> None:
        """Find credentials anew."""
        aws.forget(self.identity)

    @property
    def identity(self) -> Identity:
        """Who calls."""
        return Identity(
            role=self.role,
            region=self.region,
            external_id=self.external_id,
            session=self.session,
            policy=invoking(self.role, self.endpoint) if self.role else "",
        )

    def _signed(
        self, action: str, payload: bytes, headers: Mapping[str, str]
    ) -> tuple[str, dict[str, str]]:
        with aws.translated(self.name):
            base = aws.client("sagemaker-runtime", self.identity).meta.endpoint_url
        url = f"{base}/endpoints/{quote(self.endpoint, safe='')}/{action}"
        return url, aws.signed("sagemaker", url, payload, headers=headers, identity=self.identity)

    @property
    def _variant(self) -> str:
        return self._said("TargetVariant") or self.variant

    def _said(self, parameter: str) -> str:
        return dict(self.parameters).get(parameter, "")


def check_endpoint(endpoint: str, parameters: tuple[tuple[str, str], ...]) -> None:
    """Refuse names and parameters that the service would refuse for every tile.

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
        elif name == "CustomAttributes" and len(value) > _MOST_ATTRIBUTES:
            problems.append(f"parameters: {name}: more than {_MOST_ATTRIBUTES} characters")
    if problems:
        raise RequestError(*problems)


def headers_of(parameters: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The headers of those parameters that InvokeEndpoint knows.

    Examples
    --------
    >>> headers_of((("TargetModel", "a.tar.gz"), ("X-Foo", "1")))
    {'X-Amzn-SageMaker-Target-Model': 'a.tar.gz'}
    """
    return {PARAMETERS[name]: value for name, value in parameters if name in PARAMETERS}


def fault_of(
    response: Response, name: str, *, well: tuple[int, ...] = (200,)
) -> EndpointError | None:
    """The error that an answer of the runtime means; None for a good one.

    A fault of the container (ModelError) is judged by the container's own status.

    Parameters
    ----------
    response
        What the runtime said.
    name
        Which endpoint, for the message.
    well
        Statuses that are no errors.
    """
    if response.status in well:
        return None
    code = response.headers.get("x-amzn-ErrorType", "").partition(":")[0].rpartition("#")[2]
    said = _json(response.body)
    text = " ".join(str(said.get("message") or said.get("Message") or "").split())[:300]
    message = f"{name}: {code or response.status}: {text}"
    if code == "ModelError":
        return _fault_of_model(said.get("OriginalStatusCode"), message)
    kind = _kind(code, text)
    if kind is not None:
        return kind(message, reason=code.upper())
    return error_of(response.status, message)


def _kind(code: str, text: str) -> type[EndpointError] | None:
    """The class of an error code of the service; None when its status says enough."""
    if code.startswith(_THROTTLED) or (code == "ValidationError" and "not InService" in text):
        return CapacityError
    if code.startswith(_REFUSED):
        return AuthError
    return PermanentError if code == "ValidationError" else None


def _fault_of_model(status: Any, message: str) -> EndpointError:
    """What a container answered, or that it did not (status 0)."""
    if not isinstance(status, int) or not 400 <= status < 600:  # noqa: PLR2004
        return TransientError(message, reason="MODEL_TIMEOUT")
    found = error_of(status, message)
    if isinstance(found, AuthError):  # the container's own business, not our credentials
        return PermanentError(message, reason=f"HTTP_{status}")
    return found or TransientError(message, reason=f"HTTP_{status}")


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
