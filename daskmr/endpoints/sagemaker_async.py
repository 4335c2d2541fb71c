"""SageMaker asynchronous endpoints: input and output go through S3."""

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from time import monotonic
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from tenacity import AsyncRetrying, retry_if_result, wait_exponential

from daskmr import aws
from daskmr.aws import Identity
from daskmr.aws.sagemaker import endpoint_capacity
from daskmr.core.wire import Answer
from daskmr.endpoints._transport import MAX_RESPONSE_BYTES
from daskmr.endpoints.sagemaker import SageMakerEndpoint, invocation_error, invocation_headers
from daskmr.errors import BadResponseError, PermanentError, RequestError, SilentError
from daskmr.registry import plugin

_FIRST_POLL_S, _MAX_POLL_S = 0.2, 5.0
_ACCEPTED = 202
_THREADS = 32
_RENAMED = {"Content-Type": "X-Amzn-SageMaker-Content-Type", "Accept": "X-Amzn-SageMaker-Accept"}


@plugin
class SageMakerAsyncEndpoint:
    """InvokeEndpointAsync: put the tile into S3, call, poll S3 for the answer or the failure."""

    endpoint: str
    """Name of the endpoint."""
    input_location: str
    """``s3://bucket/prefix`` for tiles; each is deleted after its answer."""
    parameters: tuple[tuple[str, str], ...] = ()
    """Parameters of InvokeEndpointAsync, named as those of InvokeEndpoint."""
    role: str = ""
    """ARN of a role to assume."""
    external_id: str = ""
    """ExternalId of AssumeRole; empty for none."""
    session: str = "daskmr"
    """RoleSessionName of AssumeRole."""
    region: str | None = None
    """Region of the endpoint; None: the configured one."""
    concurrency: int | Literal["auto"] = "auto"
    """Maximum tiles in flight; ``auto``: twice the capacity of its instances."""
    timeout_s: float = 3600.0
    """Seconds until the answer to a tile must be there."""
    max_payload_bytes: int | None = 2**30
    """Maximum bytes of one tile."""

    def __post_init__(self) -> None:
        """Validate the names, the parameters and the location."""
        self._runtime  # noqa: B018 - checks the name, the parameters and the time limit
        parts = urlsplit(self.input_location)
        if parts.scheme != "s3" or not parts.netloc:
            msg = f"input_location: {self.input_location!r} is not an s3:// URL"
            raise RequestError(msg)

    @property
    def name(self) -> str:
        """``sagemaker-async://ENDPOINT``."""
        return f"sagemaker-async://{self.endpoint}"

    def resolved(self, *, key: str) -> Self:
        """Return the endpoint itself: asynchronous endpoints have one variant."""
        self._runtime.resolved(key=key)
        return self

    def capacity(self) -> int | None:
        """Return twice the capacity of its instances, so that each has a next tile in its queue."""
        return 2 * max(1, endpoint_capacity(self.endpoint, self.identity))

    async def invoke(self, payload: bytes, *, content_type: str) -> Answer:
        """Send one tile and return the answer."""
        end = monotonic() + self.timeout_s
        url = f"{self.input_location.rstrip('/')}/{uuid.uuid4().hex}"
        try:
            await self._s3("put_object", url, Body=payload, ContentType=content_type)
            output, failure = await self._start(url, content_type)
            return await self._poll(output, failure, end)
        finally:
            await asyncio.shield(self._s3("delete_object", url))

    async def check(self) -> None:
        """Load credentials, and open and close a connection to the runtime."""
        await self._runtime.check()

    async def refresh(self) -> None:
        """Load credentials again."""
        aws.forget(self.identity)

    async def close(self) -> None:
        """Close the connections of the running loop."""
        await self._runtime.close()

    @property
    def identity(self) -> Identity:
        """AWS identity of the calls."""
        return Identity(
            role=self.role,
            region=self.region,
            external_id=self.external_id,
            session=self.session,
        )

    @property
    def _runtime(self) -> SageMakerEndpoint:
        return SageMakerEndpoint(
            endpoint=self.endpoint,
            parameters=self.parameters,
            role=self.role,
            region=self.region,
            external_id=self.external_id,
            session=self.session,
        )

    async def _start(self, url: str, content_type: str) -> tuple[str, str]:
        """Start the invocation; return the S3 URLs of its answer and of its failure."""
        plain = {"Content-Type": content_type, **invocation_headers(self.parameters)}
        headers = {_RENAMED.get(name, name): value for name, value in plain.items()}
        headers["X-Amzn-SageMaker-InputLocation"] = url
        response = await self._runtime.post("async-invocations", b"", headers)
        error = invocation_error(response, self.name, success=(_ACCEPTED,))
        if error is not None:
            raise error
        output = response.headers.get("X-Amzn-SageMaker-OutputLocation", "")
        if not output.startswith("s3://"):
            msg = f"{self.name}: accepted, but without a place for the answer ({output!r})"
            raise BadResponseError(msg, reason="NO_OUTPUT_LOCATION")
        return output, response.headers.get("X-Amzn-SageMaker-FailureLocation", "")

    async def _poll(self, output: str, failure: str, end: float) -> Answer:
        """Poll for the answer with growing pauses."""
        poll = AsyncRetrying(
            retry=retry_if_result(lambda answer: answer is None),
            wait=wait_exponential(_FIRST_POLL_S, max=_MAX_POLL_S, exp_base=1.5),
        )
        try:
            async with asyncio.timeout(end - monotonic()):
                answer: Answer = await poll(self._answer, output, failure)
                return answer
        except TimeoutError:
            msg = f"{self.name}: no answer within {self.timeout_s:g} s"
            raise SilentError(msg, reason="TIMEOUT") from None

    async def _answer(self, output: str, failure: str) -> Answer | None:
        """Return the answer; None while there is neither an answer nor a failure."""
        answer = await self._object(output)
        if answer is None and failure:
            content = await self._object(failure)
            if content is not None:
                text = " ".join(content.body[:300].decode("utf-8", "replace").split())
                msg = f"{self.name}: the model failed: {text}"
                raise PermanentError(msg, reason="MODEL_ERROR")
        return answer

    async def _object(self, url: str) -> Answer | None:
        """Return an object's content; None while it does not exist."""
        try:
            response = await self._s3("get_object", url)
        except PermanentError as error:
            if error.reason in {"NoSuchKey", "404", "NotFound"}:
                return None
            raise
        if response["ContentLength"] > MAX_RESPONSE_BYTES:
            response["Body"].close()
            msg = f"{self.name}: an answer of more than {MAX_RESPONSE_BYTES:,} bytes"
            raise BadResponseError(msg, reason="TOO_LARGE")
        body = await asyncio.get_running_loop().run_in_executor(_pool(), response["Body"].read)
        return Answer(body, response.get("ContentType", ""))

    async def _s3(self, action: str, url: str, **arguments: Any) -> Any:
        """Call an action of S3 in a thread."""
        parts = urlsplit(url)

        def call() -> Any:
            with aws.translate_errors(f"{self.name}: {url}"):
                method = getattr(aws.client("s3", self.identity), action)
                return method(Bucket=parts.netloc, Key=parts.path.lstrip("/"), **arguments)

        return await asyncio.get_running_loop().run_in_executor(_pool(), call)


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="daskmr-s3")
