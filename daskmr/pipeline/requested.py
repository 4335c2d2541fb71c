"""Model Runner requests as calls of `daskmr.run`."""

from collections.abc import Iterator
from typing import Any

from daskmr.core.request import ImageRequest, KinesisOutput
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
    place = out if out is not None else _place(request)
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
        "out": place,
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


def _place(request: ImageRequest) -> str:
    (output,) = request.outputs
    prefix = getattr(output, "prefix", "").strip("/")
    return f"s3://{getattr(output, 'bucket', '')}/{prefix}".rstrip("/")


def _problems(request: ImageRequest, out: str | None) -> Iterator[str]:
    if request.image_read_role:
        yield f"imageReadRole: {request.image_read_role!r}: images are read with our own role yet"
    if out is None:
        yield from _unwritable(request)


def _unwritable(request: ImageRequest) -> Iterator[str]:
    if len(request.outputs) != 1:
        n = len(request.outputs)
        yield f"outputs: {n} given; name one output, or say where results go"
    for output in request.outputs:
        if isinstance(output, KinesisOutput):
            yield f"outputs: stream {output.stream!r}: only S3 can be written yet"
        elif output.role or output.assumed_role:
            yield f"outputs: role {output.role or output.assumed_role!r} cannot be assumed yet"
