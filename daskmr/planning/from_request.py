"""Model Runner requests as calls of `daskmr.run`."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from daskmr.aws import Identity
from daskmr.core.request import ImageRequest, Output
from daskmr.encode import ENCODERS, compressions, encoder, replacement
from daskmr.endpoints import ENDPOINTS
from daskmr.errors import RequestError
from daskmr.image import Door, open_image
from daskmr.merge import MERGES
from daskmr.planning.make_plan import check_options
from daskmr.planning.outputs import destination
from daskmr.planning.settings import Settings

KINDS: Final = {"SM_ENDPOINT": "sagemaker", "HTTP_ENDPOINT": "http"}
"""Kinds of endpoints by Model Runner's types of processors."""
ExternalId = Callable[[str], str]
"""What goes with a role that is assumed; empty for nothing."""


def _none(_role: str) -> str:
    return ""


def read_request(text: str | bytes | Mapping[str, Any]) -> ImageRequest:
    """Return the request of a JSON document that names only plug-ins that there are.

    Raises
    ------
    RequestError
        Names every field that is wrong.
    """
    request = ImageRequest.from_json(text, names=_names())
    problems = list(_impossible_format(request))
    if problems:
        raise RequestError(*problems)
    return request


def check_request(request: ImageRequest) -> list[str]:
    """Raise for all that a service would refuse whatever the images are; return warnings.

    Parameters
    ----------
    request
        What is asked for.

    Raises
    ------
    RequestError
        Names every field that is wrong.
    """
    plain = request.model_copy(update={"image_read_role": ""})
    first = calls_from_request(plain, None)[0]  # its images differ in nothing else
    arguments = {name: value for name, value in first.items() if value is not None}
    outputs, model = arguments.pop("outputs"), arguments.pop("model")
    del arguments["image"]
    problems: list[str] = []
    try:  # which addresses may be called is for the service to say; a name without one never may
        check_options(model, Settings.of(arguments), is_trusted="://" in model)
    except RequestError as error:
        problems.extend(error.problems)
    for output in outputs:
        try:
            destination(output, ("geojson",))
        except RequestError as error:
            problems.extend(error.problems)
    if problems:
        raise RequestError(*problems)
    note = replacement(
        request.image_processor_tile_format, request.image_processor_tile_compression
    )
    return [*request.warnings, *filter(None, [note])]


def _names() -> dict[str, list[str]]:
    """Return the names of plug-ins that requests may have, by kind."""
    kinds = [name.upper() for name in ENDPOINTS.names() if name not in ENDPOINTS.builtin]
    return {
        "endpoint": [*KINDS, *kinds],
        "merge": [name.upper() for name in MERGES.names()],
        "tile format": [name.upper() for name in ENCODERS.names()],
        "compression": sorted({each for name in ENCODERS.names() for each in compressions(name)}),
    }


def _impossible_format(request: ImageRequest) -> Iterator[str]:
    try:
        encoder(request.image_processor_tile_format, request.image_processor_tile_compression)
    except RequestError as error:
        yield f"imageProcessorTileFormat: {error}"


def calls_from_request(
    request: ImageRequest, out: str | None, *, external_id: ExternalId = _none
) -> list[dict[str, Any]]:
    """Return keyword arguments of `daskmr.run`, one set for each image of a request.

    Parameters
    ----------
    request
        What is asked for.
    out
        Where results go instead of the request's outputs; None takes those.
    external_id
        What goes with a role.

    Raises
    ------
    RequestError
        Names every field that asks for something that cannot be done.
    """
    read_request(request.to_json())  # its names may not have been known where it was made
    problems = list(_problems(request, out))
    if problems:
        raise RequestError(*problems)
    outputs = []
    if out is None:
        outputs = [_document(output, request.job_id, external_id) for output in request.outputs]
    merging = request.merging
    common = {
        **_model(request, external_id),
        "parameters": dict(request.image_processor_parameters),
        "tile_size": request.image_processor_tile_size,
        "overlap": request.image_processor_tile_overlap,
        "tile_format": request.image_processor_tile_format,
        "tile_compression": request.image_processor_tile_compression,
        "prepare": dict(request.image_preparation),
        "roi": request.region_of_interest,
        "merge": merging.algorithm_type,
        "iou": merging.iou_threshold,
        "merge_options": merging.options,
        "feature_properties": request.feature_properties,
        "out": out,
        "outputs": outputs,
    }
    return [
        {**common, "image": _image(url, request, external_id), "job_id": name}
        for url, name in zip(request.image_urls, request.job_ids, strict=True)
    ]


def _image(url: str, request: ImageRequest, external_id: ExternalId) -> Any:
    """Return the URL of an image; one that is read with a role is open."""
    role = request.image_read_role
    if not role:
        return url
    identity = Identity(
        role=role, external_id=external_id(role), session=session_name(request.job_id)
    )
    return open_image(url, door=Door(identity=identity))


def session_name(job_id: str) -> str:
    """Return the session name under which a request's roles are assumed."""
    return f"daskmr-{job_id}"


def _model(request: ImageRequest, external_id: ExternalId) -> dict[str, Any]:
    """Return the endpoint, and the role to call it with."""
    processor = request.image_processor
    if processor.type not in KINDS:
        return {"model": f"{processor.type.lower()}://{processor.name}"}
    if processor.type == "HTTP_ENDPOINT":
        return {"model": processor.name}
    who = _who(processor.assumed_role, request.job_id, external_id)
    role = {"role": processor.assumed_role, **who} if processor.assumed_role else {}
    return {"model": f"sagemaker://{processor.name}", "endpoint_options": role}


def _who(role: str, job_id: str, external_id: ExternalId) -> dict[str, str]:
    external = external_id(role) if role else ""
    session = {"session": session_name(job_id)} if role else {}
    return session | ({"external_id": external} if external else {})


def _document(output: Output, job_id: str, external_id: ExternalId) -> dict[str, Any]:
    """Return an output in the words of requests, without what it leaves out."""
    document = output.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    who = _who(output.assumed_role or output.role, job_id, external_id)
    if "external_id" in who:
        who["externalId"] = who.pop("external_id")
    return {**document, **who, "type": output.type}


def _problems(request: ImageRequest, out: str | None) -> Iterator[str]:
    if out is None and not request.outputs:
        yield "outputs: none given; name one, or say where results go"
