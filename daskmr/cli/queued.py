"""Commands around a queue: send requests, look at them, and listen."""

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from daskmr.cli.options import (
    job_options,
    model_option,
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
@click.option("--open", "is_opened", is_flag=True, help="Also open the images, and plan each job.")
def validate_command(request: Any, *, is_opened: bool) -> None:
    """Explain every problem of REQUEST, a Model Runner ImageRequest JSON; - is stdin."""
    from daskmr.api import plan
    from daskmr.core.request import ImageRequest
    from daskmr.pipeline.requested import jobs

    found = ImageRequest.from_json(request.read())
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    asked = jobs(found, None)
    for job in asked if is_opened else ():
        made = plan(**{k: v for k, v in job.items() if k not in {"out", "outputs"}})
        click.echo(f"{made.settings.job_id}: {made.n_tiles:,} tiles of {made.info.url}")
    click.echo(f"{found.job_id}: valid, {len(asked)} image{'s' if len(asked) > 1 else ''}")


@click.command("submit")
@click.argument("image", required=False)
@model_option
@job_options
@click.option(
    "--request", type=click.File("rb"), help="Model Runner ImageRequest JSON; - is stdin."
)
@click.option("-o", "--out", help="s3:// URL of the results; with -s also a folder.")
@click.option(
    "--queue", envvar=["DASKMR_QUEUE", "IMAGE_QUEUE"], help="URL of the queue that is listened to."
)
@click.option(
    "--store", envvar="DASKMR_STORE", help="Folder or s3:// URL that keeps jobs; for -s and --wait."
)
@scheduler_option
@click.option("--priority", type=click.IntRange(-100, 100), help="Higher ones start first.")
@click.option("--wait", is_flag=True, help="Return when it has ended, with its exit status.")
@click.option("--wait-timeout", type=click.FloatRange(min=0), help="Seconds for --wait.")
def submit_command(
    image: str | None,
    *,
    queue: str | None,
    store: str | None,
    scheduler: str | None,
    wait: bool,
    **options: Any,
) -> None:
    """Send a job to a queue, or to the Dask cluster at -s, and print its name."""
    from daskmr.service.submission import to_cluster, to_queue

    if bool(queue) == bool(scheduler):
        msg = "give one of --queue and -s/--scheduler"
        raise click.UsageError(msg)
    if (wait or scheduler) and not store:
        msg = f"{'--wait' if wait else '-s'} needs --store"
        raise click.UsageError(msg)
    timeout_s = options.pop("wait_timeout")
    asked = _asked(image, options)
    for warning in asked.warnings:
        click.echo(f"warning: {warning}", err=True)
    if queue:
        to_queue(asked, queue)
    else:
        to_cluster(asked, str(scheduler), str(store))
    click.echo(asked.job_id)
    if wait:
        sys.exit(_waited(asked.job_ids, str(store), timeout_s))


def _asked(image: str | None, options: dict[str, Any]) -> "ImageRequest":
    """The request that the options bring, or mean."""
    from daskmr.core.request import ImageRequest
    from daskmr.service.submission import described

    file = options.pop("request")
    if file is not None:
        given = [name for name, value in options.items() if value not in (None, ())]
        if image or given:
            msg = "--request brings the image, the model and the options; leave them out"
            raise click.UsageError(msg)
        return ImageRequest.from_json(file.read())
    if not image or not options["out"]:
        msg = f"missing {'-o/--out' if image else 'IMAGE or --request'}"
        raise click.UsageError(msg)
    return described(image, required(options.pop("model")), settings(options))


def _waited(names: tuple[str, ...], store: str, timeout_s: float | None) -> int:
    """The exit status of jobs, once all have ended."""
    from daskmr.service.submission import statuses

    end = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        found = statuses(names, store)
        if all(found.values()):
            break
        if end is not None and time.monotonic() > end:
            click.echo(f"error: not over after {timeout_s:g} s", err=True)
            return 1
        time.sleep(_WAIT_S)
    for name, status in found.items():
        click.echo(f"{name}: {status}", err=True)
    codes = {"SUCCESS": 0, "PARTIAL": _PARTIAL, "CANCELED": 6}
    return max(codes.get(status, 1) for status in found.values())


@click.command("listen")
@click.option("--queue", envvar=["DASKMR_QUEUE", "IMAGE_QUEUE"], required=True, help="URL of it.")
@click.option(
    "--dlq",
    "dead_letters",
    envvar=["DASKMR_DLQ", "IMAGE_DLQ"],
    default="",
    help="URL of the queue that gets what is refused, with the reason.",
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
    help="Most images that run at once.",
)
@click.option(
    "--per-endpoint",
    type=click.IntRange(min=1),
    help="Most images that run at once at one endpoint.  [default: as many as fit]",
)
@click.option("--once", is_flag=True, help="End when the queue is empty and everything has ended.")
@click.option(
    "--visibility",
    "visibility_s",
    type=click.IntRange(3, 43200),
    default=180,
    show_default=True,
    help="Seconds for which a message is ours.",
)
@click.option(
    "--elevation",
    help="Where the ground is, as of daskmr run.  [default: ELEVATION_DATA_LOCATION's tiles]",
)
@click.option("--geoid", help="Raster of the geoid, for heights above sea level.")
@click.option(
    "--hand-over",
    "hand_over_s",
    type=click.FloatRange(0, 42000),
    default=39600.0,
    help="Seconds after which the store holds a request instead of its message.",
)
@click.option(
    "-f",
    "--format",
    "formats",
    default="geojson",
    show_default=True,
    metavar="NAME[,NAME]",
    help="Of outputs in S3.",
)
@click.option(
    "--status-topic",
    "topic",
    envvar=["DASKMR_STATUS_TOPIC", "IMAGE_STATUS_TOPIC"],
    default="",
    help="ARN of the SNS topic that is told of images.",
)
@click.option(
    "--region-topic",
    envvar=["DASKMR_REGION_TOPIC", "REGION_STATUS_TOPIC"],
    default="",
    help="ARN of the SNS topic that is told of regions.",
)
@click.option("--health", default="", metavar="HOST:PORT", help="Serve /healthz and /metrics.")
@click.option("--emf", is_flag=True, help="Write metrics to stdout as well, for CloudWatch.")
@click.option(
    "--allow-image",
    "images",
    multiple=True,
    metavar="PATTERN",
    help="s3://bucket, https://host or folder that requests may read; repeatable.",
)
@click.option(
    "--allow-output",
    "outputs",
    multiple=True,
    metavar="PATTERN",
    help="s3://bucket/prefix or kinesis:stream that they may write; repeatable.",
)
@click.option(
    "--allow-model",
    "models",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Hosts of HTTP endpoints.  [default: all public ones]",
)
@click.option(
    "--allow-endpoint",
    "endpoints",
    multiple=True,
    metavar="PATTERN",
    help="SageMaker endpoints.  [default: all]",
)
@click.option(
    "--allow-role",
    "roles",
    multiple=True,
    metavar="ARN[=EXTERNAL_ID]",
    help="Roles that requests may name; repeatable.",
)
@click.option("--log-format", type=click.Choice(["json", "text"]), default="json",
              show_default=True)  # fmt: skip
def listen_command(*, log_format: str, formats: str, **options: Any) -> None:
    """Run the requests that come from an SQS queue, until SIGTERM."""
    from daskmr.service.allowance import Allowance
    from daskmr.service.assembly import Options, listen

    _log(log_format)
    roles = dict(role.partition("=")[::2] for role in options.pop("roles"))
    lists = {name: options.pop(name) for name in ("images", "models", "endpoints", "outputs")}
    allowance = Allowance(roles=roles, **{name: said for name, said in lists.items() if said})
    told = Options(allowance=allowance, formats=tuple(formats.split(",")), **options)
    asyncio.run(listen(told))


def _log(kind: str) -> None:
    """Tell what happens: as lines of JSON on stdout, or for people on stderr."""
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
