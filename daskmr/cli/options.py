"""Options that several commands share, and what they mean in Python."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
_PAIRS = {
    "parameters": "--param",
    "tile_options": "--tile-option",
    "prepare": "--prepare",
    "merge_options": "--merge-option",
    "endpoint_options": "--endpoint-option",
}


def calls(_context: click.Context, _option: click.Parameter, value: str | None) -> Any:
    """A number of calls, or auto."""
    if value is None or value == "auto":
        return value
    try:
        return int(value)
    except ValueError:
        msg = f"{value!r} is neither a number nor auto"
        raise click.BadParameter(msg) from None


def job_options(command: F) -> F:
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
        click.option(
            "--prepare", metavar="NAME=VALUE", multiple=True,
            help="What is done to pixels first: bands=3,2,1, complex_as=amplitude, gsd=METRES, "
            "stretch=percentile, dtype=uint8, fill=0; repeatable.",
        ),
        click.option("--roi", metavar="WKT|FILE", help="Area of interest in lon, lat."),
        click.option("--roi-only", is_flag=True, default=None, help="Leave out what lies outside."),
        click.option("--sensor-model", help="What places pixels: RPC, GCP, ...  [default: best]"),
        click.option(
            "--elevation", metavar="METRES|RASTER|FOLDER|PATTERN",
            help="Where the ground is.  [default: the level of the image's own model]",
        ),
        click.option("--geoid", help="Raster of the geoid, for heights above sea level."),
        click.option("--skip-nodata/--no-skip-nodata", default=None, help="[default: skip]"),
        click.option(
            "--merge",
            help="How duplicates are merged: nms, soft_nms, nmm, wbf, edge_aware or none.  "
            "[default: edge_aware]",
        ),
        click.option("--iou", type=float, help="Overlap that makes a duplicate.  [default: 0.5]"),
        click.option(
            "--merge-option", "merge_options", metavar="NAME=VALUE", multiple=True,
            help="Further options of merging, such as score_threshold=0.3; repeatable.",
        ),
        click.option(
            "--param", "parameters", metavar="NAME=VALUE", multiple=True,
            help="Passed on to the model; repeatable.",
        ),
        click.option(
            "--concurrency", metavar="N|auto", callback=calls,
            help="Calls in flight, over the whole cluster.  [default: what the endpoint stands]",
        ),
        click.option("--timeout", "timeout_s", type=float, help="Seconds for one call."),
        click.option(
            "--patience", "patience_s", type=float,
            help="Seconds to wait for an endpoint that is busy or away.  [default: 600]",
        ),
        click.option(
            "--deadline", "deadline_s", type=float,
            help="Seconds in which the job is to end; tiles that have not by then fail.",
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


model_option = click.option(
    "-m", "--model", help="URL, sagemaker://NAME, file.onnx, built-in name, or module:function."
)


store_option = click.option(
    "--store", envvar="DASKMR_STORE", required=True, help="Folder or s3:// URL that keeps jobs."
)


def scheduler_option(command: F) -> F:
    """Where a job runs, and what its scheduler is trusted by."""
    files = click.Path(exists=True, dir_okay=False)
    options = [
        click.option(
            "-s", "--scheduler", metavar="ADDRESS|KIND:NAME",
            help="Where jobs run: tcp://…, tls://…, gateway:NAME, coiled:NAME, kubernetes:NAME, "
            "local.  [default: own cluster]",
        ),
        *(
            click.option(
                f"--tls-{what}", type=files, expose_value=False, callback=_trusts,
                help=f"{said}, for tls:// addresses.",
            )
            for what, said in _TLS.items()
        ),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


_TLS = {
    "ca": "Certificates of who is trusted",
    "cert": "Our own certificate",
    "key": "The key of our certificate",
}


def _trusts(_context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    from daskmr.pipeline.cluster import trust

    if value is not None:
        trust(str(parameter.name).removeprefix("tls_"), value)


workers_option = click.option(
    "--workers", type=click.IntRange(min=1), help="Processes of an own cluster."
)
formats_option = click.option(
    "-f", "--format", "formats", metavar="NAME[,NAME]",
    help="geojson, geojsonseq, parquet, fgb, gpkg.  [default: geojson,parquet]",
)  # fmt: skip


def required(model: str | None) -> str:
    """The model, or an error of usage."""
    if model is None:
        msg = "missing -m/--model"
        raise click.UsageError(msg)
    return model


def settings(options: Mapping[str, Any]) -> dict[str, Any]:
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
