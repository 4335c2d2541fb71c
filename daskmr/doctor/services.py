"""Checks of credentials, stores, queues and models."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

from daskmr import aws
from daskmr.doctor.check_result import CheckResult, ok, problem, warning
from daskmr.doctor.cluster import check_on_workers
from daskmr.endpoints import choose
from daskmr.endpoints.base import ControlPlane, Endpoint
from daskmr.errors import DaskmrError, EndpointError, StoreError
from daskmr.planning.endpoint_options import endpoint_hints
from daskmr.planning.settings import Settings
from daskmr.service import sqs
from daskmr.store.object_store import object_store

_NAME, _CONTENT = "seen", b"daskmr"
_MIN_RECEIVES = 50
"""Least sensible ``maxReceiveCount`` of a redrive policy, a backstop only (docs/service.md)."""


def credentials(*, are_needed: bool) -> CheckResult:
    """Check AWS credentials; reports the caller's ARN, never a secret."""
    try:
        with aws.translate_errors("sts"):
            arn = aws.client("sts").get_caller_identity()["Arn"]
    except EndpointError as error:
        if are_needed:
            return problem("credentials", error)
        return ok("credentials", "none of AWS; only s3://, sagemaker:// and queues need them")
    return ok("credentials", arn)


def store(url: str, client: Any = None) -> Iterator[CheckResult]:
    """Check that writes to a store are conditional, and that workers read and write it."""
    try:
        probe = object_store(f"{object_store(url).url}/probe-{uuid.uuid4().hex}")
        first, second = probe.create(_NAME, _CONTENT), probe.create(_NAME, b"other")
        is_swapped = probe.swap(_NAME, b"new", expected=_CONTENT)
        is_lost = probe.swap(_NAME, b"newer", expected=_CONTENT)
        try:
            if not (first and is_swapped) or second or is_lost:
                yield problem("store", f"{url}: writes are not conditional; jobs could mix")
                return
            yield ok("store", f"{url}: writes are conditional")
            if client is not None:
                yield from check_on_workers(client, "store", store_error, probe.url)
        finally:
            probe.remove()
    except StoreError as error:
        yield problem("store", error)


def store_error(url: str) -> str | None:
    """Return why this process cannot use a store; None if it can."""
    try:
        if object_store(url).read(_NAME) is None:
            return f"{url}: not readable there; name a folder or URL that all processes reach"
        object_store(url).create(uuid.uuid4().hex, _CONTENT)
    except StoreError as error:
        return str(error)
    return None


def queue(url: str, dead_letters: str = "") -> Iterator[CheckResult]:
    """Check a queue and its dead-letter queue; receives no message."""
    try:
        info = sqs.queue_info(url)
        yield ok("queue", f"{url}: {info.n_visible:,} waiting, {info.n_in_flight:,} held")
        if 0 < info.max_receives < _MIN_RECEIVES:
            text = (
                f"puts a message aside after {info.max_receives} deliveries; restarts of listeners"
            )
            yield warning("queue", f"{text} count, so {_MIN_RECEIVES} or more is right")
        if dead_letters:
            dlq_info = sqs.queue_info(dead_letters)
            yield ok("dead letters", f"{dead_letters}: {dlq_info.n_visible:,} waiting")
        else:
            yield ok("dead letters", "none: what is refused is kept in the store, below rejected/")
    except EndpointError as error:
        yield problem("queue", error)


def model(name: str, options: dict[str, Any], client: Any = None) -> Iterator[CheckResult]:
    """Check that a model is available here and from all workers; sends no tile."""
    try:
        settings = Settings.of(options)
        endpoint = choose(
            name, parameters=settings.parameters, hints=endpoint_hints(name, settings)
        )
        if not isinstance(endpoint, Endpoint):
            yield ok("model", f"{endpoint.name}: runs in the workers")
            return
        if isinstance(endpoint, ControlPlane):
            endpoint = endpoint.resolved(key=name)
    except DaskmrError as error:
        yield problem("model", error)
        return
    message = endpoint_error(endpoint)
    yield problem("model", message) if message else ok("model", f"{endpoint.name}: answers")
    if client is not None:
        yield from check_on_workers(client, "model", endpoint_error, endpoint)


def endpoint_error(endpoint: Endpoint) -> str | None:
    """Return why this process cannot reach an endpoint; None if it can."""
    try:
        asyncio.run(endpoint.check())
    except DaskmrError as error:
        return str(error)
    return None
