"""SageMaker's runtime on loopback: its wire protocol, in front of real model servers.

The control plane is another stand-in (moto's server), which knows the variants of each endpoint.
Models are servers of the container contract, such as `daskmr.models.server.running`.
"""

import asyncio
import hashlib
import json
import random
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from daskmr.testing.servers import listening

MAX_BYTES = 25 * 2**20
"""Largest payload that the runtime takes."""
_FRESH_S = 1.0
_MODEL_S = 60.0
_LOGS = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/sagemaker/Endpoints/"
_FORWARDED = ("content-type", "accept")
_PREFIX = "x-amzn-sagemaker-"


@dataclass(frozen=True, slots=True)
class Invocation:
    """One request that the runtime received."""

    path: str
    """Path of the URL."""
    headers: Mapping[str, str]
    """Headers, names in lower case."""
    n_bytes: int
    """Length of the body."""


@dataclass
class Gateway:
    """A running stand-in, and the requests that it received."""

    control_plane: str
    """URL of the control plane."""
    models: Mapping[str, str]
    """Base URL of the server of each model or inference component."""
    s3_endpoint: str | None = None
    """URL of S3, for asynchronous endpoints."""
    url: str = ""
    """Where it listens."""
    limit: int | None = None
    """Calls in flight that it takes; more are throttled."""
    requests: list[Invocation] = field(default_factory=list)
    variants: list[str] = field(default_factory=list)
    """Variant that served each call that reached a model."""
    in_flight: int = 0
    widest: int = 0
    _known: dict[str, tuple[float, Any]] = field(default_factory=dict)
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set)

    def client(self, service: str) -> Any:
        """Return a client of a service behind the stand-in."""
        import boto3

        url = self.s3_endpoint if service == "s3" else self.control_plane
        return boto3.client(
            service, endpoint_url=url, region_name="us-east-1",
            aws_access_key_id="test", aws_secret_access_key="test",  # noqa: S106 - no secret
        )  # fmt: skip

    async def invoke(self, request: web.Request) -> web.Response:
        """``InvokeEndpoint``."""
        body = await self._record(request)
        rejection = _rejection(request, body)
        if rejection is not None:
            return rejection
        if self.limit is not None and self.in_flight >= self.limit:
            return _error(429, "ThrottlingException", message="Rate exceeded")
        self.in_flight += 1
        self.widest = max(self.widest, self.in_flight)
        try:
            return await self._forward(request, body)
        finally:
            self.in_flight -= 1

    async def invoke_later(self, request: web.Request) -> web.Response:
        """``InvokeEndpointAsync``."""
        body = await self._record(request)
        rejection = _rejection(request, body)
        if rejection is not None:
            return rejection
        place = urlsplit(request.headers.get("X-Amzn-SageMaker-InputLocation", ""))
        if place.scheme != "s3":
            return _error(400, "ValidationError", message="InputLocation is not an S3 URI")
        variants = await self._variants(request.match_info["name"])
        if not isinstance(variants, list):
            return variants
        name = uuid.uuid4().hex
        output, failure = f"async/output/{name}.out", f"async/failures/{name}-error.out"
        task = asyncio.create_task(self._work(request.headers, variants, place, output, failure))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        headers = {
            "X-Amzn-SageMaker-OutputLocation": f"s3://{place.netloc}/{output}",
            "X-Amzn-SageMaker-FailureLocation": f"s3://{place.netloc}/{failure}",
        }
        return web.json_response({"InferenceId": name}, status=202, headers=headers)

    async def _record(self, request: web.Request) -> bytes:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(Invocation(request.path, headers, len(body)))
        return body

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        component = request.headers.get("X-Amzn-SageMaker-Inference-Component")
        variants = await self._variants(request.match_info["name"])
        if not isinstance(variants, list):
            return variants
        target = request.headers.get("X-Amzn-SageMaker-Target-Variant")
        if target is not None:
            variants = [variant for variant in variants if variant[0] == target]
            if not variants:
                return _error(400, "ValidationError", message=f"Variant {target} not found")
        name, _, model = random.choices(variants, [weight for _, weight, _ in variants])[0]  # noqa: S311
        self.variants.append(name)
        forwarded = {
            key: value
            for key, value in request.headers.items()
            if key.lower() in _FORWARDED or key.lower().startswith(_PREFIX)
        }
        if component is not None and component not in self.models:
            message = f"Inference Component {component} not found"
            return _error(400, "ValidationError", message=message)
        return await self._answer(component or model, body, forwarded, variant=name)

    async def _answer(
        self, model: str, body: bytes, headers: Mapping[str, str], *, variant: str
    ) -> web.Response:
        """Return the answer of a container, as the runtime passes it on."""
        try:
            status, content, kind = await self._post(model, body, headers)
        except TimeoutError:
            return _model_error(0, "Your invocation timed out while waiting for a response")
        except aiohttp.ClientError as error:
            return _error(503, "ServiceUnavailable", Message=str(error))
        if status >= 400:
            return _model_error(status, content.decode("utf-8", "replace")[:1000])
        answer_headers = {"x-Amzn-Invoked-Production-Variant": variant, "Content-Type": kind}
        return web.Response(status=status, body=content, headers=answer_headers)

    async def _post(
        self, model: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes, str]:
        limit = aiohttp.ClientTimeout(total=_MODEL_S)
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.post(
                f"{self.models[model]}/invocations",
                data=BytesIO(body),
                headers=headers,
                allow_redirects=False,
            ) as response,
        ):
            return response.status, await response.read(), response.headers.get("Content-Type", "")

    async def _work(
        self,
        headers: Mapping[str, str],
        variants: list[tuple[str, float, str]],
        place: Any,
        *targets: str,
    ) -> None:
        """One asynchronous inference, from object to object."""
        output, failure = targets
        s3 = self.client("s3")
        try:
            key = place.path.lstrip("/")
            stored = await asyncio.to_thread(s3.get_object, Bucket=place.netloc, Key=key)
            body = await asyncio.to_thread(stored["Body"].read)
            forwarded = {k: v for k, v in headers.items() if k.lower().startswith(_PREFIX)}
            forwarded["Content-Type"] = headers.get("X-Amzn-SageMaker-Content-Type", "")
            status, content, _ = await self._post(variants[0][2], body, forwarded)
            target = output if status < 400 else failure
            if status >= 400:
                content = json.dumps({"status": status, "message": content.decode()}).encode()
            await asyncio.to_thread(s3.put_object, Bucket=place.netloc, Key=target, Body=content)
        finally:
            s3.close()

    async def _variants(self, name: str) -> list[tuple[str, float, str]] | web.Response:
        """Return name, weight and model of each variant."""
        at, known = self._known.get(name, (0.0, None))
        if time.monotonic() - at > _FRESH_S:
            known = await asyncio.to_thread(self._describe, name)
            self._known[name] = (time.monotonic(), known)
        if known is None:
            message = f"Endpoint {name} of account 123456789012 not found."
            return _error(400, "ValidationError", message=message)
        status, described = known
        if status != "InService":
            return _error(400, "ValidationError", message=f"Endpoint {name} is not InService")
        variants: list[tuple[str, float, str]] = described
        return variants

    def _describe(self, name: str) -> Any:
        from botocore.exceptions import ClientError

        client = self.client("sagemaker")
        try:
            endpoint = client.describe_endpoint(EndpointName=name)
            config = client.describe_endpoint_config(
                EndpointConfigName=endpoint["EndpointConfigName"]
            )
        except ClientError:
            return None
        finally:
            client.close()
        models = {v["VariantName"]: v.get("ModelName", "") for v in config["ProductionVariants"]}
        return endpoint["EndpointStatus"], [
            (v["VariantName"], float(v.get("CurrentWeight", 1.0)), models[v["VariantName"]])
            for v in endpoint["ProductionVariants"]
        ]


def _rejection(request: web.Request, body: bytes) -> web.Response | None:
    """Return the error of a request that does not reach a model; None for a good one."""
    authorization = request.headers.get("Authorization", "")
    if not authorization.startswith("AWS4-HMAC-SHA256 ") or "/sagemaker/aws4" not in authorization:
        return _error(
            403, "MissingAuthenticationTokenException", message="Missing Authentication Token"
        )
    if "Credential=expired/" in authorization:
        return _error(403, "ExpiredTokenException", message="The security token is expired")
    digest = request.headers.get("X-Amz-Content-SHA256")
    if digest not in {None, "UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()}:
        return _error(
            403, "InvalidSignatureException", message="The payload is not what was signed"
        )
    if len(body) > MAX_BYTES:
        return _error(413, "ValidationError", message="payload too large")
    return None


def _error(status: int, code: str, **fields: Any) -> web.Response:
    return web.json_response(fields, status=status, headers={"x-amzn-ErrorType": code})


def _model_error(status: int, message: str) -> web.Response:
    text = f'Received error ({status}) from primary with message "{message[:200]}"'
    return _error(
        424, "ModelError", Message=text, OriginalStatusCode=status, OriginalMessage=message,
        LogStreamArn=_LOGS,
    )  # fmt: skip


@contextmanager
def sagemaker_runtime(
    *, control_plane: str, models: Mapping[str, str], s3_endpoint: str | None = None
) -> Iterator[Gateway]:
    """Yield the stand-in on a free port of loopback, in a thread, for as long as the block runs.

    Parameters
    ----------
    control_plane
        URL of the service that knows endpoints (moto's server).
    models
        Base URL of the model server of each ``ModelName``.
    s3_endpoint
        URL of S3, for asynchronous endpoints.
    """
    gateway = Gateway(control_plane, models, s3_endpoint)
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        async with _listening(gateway):
            started.set_result((asyncio.get_running_loop(), stop))
            await stop.wait()

    with ThreadPoolExecutor(1, thread_name_prefix="sagemaker-runtime") as thread:
        ended = thread.submit(asyncio.run, main())
        loop, stop = started.result(30)
        try:
            yield gateway
        finally:
            loop.call_soon_threadsafe(stop.set)
            ended.result(30)


@asynccontextmanager
async def _listening(gateway: Gateway) -> AsyncIterator[None]:
    app = web.Application(client_max_size=2**28)
    app.router.add_post("/endpoints/{name}/invocations", gateway.invoke)
    app.router.add_post("/endpoints/{name}/async-invocations", gateway.invoke_later)
    async with listening(app) as gateway.url:
        yield
        await asyncio.gather(*gateway._tasks, return_exceptions=True)  # noqa: SLF001 - our own


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSpec:
    """One production variant of an endpoint."""

    name: str = "primary"
    model: str = "model"
    weight: float = 1.0
    instances: int = 1
    max_concurrency: int | None = None


def create_endpoint(
    client: Any,
    name: str,
    variants: Sequence[VariantSpec],
    *,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Create models, a configuration and an endpoint at a control plane.

    Parameters
    ----------
    client
        boto3's client of ``sagemaker``.
    name
        Name of the endpoint.
    variants
        What it consists of.
    tags
        Tags of the endpoint.
    """
    role = "arn:aws:iam::123456789012:role/model"
    known = {model["ModelName"] for model in client.list_models()["Models"]}
    for model in {variant.model for variant in variants} - known:
        container = {"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/model:1"}
        client.create_model(ModelName=model, ExecutionRoleArn=role, PrimaryContainer=container)
    client.create_endpoint_config(
        EndpointConfigName=f"{name}-config", ProductionVariants=[_production(v) for v in variants]
    )
    client.create_endpoint(
        EndpointName=name,
        EndpointConfigName=f"{name}-config",
        Tags=[{"Key": key, "Value": value} for key, value in (tags or {}).items()],
    )


def _production(variant: VariantSpec) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "VariantName": variant.name,
        "ModelName": variant.model,
        "InitialVariantWeight": variant.weight,
    }
    if variant.max_concurrency is not None:
        serverless = {"MemorySizeInMB": 2048, "MaxConcurrency": variant.max_concurrency}
        return {**fields, "ServerlessConfig": serverless}
    return {**fields, "InstanceType": "ml.m5.large", "InitialInstanceCount": variant.instances}
