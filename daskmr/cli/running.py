"""Commands that plan and run jobs."""

import json
import shutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from daskmr.cli.options import (
    formats_option,
    model_option,
    options_of,
    required,
    scheduler_option,
    settings,
    workers_option,
)

if TYPE_CHECKING:
    from daskmr.core.progress import OnProgress

_PARTIAL = 3


config_option = click.option(
    "--config", type=click.Path(exists=True, dir_okay=False), metavar="FILE.yaml",
    help="Job file with the image, the model and options; what is typed replaces what it says.",
)  # fmt: skip


@click.command("plan")
@click.argument("image", metavar="IMAGE|FILE.yaml", required=False)
@model_option
@options_of("cli")
@config_option
@click.option(
    "--save",
    type=click.Path(dir_okay=False),
    metavar="FILE.yaml",
    help="Write a job file with every option, resolved.",
)
@click.option(
    "--probe",
    "n_probes",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Send N tiles spread over the image, and estimate the duration of the job.",
)
@click.option(
    "--price-per-hour",
    type=click.FloatRange(min=0),
    help="Price of the endpoint, to estimate the cost; with --probe.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")  # fmt: skip
def plan_command(
    image: str | None, *, as_json: bool, n_probes: int | None, price_per_hour: float | None,
    save: str | None, **options: Any,
) -> None:  # fmt: skip
    """Print the plan of a run, made from the header of the image only."""
    from daskmr.api import plan
    from daskmr.pipeline.probe import probe
    from daskmr.planning.job_file import EXECUTION
    from daskmr.planning.plan import plan_json, plan_rows
    from daskmr.views.text import lines

    if price_per_hour is not None and n_probes is None:
        msg = "--price-per-hour needs --probe"
        raise click.UsageError(msg)
    arguments = _arguments(image, options)
    planned = plan(**{name: value for name, value in arguments.items() if name not in EXECUTION})
    if save is not None:
        click.echo(f"wrote {planned.save(save)}", err=True)
    estimate = probe(planned, n_probes, price_per_hour=price_per_hour) if n_probes else None
    if as_json:
        more = {} if estimate is None else {"probe": estimate.as_dict()}
        click.echo(json.dumps(plan_json(planned) | more, indent=2))
        return
    click.echo(lines(plan_rows(planned) + (estimate.rows() if estimate else [])))


def _arguments(image: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `daskmr.run`: of a job file, if any, and those typed."""
    from daskmr.planning.job_file import is_job_file, overridden, read_job_file

    typed = settings(options)
    config = typed.pop("config", None)
    if is_job_file(image):
        if config is not None:
            msg = f"two job files: {image} and --config {config}"
            raise click.UsageError(msg)
        image, config = None, image
    if image is not None:
        typed["image"] = image
    arguments = typed if config is None else overridden(read_job_file(config), typed)
    if "image" not in arguments:
        msg = "missing IMAGE"
        raise click.UsageError(msg)
    required(arguments.get("model"))
    return arguments


@click.command("run")
@click.argument("image", metavar="IMAGE|FILE.yaml", required=False)
@model_option
@options_of("cli")
@click.option(
    "--request", type=click.File("rb"), help="Model Runner ImageRequest JSON; - is stdin."
)
@config_option
@click.option(
    "-o",
    "--out",
    help="Folder or s3:// URL of the results; - writes GeoJSON lines to stdout.  "
    "[default: the current folder]",
)
@formats_option
@click.option(
    "--store",
    envvar="DASKMR_STORE",
    help="Folder or s3:// URL that keeps jobs, after their end too.  [default: .daskmr beside the "
    "results, until they are published]",
)
@click.option("--again", is_flag=True, default=None, help="Begin anew a job that there is.")
@click.option(
    "--overwrite",
    is_flag=True,
    default=None,
    help="Replace a result of this name that is of another image or of other settings.",
)
@click.option(
    "--retry-failed/--no-retry-failed",
    default=None,
    help="Ask again about tiles that failed, when the job has ended with some.  [default: ask]",
)
@scheduler_option
@workers_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def run_command(
    image: str | None, *, request: Any, formats: str | None, as_json: bool, **options: Any
) -> None:
    """Run a model over an image and write geolocated features.

    The same command goes on where an earlier one was cut off, asks again about tiles that failed,
    and gives a result that is published again.
    """
    typed = {name: value for name, value in options.items() if value not in (None, ())}
    if formats:
        typed["formats"] = tuple(formats.split(","))
    if request is not None:
        calls = _calls_of_request(request.read(), image, typed)
    else:
        calls = [_arguments(image, typed)]
        if not calls[0].get("outputs"):
            calls[0].setdefault("out", ".")
    if any(call.get("out") == "-" for call in calls):
        sys.exit(max(_run_to_stdout(call, as_json=as_json) for call in calls))
    sys.exit(max(run_job(job, as_json=as_json) for job in calls))


def _run_to_stdout(job: Mapping[str, Any], *, as_json: bool) -> int:
    """Run one job, write its features to stdout as GeoJSON lines, and return its exit status."""
    from daskmr.store.scratch import scratch_folder

    with scratch_folder() as folder:
        status = run_job(
            {**job, "out": str(folder), "formats": ("geojsonseq",)}, as_json=as_json, to_stderr=True
        )
        for path in sorted(folder.glob("*.geojsonl")):
            with path.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.flush()
    return status


def _calls_of_request(
    text: bytes, image: str | None, typed: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the jobs of a Model Runner request: one for each image."""
    from daskmr.planning.from_request import calls_from_request, read_request
    from daskmr.planning.job_file import EXECUTION

    if image is not None or typed.keys() - set(EXECUTION):
        msg = "--request cannot be combined with an image, a model or other options"
        raise click.UsageError(msg)
    calls = calls_from_request(read_request(text), typed.get("out"))
    return [
        {**typed, **{name: value for name, value in call.items() if value is not None}}
        for call in calls
    ]


def run_job(job: Mapping[str, Any], *, as_json: bool, to_stderr: bool = False) -> int:
    """Run one job, print its report, and return its exit status."""
    from daskmr.api import run
    from daskmr.core.report import JobReport, JobStatus
    from daskmr.errors import JobError
    from daskmr.views.text import report_text

    try:
        with _progress() as on_progress, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report: Any = run(**job, load=False, on_progress=on_progress).report
    except JobError as error:
        if not isinstance(error.report, JobReport):
            raise
        click.echo(f"error: {error}", err=True)
        report = error.report
    except BaseException as error:
        if not isinstance(error, Exception) and not to_stderr:
            click.echo("the same command goes on where this one was", err=True)
        raise
    if to_stderr:
        report = replace(report, outputs=())  # files that are gone soon
    text = json.dumps(report.as_dict(), indent=2) if as_json else report_text(report)
    click.echo(text, err=to_stderr)
    codes = {JobStatus.SUCCESS: 0, JobStatus.PARTIAL: _PARTIAL}
    return codes.get(report.status, 1)


@contextmanager
def _progress() -> Iterator["OnProgress"]:
    """Yield a progress callback that draws a bar on stderr when it is a terminal."""
    with click.progressbar(
        length=1, file=sys.stderr, label="tiles", show_pos=True, hidden=not sys.stderr.isatty(),
        item_show_func=lambda item: item,
    ) as bar:  # fmt: skip

        def show(progress: Any) -> None:
            bar.length = progress.n_tiles
            speed = progress.megapixels / max(progress.seconds, 1e-9)
            bar.update(progress.n_done - bar.pos, f"{speed:,.1f} Mpx/s")

        yield show
