"""Describe SageMaker endpoints and estimate their capacity."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daskmr.aws import Identity, client, translate_errors
from daskmr.core.capacity import PER_INSTANCE, Variant, capacity, per_instance
from daskmr.errors import EndpointError, PermanentError, RequestError

_SERVING = frozenset({"InService", "Updating", "SystemUpdating", "RollingBack"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Current state of an endpoint."""

    arn: str
    """ARN of the endpoint."""
    status: str
    """Status, such as ``InService``."""
    variants: tuple[Variant, ...]
    """Production variants."""
    is_serverless: bool
    """True if a variant is serverless."""


def describe(endpoint: str, identity: Identity) -> Description:
    """Return the current state of an endpoint.

    Raises
    ------
    RequestError
        When the endpoint does not exist, or is not in service.
    EndpointError
        When the service cannot be reached, or denies the request.
    """
    try:
        with translate_errors(f"sagemaker {endpoint}"):
            answer = client("sagemaker", identity).describe_endpoint(EndpointName=endpoint)
    except PermanentError as error:
        msg = f"model: SageMaker endpoint {endpoint!r}: {error}"
        raise RequestError(msg) from error
    variants = tuple(_variant(record) for record in answer.get("ProductionVariants", ()))
    description = Description(
        arn=answer["EndpointArn"],
        status=answer["EndpointStatus"],
        variants=variants,
        is_serverless=any(v.max_concurrency is not None for v in variants),
    )
    if description.status not in _SERVING:
        msg = f"model: SageMaker endpoint {endpoint!r} is {description.status}, not InService"
        raise RequestError(msg)
    return description


def _variant(record: Mapping[str, Any]) -> Variant:
    serverless = record.get("CurrentServerlessConfig") or {}
    weight = record.get("CurrentWeight")
    return Variant(
        name=record["VariantName"],
        weight=1.0 if weight is None else float(weight),
        instances=int(record.get("CurrentInstanceCount") or 0),
        max_concurrency=serverless.get("MaxConcurrency"),
    )


def endpoint_capacity(
    endpoint: str, identity: Identity, *, variant: str = "", component: str = ""
) -> int:
    """Return the number of concurrent calls that an endpoint supports at present.

    Each instance, or copy of an inference component, counts by the endpoint's tag
    ``osml:instance-concurrency``, two by default; serverless variants by their own limit. An
    endpoint that cannot be described counts as one instance.

    Parameters
    ----------
    endpoint
        Name of the endpoint.
    identity
        Identity that describes it.
    variant
        Variant that is invoked; empty for all of them.
    component
        Inference component that is invoked; empty for none.
    """
    try:
        description = describe(endpoint, identity)
        each = per_instance(_tags(description.arn, identity))
        if component:
            return _copies(component, identity) * each
        return capacity(description.variants, each, variant)
    except (EndpointError, RequestError):
        return PER_INSTANCE


def _tags(arn: str, identity: Identity) -> dict[str, str]:
    try:
        with translate_errors(f"sagemaker {arn}"):
            pages = client("sagemaker", identity).get_paginator("list_tags")
            tags = [tag for page in pages.paginate(ResourceArn=arn) for tag in page["Tags"]]
    except EndpointError:
        return {}
    return {tag["Key"]: tag["Value"] for tag in tags}


def _copies(component: str, identity: Identity) -> int:
    with translate_errors(f"sagemaker component {component}"):
        answer = client("sagemaker", identity).describe_inference_component(
            InferenceComponentName=component
        )
    return int(answer.get("RuntimeConfig", {}).get("CurrentCopyCount") or 0)
