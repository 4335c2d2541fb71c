"""Submission of requests to a queue, or to a driver on a Dask cluster."""

import json
import os
import socket
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.alias_generators import to_camel

from daskmr.core.events import Status
from daskmr.core.request import ImageRequest
from daskmr.dispatch.cluster import connect_lasting
from daskmr.endpoints import ENDPOINTS
from daskmr.errors import DaskmrError, RequestError
from daskmr.lifecycle.job_state import INTERRUPTED, RUNNING, Watcher, final_status
from daskmr.planning.from_request import calls_from_request, read_request
from daskmr.planning.options import OPTIONS, default
from daskmr.service.request_store import FAILURES, TRIED_AGAIN, RequestStore
from daskmr.service.sqs import send
from daskmr.store import JobFolder

_FIELDS = {
    option.name: option.request
    for option in OPTIONS
    if option.request and option.request != "postProcessing"
} | {"priority": "priority"}
_TILE_FORMAT = default("tile_format")
"""What a job gets that names none; a request that names none gets Model Runner's NITF."""
_SAGEMAKER = "sagemaker://"


def request_from_options(image: str, model: str, options: Mapping[str, Any]) -> ImageRequest:
    """Return the request that options of the command line describe.

    Parameters
    ----------
    image
        URL that the service can read.
    model
        ``sagemaker://NAME[/VARIANT]`` or the URL of an HTTP endpoint.
    options
        ``out``, and options of `daskmr.run` that a request can carry.

    Raises
    ------
    RequestError
        Names an option that a request cannot carry, or one that is wrong.
    """
    left = dict(options)
    fields: dict[str, Any] = {
        "jobId": left.pop("job_id", None) or uuid.uuid4().hex,
        "imageUrls": [image],
        "imageProcessor": _processor(model, left),
        "outputs": [_output(str(left.pop("out")))],
        "imageProcessorTileFormat": _TILE_FORMAT,
    }
    merging = _merging(left)
    if merging:
        fields["postProcessing"] = [{"step": "FEATURE_DISTILLATION", "algorithm": merging}]
    if isinstance(left.get("roi"), str) and left["roi"].lstrip().startswith("{"):
        left["roi"] = json.loads(left["roi"])
    fields |= {_FIELDS[name]: left.pop(name) for name in list(left) if name in _FIELDS}
    if left:
        msg = f"{', '.join(sorted(left))}: a request cannot carry that; see daskmr run"
        raise RequestError(msg)
    return read_request(fields)


def _merging(left: dict[str, Any]) -> dict[str, Any]:
    """Return the merging in the words of requests; empty when no option names it."""
    typed = {name: left.pop(name) for name in ("merge", "iou", "merge_options") if name in left}
    if not typed:
        return {}
    more = {to_camel(name): _parsed(v) for name, v in typed.get("merge_options", {}).items()}
    more |= {"iouThreshold": typed["iou"]} if "iou" in typed else {}
    return {"algorithmType": str(typed.get("merge", default("merge"))).upper(), **more}


def _parsed(text: str) -> Any:
    """Return the value of JSON text, or the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _processor(model: str, left: dict[str, Any]) -> dict[str, Any]:
    if model.startswith(_SAGEMAKER):
        name, _, variant = model.removeprefix(_SAGEMAKER).partition("/")
        if variant:
            left["parameters"] = {**left.get("parameters", {}), "TargetVariant": variant}
        return {"name": name, "type": "SM_ENDPOINT"}
    if "://" not in model:
        msg = f"model: {model!r} is neither sagemaker://NAME nor a URL: a service cannot call it"
        raise RequestError(msg)
    kind, _, address = model.partition("://")
    if kind.lower() in ENDPOINTS.names() and kind.lower() not in ENDPOINTS.builtin:
        return {"name": address, "type": kind.upper()}
    return {"name": model, "type": "HTTP_ENDPOINT"}


def _output(out: str) -> dict[str, Any]:
    if out.startswith("arn:"):
        return (
            {"type": "Kinesis", "stream": out}
            if ":kinesis:" in out
            else {"type": "S3", "bucket": out}
        )
    kind, _, rest = out.partition("://")
    if kind == "kinesis":
        return {"type": "Kinesis", "stream": rest}
    if kind != "s3":
        msg = (
            f"out: {out!r} is neither s3://bucket/prefix nor kinesis://stream, nor an ARN of these"
        )
        raise RequestError(msg)
    bucket, _, prefix = rest.partition("/")
    return {"type": "S3", "bucket": bucket, "prefix": prefix}


def to_queue(request: ImageRequest, queue: str) -> str:
    """Put a request into a queue and return its SQS message id.

    Raises
    ------
    EndpointError
        When the queue does not take it.
    """
    return send(queue, request.to_json())


def to_cluster(request: ImageRequest, scheduler: str, store: str) -> None:
    """Start a driver for each image of a request on a Dask cluster, and leave it to itself.

    Parameters
    ----------
    request
        What is asked for.
    scheduler
        Address of the cluster, or ``KIND:NAME`` of one (docs/clusters.md).
    store
        Folder or ``s3://`` URL that keeps jobs; every worker sees it.

    Raises
    ------
    RequestError
        When the request cannot be run.
    ClusterError
        When nobody answers there, or the cluster would end with this process.
    """
    from distributed import fire_and_forget

    calls = calls_from_request(request, None)
    problems = [problem for name in request.job_ids for problem in _used_up(name, store)]
    if problems:
        raise RequestError(*problems)
    with connect_lasting(scheduler) as client:
        for call in calls:
            fire_and_forget(
                client.submit(
                    _drive, {**call, "store": store}, key=f"daskmr-driver-{call['job_id']}",
                    pure=False, retries=FAILURES,
                )
            )  # fmt: skip


def _used_up(name: str, store: str) -> Iterator[str]:
    """Yield why a cluster cannot be sent a job of this name: that is recorded as ended for good."""
    end = RequestStore(store=store).end_record(name)
    if end is not None and not end["images"]:
        is_planned = JobFolder.at(store, name).request() is not None
        way_on = f"see daskmr retry {name}" if is_planned else "give another one"
        yield f"job_id: {name!r} ended as {end['status']} ({end['why']}); {way_on}"


def _drive(arguments: dict[str, Any]) -> str:
    """Run a job from a task of its cluster, whose slot is given back to the regions."""
    from distributed import get_client, secede

    from daskmr.api import run

    client = get_client()
    secede()
    try:
        return str(run(**arguments, client=client, load=False).report.status)
    except Exception as error:
        status, job_id = final_status(error), arguments["job_id"]
        requests, why = RequestStore(store=arguments["store"]), _sentence(error)
        if status is None:
            owner = f"{socket.gethostname()}-{os.getpid()}"
            if not requests.record_failure(job_id, owner, why).are_too_many:
                raise  # Dask runs the driver again
        if status is None or JobFolder.at(requests.store, job_id).request() is None:
            end = {"status": str(status or Status.FAILED), "why": why, "images": []}
            requests.record_end(job_id, end)  # the job's own folder does not tell
        return str(status or Status.FAILED)


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, DaskmrError) else f"{type(error).__name__}: {text}"


def statuses(request: ImageRequest, store: str, *, message_id: str = "") -> dict[str, str]:
    """Return how the images of a request ended, by the names of their jobs.

    Parameters
    ----------
    request
        What was sent.
    store
        Folder or ``s3://`` URL that keeps jobs.
    message_id
        Message that brought it to a queue, so that an earlier PARTIAL or FAILED of the same
        request does not count; empty without one.

    Returns
    -------
    SUCCESS, PARTIAL, FAILED or CANCELED; empty for an image that has not ended.

    Raises
    ------
    StoreError
        When the store cannot be read.
    """
    requests = RequestStore(store=store)
    end = requests.end_record(request.job_id) or {}
    is_tried_again = message_id and end.get("status") in TRIED_AGAIN
    if is_tried_again and not requests.has_message(request.job_id, message_id):
        return dict.fromkeys(request.job_ids, "")
    images = end.get("images") or [{}] * len(request.job_ids)
    return {
        name: str(image.get("status") or _status(requests, name))
        for name, image in zip(request.job_ids, images, strict=True)
    }


def _status(requests: RequestStore, name: str) -> str:
    """Return how a job ended that no listener has told the end of; empty when it has not."""
    end = requests.end_record(name)
    if end is not None and not end["images"]:
        return str(end["status"])
    folder = JobFolder.at(requests.store, name)
    if folder.request() is None:
        return ""
    state = Watcher(folder).look().state
    return "" if state in {RUNNING, INTERRUPTED} else state
