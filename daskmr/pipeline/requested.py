"""Model Runner requests as calls of `daskmr.run`."""

from collections.abc import Iterator
from typing import Any

from daskmr.core.request import ImageRequest, KinesisOutput, Output
from daskmr.errors import RequestError


def jobs(request: ImageRequest, out: str | None) -> list[dict[str, Any]]:
    """Keyword arguments of `daskmr.run`, one set for each image of a request.

    Parameters
    ----------
    request
        What is asked for.
    out
        Where results go instead of the request's outputs; None takes those.

    Raises
    ------
    RequestError
        Names every field that asks for something that cannot be done.
    """
    problems = list(_problems(request, out))
    if problems:
        raise RequestError(*problems)
    outputs = [] if out is not None else [_said(output) for output in request.outputs]
    merging = request.merging
    common = {
        **_model(request),
        "parameters": dict(request.image_processor_parameters),
        "tile_size": request.image_processor_tile_size,
        "overlap": request.image_processor_tile_overlap,
        "tile_format": request.image_processor_tile_format,
        "tile_compression": request.image_processor_tile_compression,
        "roi": request.region_of_interest,
        "merge": merging.algorithm_type,
        "iou": merging.iou_threshold,
        "feature_properties": request.feature_properties,
        "out": out,
        "outputs": outputs,
    }
    names = _names(request)
    return [
        {**common, "image": url, "job_id": name}
        for url, name in zip(request.image_urls, names, strict=True)
    ]


def _model(request: ImageRequest) -> dict[str, Any]:
    """The endpoint, and the role to call it with."""
    processor = request.image_processor
    if processor.type == "HTTP_ENDPOINT":
        return {"model": processor.name}
    role = {"role": processor.assumed_role} if processor.assumed_role else {}
    return {"model": f"sagemaker://{processor.name}", "endpoint_options": role}


def _names(request: ImageRequest) -> list[str]:
    """The job's own name for one image; numbered names for several."""
    if len(request.image_urls) == 1:
        return [request.job_id]
    return [f"{request.job_id}-{i}" for i in range(1, len(request.image_urls) + 1)]


def _said(output: Output) -> dict[str, Any]:
    """An output in the words of requests, without what it leaves out."""
    return output.model_dump(mode="json", by_alias=True, exclude_defaults=True) | {
        "type": output.type
    }


def _problems(request: ImageRequest, out: str | None) -> Iterator[str]:
    if request.image_read_role:
        yield f"imageReadRole: {request.image_read_role!r}: images are read with our own role yet"
    if out is None:
        yield from _unwritable(request)


def _unwritable(request: ImageRequest) -> Iterator[str]:
    if not request.outputs:
        yield "outputs: none given; name one, or say where results go"
    for output in request.outputs:
        if isinstance(output, KinesisOutput):
            continue
        if output.role or output.assumed_role:
            yield f"outputs: role {output.role or output.assumed_role!r} cannot be assumed yet"
