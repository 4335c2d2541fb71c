"""Commands that plan and run jobs."""

import json
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from daskmr.cli.options import (
    formats_option,
    job_options,
    model_option,
    required,
    scheduler_option,
    settings,
    workers_option,
)

if TYPE_CHECKING:
    from daskmr.pipeline.progress import OnProgress

_PARTIAL = 3


@click.command("plan")
@click.argument("image")
@model_option
@job_options
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
    made = plan(image, required(model), **settings(options))
    estimate = made.probe(n_probes, price_per_hour=price_per_hour) if n_probes else None
    if as_json:
        told = {} if estimate is None else {"probe": estimate.as_dict()}
        click.echo(json.dumps(plan_json(made) | told, indent=2))
        return
    click.echo(lines(plan_rows(made) + (estimate_rows(estimate) if estimate else [])))


@click.command("run")
@click.argument("image", required=False)
@model_option
@job_options
@click.option(
    "--request", type=click.File("rb"), help="Model Runner ImageRequest JSON; - is stdin."
)
@click.option("-o", "--out", help="Folder or s3:// URL of the results.")
@formats_option
@click.option(
    "--store",
    envvar="DASKMR_STORE",
    help="Folder or s3:// URL that keeps jobs; the same --job-id goes on there.",
)
@scheduler_option
@workers_option
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
        jobs = [{"image": image, "model": required(model), **settings(options), **execution}]
    results = [run_job(job, as_json=as_json) for job in jobs]
    sys.exit(max(results))


def _requested(text: bytes, execution: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The jobs of a Model Runner request: one for each image."""
    from daskmr.core.request import ImageRequest
    from daskmr.pipeline.requested import jobs

    return [{**execution, **job} for job in jobs(ImageRequest.from_json(text), execution["out"])]


def run_job(job: Mapping[str, Any], *, as_json: bool) -> int:
    """Run one job, print its report, and return its exit status."""
    from daskmr.api import run
    from daskmr.core.report import JobReport, JobStatus
    from daskmr.errors import JobError
    from daskmr.pipeline.describe import report_text

    try:
        with _progress() as on_progress, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report: Any = run(**job, load=False, on_progress=on_progress).report
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
