"""The command line: parses, calls, prints; the work is elsewhere.

stdout is data, stderr is everything meant for people. Exit status: 0 success, 1 failed, 2 usage,
3 partial, 4 invalid request or image, 5 unreachable, 130 interrupted, 143 terminated.
"""

import json
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from daskmr import __version__
from daskmr.errors import DaskmrError

if TYPE_CHECKING:
    from daskmr.pipeline.progress import OnProgress

F = TypeVar("F", bound=Callable[..., Any])
_PAIRS = {
    "parameters": "--param",
    "tile_options": "--tile-option",
    "endpoint_options": "--endpoint-option",
}
_PARTIAL = 3
_INTERRUPTED = 130
_TERMINATED = 143


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def cli() -> None:
    """Run computer-vision models over very large satellite images."""


class _Terminated(BaseException):
    """Somebody asked this process to end: tidy up as after Ctrl-C."""


def _terminate(*_: object) -> None:
    raise _Terminated


def main() -> None:
    """Entry point: every known error becomes one message and its exit status."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        cli.main(standalone_mode=False, auto_envvar_prefix="DASKMR")
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except _Terminated:
        click.echo("terminated", err=True)
        sys.exit(_TERMINATED)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except DaskmrError as error:
        for line in str(error).splitlines():
            click.echo(f"error: {line}", err=True)
        sys.exit(error.exit_code)


def _calls(_context: click.Context, _option: click.Parameter, value: str | None) -> Any:
    """A number of calls, or auto."""
    if value is None or value == "auto":
        return value
    try:
        return int(value)
    except ValueError:
        msg = f"{value!r} is neither a number nor auto"
        raise click.BadParameter(msg) from None


def _job_options(command: F) -> F:
    """The options that jobs share; what is left out keeps its default."""
    options = [
        click.option("--tile-size", metavar="N|WxH", help="Pixels of a tile.  [default: 1024]"),
        click.option(
            "--overlap", metavar="N|WxH", help="Least pixels that neighbours share.  [default: 50]"
        ),
        click.option("--strategy", help="How tiles are spread: cover or fixed.  [default: cover]"),
        click.option("--tile-format", help="Format sent to an endpoint.  [default: GTIFF]"),
        click.option("--tile-compression", help="Compression in it.  [default: NONE]"),
        click.option(
            "--tile-option", "tile_options", metavar="NAME=VALUE", multiple=True,
            help="Further options of the format, such as input of KSERVE; repeatable.",
        ),
        click.option("--roi", metavar="WKT|FILE", help="Area of interest in lon, lat."),
        click.option("--skip-nodata/--no-skip-nodata", default=None, help="[default: skip]"),
        click.option("--merge", help="How duplicates are merged: nms or none.  [default: nms]"),
        click.option("--iou", type=float, help="Overlap that makes a duplicate.  [default: 0.75]"),
        click.option(
            "--param", "parameters", metavar="NAME=VALUE", multiple=True,
            help="Passed on to the model; repeatable.",
        ),
        click.option(
            "--concurrency", metavar="N|auto", callback=_calls,
            help="Calls in flight, over the whole cluster.  [default: what the endpoint stands]",
        ),
        click.option("--timeout", "timeout_s", type=float, help="Seconds for one call."),
        click.option(
            "--patience", "patience_s", type=float,
            help="Seconds to wait for an endpoint that is busy or away.  [default: 600]",
        ),
        click.option("--batch", type=int, help="Most tiles in one call, if the model takes more."),
        click.option("--answer-format", help="How the model answers.  [default: auto]"),
        click.option(
            "--classes", metavar="NAME[,NAME]", help="Names of class numbers, from 0."
        ),
        click.option(
            "--endpoint-option", "endpoint_options", metavar="NAME=VALUE", multiple=True,
            help="Further options of the endpoint, such as role; repeatable.",
        ),
        click.option("--job-id", help="Name of the job and its files.  [default: made up]"),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


_model_option = click.option(
    "-m", "--model", help="URL, sagemaker://NAME, file.onnx, built-in name, or module:function."
)


@cli.command("plan")
@click.argument("image")
@_model_option
@_job_options
@click.option(
    "--probe",
    "n_probes",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Send N tiles that are spread over the image, and say how long the job will take.",
)
@click.option(
    "--price-per-hour", type=click.FloatRange(min=0), help="Of the endpoint; with --probe."
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")  # fmt: skip
def plan_command(
    image: str, *, model: str | None, as_json: bool, n_probes: int | None,
    price_per_hour: float | None, **options: Any,
) -> None:  # fmt: skip
    """Say what a run would do, from the image's header alone."""
    from daskmr.api import plan
    from daskmr.pipeline.describe import estimate_rows, lines, plan_json, plan_rows

    if price_per_hour is not None and n_probes is None:
        msg = "--price-per-hour needs --probe"
        raise click.UsageError(msg)
    made = plan(image, _required(model), **_settings(options))
    estimate = made.probe(n_probes, price_per_hour=price_per_hour) if n_probes else None
    if as_json:
        told = {} if estimate is None else {"probe": estimate.as_dict()}
        click.echo(json.dumps(plan_json(made) | told, indent=2))
        return
    click.echo(lines(plan_rows(made) + (estimate_rows(estimate) if estimate else [])))


_store_option = click.option(
    "--store", envvar="DASKMR_STORE", required=True, help="Folder or s3:// URL that keeps jobs."
)


@cli.command("status")
@click.argument("job", required=False)
@_store_option
@click.option("--json", "as_json", is_flag=True, help="Print the states as JSON.")
def status_command(job: str | None, *, store: str, as_json: bool) -> None:
    """Say how far JOB has come, or each job of the store; needs no cluster."""
    from daskmr.pipeline.describe import lines
    from daskmr.pipeline.status import state_of
    from daskmr.store import jobs

    states = [state_of(store, name) for name in ([job] if job else jobs(store))]
    if as_json:
        told = [state.as_dict() for state in states]
        click.echo(json.dumps(told[0] if job else told, indent=2))
        return
    click.echo("\n\n".join(lines(state.rows()) for state in states) or f"no jobs in {store}")


@cli.command("report")
@click.argument("job")
@_store_option
def report_command(job: str, store: str) -> None:
    """Print the account of a finished JOB as JSON; needs no cluster."""
    from daskmr.errors import RequestError
    from daskmr.store import JobFolder

    found = JobFolder.at(store, job).report()
    if found is None:
        msg = f"job: {store} has no report of {job!r}; see daskmr status"
        raise RequestError(msg)
    click.echo(json.dumps(found, indent=2))


@cli.group("models")
def models_group() -> None:
    """What can be run, and whether it answers."""


@models_group.command("list")
def models_list_command() -> None:
    """Names of the built-in models."""
    from daskmr.models import MODELS

    click.echo("\n".join(MODELS.names()))


@models_group.command("check")
@click.argument("model")
@_job_options
@click.option("--image", help="Where the tile is cut from.  [default: noise]")
@click.option("--pixels", metavar="BANDSxTYPE", default="3xuint8", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print what was seen as JSON.")
def models_check_command(
    model: str, *, image: str | None, pixels: str, as_json: bool, **options: Any
) -> None:
    """Send one tile to MODEL; say what came back, and what to change when it failed."""
    from daskmr.pipeline.check import check

    found = check(model, image, pixels=pixels, **_settings(options))
    click.echo(json.dumps(found.as_dict(), indent=2) if as_json else str(found))
    sys.exit(found.exit_code)


@cli.command("run")
@click.argument("image", required=False)
@_model_option
@_job_options
@click.option(
    "--request", type=click.File("rb"), help="Model Runner ImageRequest JSON; - is stdin."
)
@click.option("-o", "--out", help="Folder or s3:// URL of the results.")
@click.option(
    "-f", "--format", "formats", metavar="NAME[,NAME]",
    help="geojson, geojsonseq, parquet, fgb, gpkg.  [default: geojson,parquet]",
)  # fmt: skip
@click.option(
    "--store",
    envvar="DASKMR_STORE",
    help="Folder or s3:// URL that keeps jobs; the same --job-id goes on there.",
)
@click.option("-s", "--scheduler", help="Address of a Dask scheduler.  [default: own cluster]")
@click.option("--workers", type=click.IntRange(min=1), help="Processes of an own cluster.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def run_command(
    image: str | None, *, request: Any, model: str | None, as_json: bool, **options: Any
) -> None:
    """Run a model over an image and write geolocated features."""
    from daskmr.api import FORMATS

    execution = {name: options.pop(name) for name in ("out", "store", "scheduler", "workers")}
    formats = options.pop("formats")
    execution["formats"] = tuple(formats.split(",")) if formats else FORMATS
    if request is not None:
        given = [name for name, value in options.items() if value not in (None, ())]
        if image or model or given:
            msg = "--request brings the image, the model and the options; leave them out"
            raise click.UsageError(msg)
        jobs = _requested(request.read(), execution)
    elif not image or not execution["out"]:
        missing = "IMAGE" if not image else "-o/--out"
        msg = f"missing {missing}"
        raise click.UsageError(msg)
    else:
        jobs = [{"image": image, "model": _required(model), **_settings(options), **execution}]
    results = [_run(job, as_json=as_json) for job in jobs]
    sys.exit(max(results))


@cli.command("serve-model")
@click.argument("name", required=False, envvar=["DEFAULT_MODEL_SELECTION", "MODEL_SELECTION"])
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65535),
    envvar="SAGEMAKER_BIND_TO_PORT",
)  # fmt: skip
def serve_model_command(name: str | None, host: str, port: int) -> None:
    """Serve a built-in model over HTTP: GET /ping, POST /invocations.

    Without NAME each request selects its model (CustomAttributes model_selection=NAME).
    """
    from daskmr.models.server import serve

    try:
        serve(name, host=host, port=port, ready=click.echo)
    except OSError as error:
        msg = f"cannot listen on {host}:{port}: {error}"
        raise DaskmrError(msg) from error


def _required(model: str | None) -> str:
    if model is None:
        msg = "missing -m/--model"
        raise click.UsageError(msg)
    return model


def _settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, as the API takes them."""
    given = {name: value for name, value in options.items() if value not in (None, ())}
    for name, flag in _PAIRS.items():
        if name in given:
            given[name] = _pairs(given[name], flag)
    if "classes" in given:
        given["classes"] = tuple(given["classes"].split(","))
    if "roi" in given:
        given["roi"] = _text(given["roi"])
    return given


def _pairs(said: tuple[str, ...], flag: str) -> dict[str, str]:
    """NAME=VALUE, each of them."""
    pairs = [pair.partition("=") for pair in said]
    wrong = [name for name, equals, _ in pairs if not equals or not name]
    if wrong:
        msg = f"{flag}: {wrong[0]!r} is not NAME=VALUE"
        raise click.UsageError(msg)
    return {name: value for name, _, value in pairs}


def _text(value: str) -> str:
    """The content of a file, when the value is the path of one, else the value itself."""
    try:
        return Path(value).read_text(encoding="utf-8")
    except OSError:
        return value
    except UnicodeDecodeError as error:
        msg = f"--roi: {value} is no text file: {error}"
        raise click.UsageError(msg) from None


def _requested(text: bytes, execution: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The jobs of a Model Runner request: one for each image."""
    from daskmr.core.request import ImageRequest
    from daskmr.pipeline.requested import jobs

    return [{**execution, **job} for job in jobs(ImageRequest.from_json(text), execution["out"])]


def _run(job: Mapping[str, Any], *, as_json: bool) -> int:
    """Run one job, print its report, and return its exit status."""
    from daskmr.api import run
    from daskmr.core.report import JobReport, JobStatus
    from daskmr.errors import JobError
    from daskmr.pipeline.describe import report_text

    try:
        with _progress() as on_progress, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report: Any = run(**job, on_progress=on_progress).report
    except JobError as error:
        if not isinstance(error.report, JobReport):
            raise
        click.echo(f"error: {error}", err=True)
        report = error.report
    click.echo(json.dumps(report.as_dict(), indent=2) if as_json else report_text(report))
    codes = {JobStatus.SUCCESS: 0, JobStatus.PARTIAL: _PARTIAL, JobStatus.FAILED: 1}
    return codes[report.status]


@contextmanager
def _progress() -> Iterator["OnProgress"]:
    """A bar on stderr with tiles, speed and time left; nothing when stderr is no terminal."""
    with click.progressbar(
        length=1, file=sys.stderr, label="tiles", show_pos=True, hidden=not sys.stderr.isatty(),
        item_show_func=lambda item: item,
    ) as bar:  # fmt: skip

        def show(progress: Any) -> None:
            bar.length = progress.n_tiles
            speed = progress.megapixels / max(progress.seconds, 1e-9)
            bar.update(progress.n_done - bar.pos, f"{speed:,.1f} Mpx/s")

        yield show
