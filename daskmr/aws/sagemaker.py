"""SageMaker's control plane: what is behind the name of an endpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daskmr.aws import Identity, client, translated
from daskmr.core.capacity import PER_INSTANCE, Variant, capacity, per_instance
from daskmr.errors import EndpointError, PermanentError, RequestError

_SERVING = frozenset({"InService", "Updating", "SystemUpdating", "RollingBack"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What an endpoint consists of at present."""

    arn: str
    """Its name for the tags."""
    status: str
    """``InService`` and others."""
    variants: tuple[Variant, ...]
    """Production variants."""
    is_serverless: bool
    """Whether its variants have no instances of their own."""


def describe(endpoint: str, identity: Identity) -> Description:
    """Ask for an endpoint.

    Raises
    ------
    RequestError
        When there is none of that name, or it serves nobody.
    EndpointError
        When the service does not tell.
    """
    try:
        with translated(f"sagemaker {endpoint}"):
            found = client("sagemaker", identity).describe_endpoint(EndpointName=endpoint)
    except PermanentError as error:
        msg = f"model: SageMaker endpoint {endpoint!r}: {error}"
        raise RequestError(msg) from error
    variants = tuple(_variant(said) for said in found.get("ProductionVariants", ()))
    description = Description(
        arn=found["EndpointArn"],
        status=found["EndpointStatus"],
        variants=variants,
        is_serverless=any(v.max_concurrency is not None for v in variants),
    )
    if description.status not in _SERVING:
        msg = f"model: SageMaker endpoint {endpoint!r} is {description.status}, not InService"
        raise RequestError(msg)
    return description


def _variant(said: Mapping[str, Any]) -> Variant:
    serverless = said.get("CurrentServerlessConfig") or {}
    weight = said.get("CurrentWeight")
    return Variant(
        name=said["VariantName"],
        weight=1.0 if weight is None else float(weight),
        instances=int(said.get("CurrentInstanceCount") or 0),
        max_concurrency=serverless.get("MaxConcurrency"),
    )


def endpoint_capacity(
    endpoint: str, identity: Identity, *, variant: str = "", component: str = ""
) -> int:
    """Calls that an endpoint stands at present.

    Instances count by the endpoint's tag ``osml:instance-concurrency``, or two each; copies of an
    inference component likewise; serverless variants by their own limit. An endpoint that we may
    not ask about is taken for one instance.

    Parameters
    ----------
    endpoint
        Its name.
    identity
        Who asks.
    variant
        The variant that is called; all of them when empty.
    component
        The inference component that is called; empty without one.
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
        with translated(f"sagemaker {arn}"):
            pages = client("sagemaker", identity).get_paginator("list_tags")
            found = [tag for page in pages.paginate(ResourceArn=arn) for tag in page["Tags"]]
    except EndpointError:
        return {}
    return {tag["Key"]: tag["Value"] for tag in found}


def _copies(component: str, identity: Identity) -> int:
    with translated(f"sagemaker component {component}"):
        found = client("sagemaker", identity).describe_inference_component(
            InferenceComponentName=component
        )
    return int(found.get("RuntimeConfig", {}).get("CurrentCopyCount") or 0)
