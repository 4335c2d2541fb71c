"""Commands for queues: validate, submit and listen."""

import asyncio
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from daskmr.cli.options import (
    model_option,
    options_of,
    required,
    scheduler_option,
    settings,
    workers_option,
)

if TYPE_CHECKING:
    from daskmr.core.request import ImageRequest

_WAIT_S = 1.0
_PARTIAL = 3


@click.command("validate")
@click.argument("request", type=click.File("rb"))
@click.option("--open", "is_opened", is_flag=True, help="Also open the images and plan each job.")
def validate_command(request: Any, *, is_opened: bool) -> None:
    """Print every problem of REQUEST, a Model Runner ImageRequest JSON; - is stdin."""
    from daskmr.api import plan
    from daskmr.planning.from_request import calls_from_request, check_request, read_request

    parsed = read_request(request.read())
    for warning in check_request(parsed):
        click.echo(f"warning: {warning}", err=True)
    jobs = calls_from_request(parsed, None)
    for job in jobs if is_opened else ():
        job_plan = plan(**{k: v for k, v in job.items() if k not in {"out", "outputs"}})
        click.echo(f"{job_plan.settings.job_id}: {job_plan.n_tiles:,} tiles of {job_plan.info.url}")
    click.echo(f"{parsed.job_id}: valid, {len(jobs)} image{'s' if len(jobs) > 1 else ''}")


@click.command("submit")
@click.argument("image", required=False)
@model_option
@options_of("submit")
@click.option(
    "--request", type=click.File("rb"), help="Model Runner ImageRequest JSON; - is stdin."
)
@click.option("-o", "--out", help="Folder (with -s only) or s3:// URL of the results.")
@click.option(
    "--queue",
    envvar=["DASKMR_QUEUE", "IMAGE_QUEUE"],
    help="URL of the queue that the service listens to.",
)
@click.option(
    "--store",
    envvar="DASKMR_STORE",
    help="Folder or s3:// URL that keeps jobs; needed with -s and --wait.",
)
@scheduler_option
@click.option(
    "--priority", type=click.IntRange(-100, 100), help="Priority; higher ones start first."
)
@click.option(
    "--wait", is_flag=True, help="Wait until the job has ended, and exit with its status."
)
@click.option("--wait-timeout", type=click.FloatRange(min=0), help="Longest time to wait, seconds.")
def submit_command(
    image: str | None,
    *,
    queue: str | None,
    store: str | None,
    scheduler: str | None,
    wait: bool,
    **options: Any,
) -> None:
    """Send a job to a queue, or to the Dask cluster at -s, and print its id."""
    from daskmr.planning.from_request import check_request
    from daskmr.service.submission import statuses, to_cluster, to_queue

    if bool(queue) == bool(scheduler):
        msg = "set either --queue or -s/--scheduler"
        raise click.UsageError(msg)
    if (wait or scheduler) and not store:
        msg = f"{'--wait' if wait else '-s'} needs --store"
        raise click.UsageError(msg)
    timeout_s = options.pop("wait_timeout")
    request = _request_of(image, options)
    for warning in check_request(request):
        click.echo(f"warning: {warning}", err=True)
    message_id = ""
    if queue:
        message_id = to_queue(request, queue)
    else:
        to_cluster(request, str(scheduler), str(store))
    click.echo(request.job_id)
    if wait:
        statuses_now = partial(statuses, request, str(store), message_id=message_id)
        sys.exit(_wait_for_status(statuses_now, timeout_s))


def _request_of(image: str | None, options: dict[str, Any]) -> "ImageRequest":
    """Return the request of a file, or of the options."""
    from daskmr.planning.from_request import read_request
    from daskmr.service.submission import request_from_options

    file = options.pop("request")
    if file is not None:
        names = [name for name, value in options.items() if value not in (None, ())]
        if image or names:
            msg = "--request cannot be combined with an image, a model or other options"
            raise click.UsageError(msg)
        return read_request(file.read())
    if not image or not options["out"]:
        msg = f"missing {'-o/--out' if image else 'IMAGE or --request'}"
        raise click.UsageError(msg)
    return request_from_options(image, required(options.pop("model")), settings(options))


def _wait_for_status(statuses_now: Callable[[], dict[str, str]], timeout_s: float | None) -> int:
    """Wait until all jobs of a request have ended, and return their exit status."""
    end = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        by_job = statuses_now()
        if all(by_job.values()):
            break
        if end is not None and time.monotonic() > end:
            click.echo(f"error: not finished after {timeout_s:g} s", err=True)
            return 1
        time.sleep(_WAIT_S)
    for name, status in by_job.items():
        click.echo(f"{name}: {status}", err=True)
    codes = {"SUCCESS": 0, "PARTIAL": _PARTIAL, "CANCELED": 6}
    return max(codes.get(status, 1) for status in by_job.values())


@click.command("listen")
@click.option(
    "--queue", envvar=["DASKMR_QUEUE", "IMAGE_QUEUE"], required=True, help="URL of the queue."
)
@click.option(
    "--dlq",
    "dead_letters",
    envvar=["DASKMR_DLQ", "IMAGE_DLQ"],
    default="",
    help="URL of the dead-letter queue: refused requests, with the reason.",
)
@click.option(
    "--store",
    envvar="DASKMR_STORE",
    required=True,
    help="Folder or s3:// URL that keeps requests and jobs.",
)
@scheduler_option
@workers_option
@click.option(
    "--max-jobs",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Largest number of images that run at once.",
)
@click.option(
    "--per-endpoint",
    type=click.IntRange(min=1),
    help="Largest number of images that run at once at one endpoint.  [default: by its capacity]",
)
@click.option("--once", is_flag=True, help="Exit when the queue is empty and all jobs have ended.")
@click.option(
    "--visibility",
    "visibility_s",
    type=click.IntRange(3, 43200),
    default=180,
    show_default=True,
    help="Visibility timeout of a message, seconds.",
)
@click.option(
    "--elevation",
    help="Elevation, as in daskmr run.  [default: the tiles at ELEVATION_DATA_LOCATION]",
)
@click.option("--geoid", help="Raster of the geoid, for elevations above sea level.")
@click.option(
    "--hand-over",
    "hand_over_s",
    type=click.FloatRange(0, 42000),
    default=39600.0,
    help="Seconds after which a request is kept in the store instead of the queue.",
)
@click.option(
    "-f",
    "--format",
    "formats",
    default="geojson",
    show_default=True,
    metavar="NAME[,NAME]",
    help="File formats of outputs in S3.",
)
@click.option(
    "--status-topic",
    "topic",
    envvar=["DASKMR_STATUS_TOPIC", "IMAGE_STATUS_TOPIC"],
    default="",
    help="ARN of the SNS topic for the status of images.",
)
@click.option(
    "--region-topic",
    envvar=["DASKMR_REGION_TOPIC", "REGION_STATUS_TOPIC"],
    default="",
    help="ARN of the SNS topic for the status of regions.",
)
@click.option("--health", default="", metavar="HOST:PORT", help="Serve /healthz and /metrics.")
@click.option("--emf", is_flag=True, help="Write metrics to stdout as well, for CloudWatch.")
@click.option(
    "--allow-image",
    "images",
    multiple=True,
    metavar="PATTERN",
    help="s3://bucket, s3://bucket/prefix, https://host or folder that requests may read; "
    "repeatable.",
)
@click.option(
    "--allow-output",
    "outputs",
    multiple=True,
    metavar="PATTERN",
    help="s3://bucket/prefix or kinesis:stream that requests may write to; repeatable.",
)
@click.option(
    "--allow-model",
    "models",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Hosts of HTTP endpoints that requests may name, on every port or one; repeatable.  "
    "[default: all public ones]",
)
@click.option(
    "--allow-endpoint",
    "endpoints",
    multiple=True,
    metavar="PATTERN",
    help="SageMaker endpoints, and KIND://… of other packages, that requests may name; repeatable."
    "  [default: all SageMaker endpoints]",
)
@click.option(
    "--allow-role",
    "roles",
    multiple=True,
    metavar="ARN[=EXTERNAL_ID]",
    help="Roles that requests may name; repeatable.",
)
@click.option(
    "--allow-all", is_flag=True,
    help="Let requests name everything that this machine reaches, private addresses included; for "
    "laboratories.",
)  # fmt: skip
@click.option("--log-format", type=click.Choice(["json", "text"]), default="json",
              show_default=True)  # fmt: skip
def listen_command(*, log_format: str, formats: str, allow_all: bool, **options: Any) -> None:
    """Run the requests of an SQS queue until SIGTERM."""
    from daskmr.service import policy as policies
    from daskmr.service.app import ServiceOptions, listen

    _log(log_format)
    roles = dict(role.partition("=")[::2] for role in options.pop("roles"))
    lists = {name: options.pop(name) for name in ("images", "models", "endpoints", "outputs")}
    if allow_all:
        click.echo("warning: --allow-all: whoever writes to the queue reaches everything", err=True)
        policy = policies.allow_all()
    else:
        _check_lists(lists)
        named = {name: values for name, values in lists.items() if values}
        policy = policies.RequestPolicy(roles=roles, **named)
    service = ServiceOptions(policy=policy, formats=tuple(formats.split(",")), **options)
    asyncio.run(listen(service))


def _check_lists(lists: dict[str, Any]) -> None:
    """Raise when no request could be allowed for lack of a list."""
    missing = [
        flag
        for flag, values in {
            "--allow-image": lists["images"],
            "--allow-model or --allow-endpoint": lists["models"] or lists["endpoints"],
            "--allow-output": lists["outputs"],
        }.items()
        if not values
    ]
    if missing:
        msg = (
            f"missing {', '.join(missing)}: what requests may name; a listener without would "
            "refuse every message (--allow-all allows everything, for laboratories)"
        )
        raise click.UsageError(msg)


def _log(kind: str) -> None:
    """Configure logging: JSON lines on stdout, or text on stderr."""
    import logging

    from daskmr.status import JsonHandler, Redaction

    handler: logging.Handler = JsonHandler()
    if kind == "text":
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
        handler.addFilter(Redaction())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("daskmr").setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
