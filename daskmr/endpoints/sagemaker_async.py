"""SageMaker endpoints that answer later: input and output go through S3."""

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from time import monotonic
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from daskmr import aws
from daskmr.aws import Identity
from daskmr.aws.sagemaker import endpoint_capacity
from daskmr.core.wire import Answer
from daskmr.endpoints._wire import MAX_RESPONSE_BYTES
from daskmr.endpoints.sagemaker import SageMakerEndpoint, fault_of, headers_of
from daskmr.errors import BadResponseError, PermanentError, RequestError, SilentError
from daskmr.registry import plugin

_FIRST_LOOK_S, _LAST_LOOK_S = 0.2, 5.0
_ACCEPTED = 202
_THREADS = 32
_RENAMED = {"Content-Type": "X-Amzn-SageMaker-Content-Type", "Accept": "X-Amzn-SageMaker-Accept"}


@plugin
class SageMakerAsyncEndpoint:
    """InvokeEndpointAsync: put the tile into S3, call, wait for the answer or the failure there."""

    endpoint: str
    """Name of the endpoint."""
    input_location: str
    """``s3://bucket/prefix`` for tiles; each is removed once it is answered."""
    parameters: tuple[tuple[str, str], ...] = ()
    """Parameters of InvokeEndpointAsync, named as those of InvokeEndpoint."""
    role: str = ""
    """ARN of a role to call it with."""
    external_id: str = ""
    """What the role's owner asks for; empty for nothing."""
    session: str = "daskmr"
    """What the session of the role is called."""
    region: str | None = None
    """Region of the endpoint; None: the configured one."""
    concurrency: int | Literal["auto"] = "auto"
    """Tiles that may be with the endpoint; ``auto``: what its instances stand, and some to wait."""
    timeout_s: float = 3600.0
    """Seconds until a tile must be answered."""
    max_payload_bytes: int | None = 2**30
    """Most bytes of one tile."""

    def __post_init__(self) -> None:
        """Refuse names that make no sense."""
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
        """The endpoint itself: these have one variant."""
        self._runtime.resolved(key=key)
        return self

    def capacity(self) -> int | None:
        """Twice what its instances stand, so that each finds its next tile waiting."""
        return 2 * max(1, endpoint_capacity(self.endpoint, self.identity))

    async def invoke(self, payload: bytes, *, content_type: str) -> Answer:
        """One attempt at one tile."""
        end = monotonic() + self.timeout_s
        url = f"{self.input_location.rstrip('/')}/{uuid.uuid4().hex}"
        try:
            await self._s3("put_object", url, Body=payload, ContentType=content_type)
            output, failure = await self._begun(url, content_type)
            return await self._awaited(output, failure, end)
        finally:
            await asyncio.shield(self._s3("delete_object", url))

    async def check(self) -> None:
        """Find credentials, and connect to the runtime."""
        await self._runtime.check()

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

    async def _begun(self, url: str, content_type: str) -> tuple[str, str]:
        """Where the answer will be, and where the word of a failure."""
        said = {"Content-Type": content_type, **headers_of(self.parameters)}
        headers = {_RENAMED.get(name, name): value for name, value in said.items()}
        headers["X-Amzn-SageMaker-InputLocation"] = url
        response = await self._runtime.post("async-invocations", b"", headers)
        error = fault_of(response, self.name, well=(_ACCEPTED,))
        if error is not None:
            raise error
        output = response.headers.get("X-Amzn-SageMaker-OutputLocation", "")
        if not output.startswith("s3://"):
            msg = f"{self.name}: accepted, but without a place for the answer ({output!r})"
            raise BadResponseError(msg, reason="NO_OUTPUT_LOCATION")
        return output, response.headers.get("X-Amzn-SageMaker-FailureLocation", "")

    async def _awaited(self, output: str, failure: str, end: float) -> Answer:
        """Look for the answer, less and less often."""
        pause = _FIRST_LOOK_S
        while monotonic() < end:
            found = await self._object(output)
            if found is not None:
                return found
            failed = await self._object(failure) if failure else None
            if failed is not None:
                text = " ".join(failed.body[:300].decode("utf-8", "replace").split())
                msg = f"{self.name}: the model failed: {text}"
                raise PermanentError(msg, reason="MODEL_ERROR")
            await asyncio.sleep(min(pause, max(0.0, end - monotonic())))
            pause = min(pause * 1.5, _LAST_LOOK_S)
        msg = f"{self.name}: no answer within {self.timeout_s:g} s"
        raise SilentError(msg, reason="TIMEOUT")

    async def _object(self, url: str) -> Answer | None:
        """An object's content; None while there is none."""
        try:
            found = await self._s3("get_object", url)
        except PermanentError as error:
            if error.reason in {"NoSuchKey", "404", "NotFound"}:
                return None
            raise
        if found["ContentLength"] > MAX_RESPONSE_BYTES:
            found["Body"].close()
            msg = f"{self.name}: an answer of more than {MAX_RESPONSE_BYTES:,} bytes"
            raise BadResponseError(msg, reason="TOO_LARGE")
        body = await asyncio.get_running_loop().run_in_executor(_pool(), found["Body"].read)
        return Answer(body, found.get("ContentType", ""))

    async def _s3(self, action: str, url: str, **arguments: Any) -> Any:
        """One call of S3, in a thread."""
        parts = urlsplit(url)

        def call() -> Any:
            with aws.translated(f"{self.name}: {url}"):
                method = getattr(aws.client("s3", self.identity), action)
                return method(Bucket=parts.netloc, Key=parts.path.lstrip("/"), **arguments)

        return await asyncio.get_running_loop().run_in_executor(_pool(), call)


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="daskmr-s3")
