"""Requests on their way: to a queue, or to a driver on a Dask cluster."""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic.alias_generators import to_camel

from daskmr.core.report import JobStatus
from daskmr.core.request import ImageRequest
from daskmr.errors import DaskmrError, RequestError
from daskmr.pipeline.cluster import lasting
from daskmr.pipeline.requested import jobs
from daskmr.pipeline.status import RUNNING, Watcher
from daskmr.service.inbox import send
from daskmr.service.ledger import Ledger
from daskmr.store import JobFolder

_FIELDS = {
    "tile_size": "imageProcessorTileSize",
    "overlap": "imageProcessorTileOverlap",
    "tile_format": "imageProcessorTileFormat",
    "tile_compression": "imageProcessorTileCompression",
    "roi": "regionOfInterest",
    "parameters": "imageProcessorParameters",
    "priority": "priority",
}
_SAGEMAKER = "sagemaker://"


def described(image: str, model: str, options: Mapping[str, Any]) -> ImageRequest:
    """The request that options of the command line mean.

    Parameters
    ----------
    image
        URL that the service can read.
    model
        ``sagemaker://NAME[/VARIANT]`` or the URL of an HTTP endpoint.
    options
        ``out``, and options of `daskmr.run` that a request can say.

    Raises
    ------
    RequestError
        Names an option that a request cannot say, or one that is wrong.
    """
    left = dict(options)
    said: dict[str, Any] = {
        "jobId": left.pop("job_id", None) or uuid.uuid4().hex,
        "imageUrls": [image],
        "imageProcessor": _processor(model, left),
        "outputs": [_output(str(left.pop("out")))],
        "imageProcessorTileFormat": "GTIFF",
    }
    merging = _merging(left)
    if merging:
        said["postProcessing"] = [{"step": "FEATURE_DISTILLATION", "algorithm": merging}]
    if isinstance(left.get("roi"), str) and left["roi"].lstrip().startswith("{"):
        left["roi"] = json.loads(left["roi"])
    said |= {_FIELDS[name]: left.pop(name) for name in list(left) if name in _FIELDS}
    if left:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(left))
        msg = f"{names}: a request cannot say that; see daskmr run"
        raise RequestError(msg)
    return ImageRequest.from_json(said)


def _merging(left: dict[str, Any]) -> dict[str, Any]:
    """How duplicates are merged, in the words of requests; empty when nothing was said."""
    given = {name: left.pop(name) for name in ("merge", "iou", "merge_options") if name in left}
    if not given:
        return {}
    more = {to_camel(name): _parsed(v) for name, v in given.get("merge_options", {}).items()}
    more |= {"iouThreshold": given["iou"]} if "iou" in given else {}
    return {"algorithmType": str(given.get("merge", "nms")).upper(), **more}


def _parsed(text: str) -> Any:
    """What an option of the command line means: JSON, or the text itself."""
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
    return {"name": model, "type": "HTTP_ENDPOINT"}


def _output(out: str) -> dict[str, Any]:
    kind, _, rest = out.partition("://")
    if kind == "kinesis":
        return {"type": "Kinesis", "stream": rest}
    if kind != "s3":
        msg = f"out: {out!r} is neither s3://bucket/prefix nor kinesis://stream"
        raise RequestError(msg)
    bucket, _, prefix = rest.partition("/")
    return {"type": "S3", "bucket": bucket, "prefix": prefix}


def to_queue(request: ImageRequest, queue: str) -> None:
    """Put a request into a queue.

    Raises
    ------
    EndpointError
        When the queue does not take it.
    """
    send(queue, request.to_json())


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

    asked = jobs(request, None)
    with lasting(scheduler) as client:
        for job in asked:
            fire_and_forget(
                client.submit(
                    _drive, {**job, "store": store}, key=f"daskmr-driver-{job['job_id']}",
                    pure=False, retries=3,
                )
            )  # fmt: skip


def _drive(arguments: dict[str, Any]) -> str:
    """Run a job from a task of its cluster, whose slot is given back to the regions."""
    from distributed import get_client, secede

    from daskmr.api import run

    client = get_client()
    secede()
    try:
        return str(run(**arguments, client=client, load=False).report.status)
    except DaskmrError as error:  # nobody but the ledger is left to be told
        why = " ".join(str(error).split())
        said = {"status": str(JobStatus.FAILED), "why": why, "images": []}
        Ledger(store=arguments["store"]).end(arguments["job_id"], said)
        raise


def statuses(names: Sequence[str], store: str) -> dict[str, str]:
    """How jobs ended, by name; empty for those that have not.

    Raises
    ------
    StoreError
        When the store cannot be read.
    """
    return {name: _status(name, store) for name in names}


def _status(name: str, store: str) -> str:
    for request_id in dict.fromkeys((name, name.rpartition("-")[0])):
        over = Ledger(store=store).ended(request_id) if request_id else None
        if over is not None:
            return str(over["status"])
    folder = JobFolder.at(store, name)
    if folder.request() is None:
        return ""
    state = Watcher(folder).look().state
    return "" if state in {RUNNING, "INTERRUPTED"} else state
