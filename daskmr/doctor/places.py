"""Whether stores, queues and models answer, and whose credentials are used."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

from daskmr import aws
from daskmr.doctor.cluster import everywhere
from daskmr.doctor.finding import Finding, ok, problem, warning
from daskmr.endpoints import choose
from daskmr.endpoints.base import ControlPlane, Endpoint
from daskmr.errors import DaskmrError, EndpointError, StoreError
from daskmr.pipeline.capacity import hints
from daskmr.pipeline.settings import Settings
from daskmr.service import inbox
from daskmr.store.places import place

_NAME, _MARK = "seen", b"daskmr"
_RECEIVES = 50
"""The redrive policy of a queue is a backstop only (docs/service.md)."""


def credentials(*, are_needed: bool) -> Finding:
    """Who AWS takes us for; never a secret."""
    try:
        with aws.translated("sts"):
            arn = aws.client("sts").get_caller_identity()["Arn"]
    except EndpointError as error:
        if are_needed:
            return problem("credentials", error)
        return ok("credentials", "none of AWS; only s3://, sagemaker:// and queues need them")
    return ok("credentials", arn)


def store(url: str, client: Any = None) -> Iterator[Finding]:
    """Whether a store keeps names, once and for all, and workers see it."""
    try:
        probe = place(f"{place(url).url}/probe-{uuid.uuid4().hex}")
        first, second = probe.create(_NAME, _MARK), probe.create(_NAME, b"other")
        is_swapped = probe.swap(_NAME, b"new", seen=_MARK)
        is_lost = probe.swap(_NAME, b"newer", seen=_MARK)
        try:
            if not (first and is_swapped) or second or is_lost:
                yield problem("store", f"{url}: writes of two are not told apart; jobs could mix")
                return
            yield ok("store", f"{url}: writes are conditional")
            if client is not None:
                yield from everywhere(client, "store", unseen, probe.url)
        finally:
            probe.remove()
    except StoreError as error:
        yield problem("store", error)


def unseen(url: str) -> str | None:
    """Why this process cannot use a store; None when it can."""
    try:
        if place(url).read(_NAME) is None:
            return f"{url}: what is written here is not there; name a place that both reach"
        place(url).create(uuid.uuid4().hex, _MARK)
    except StoreError as error:
        return str(error)
    return None


def queue(url: str, dead_letters: str = "") -> Iterator[Finding]:
    """Whether a queue answers, and what becomes of messages that nobody can use."""
    try:
        said = inbox.facts(url)
        yield ok("queue", f"{url}: {said.n_waiting:,} waiting, {said.n_held:,} held")
        if 0 < said.most_receives < _RECEIVES:
            told = (
                f"puts a message aside after {said.most_receives} deliveries; restarts of listeners"
            )
            yield warning("queue", f"{told} count, so {_RECEIVES} or more is right")
        if dead_letters:
            buried = inbox.facts(dead_letters)
            yield ok("dead letters", f"{dead_letters}: {buried.n_waiting:,} waiting")
        else:
            yield ok("dead letters", "none: what is refused is kept in the store, below rejected/")
    except EndpointError as error:
        yield problem("queue", error)


def model(name: str, options: dict[str, Any], client: Any = None) -> Iterator[Finding]:
    """Whether a model can be had here, and reached from everywhere; sends no tile."""
    try:
        settings = Settings.of(options)
        found = choose(name, parameters=settings.parameters, hints=hints(name, settings))
        if not isinstance(found, Endpoint):
            yield ok("model", f"{found.name}: runs in the workers")
            return
        if isinstance(found, ControlPlane):
            found = found.resolved(key=name)
    except DaskmrError as error:
        yield problem("model", error)
        return
    why = unreachable(found)
    yield problem("model", why) if why else ok("model", f"{found.name}: answers")
    if client is not None:
        yield from everywhere(client, "model", unreachable, found)


def unreachable(endpoint: Endpoint) -> str | None:
    """Why this process cannot reach an endpoint; None when it can."""
    try:
        asyncio.run(endpoint.check())
    except DaskmrError as error:
        return str(error)
    return None
