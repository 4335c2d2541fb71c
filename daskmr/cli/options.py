"""Options of several commands, and their conversion to arguments in Python."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from daskmr.planning.options import BY_NAME, OPTIONS, Door, Option

F = TypeVar("F", bound=Callable[..., Any])


def calls(_context: click.Context, _option: click.Parameter, value: str | None) -> Any:
    """Return a number of calls or ``auto``."""
    if value is None or value == "auto":
        return value
    try:
        return int(value)
    except ValueError:
        msg = f"{value!r} is neither a number nor auto"
        raise click.BadParameter(msg) from None


def options_of(door: Door) -> Callable[[F], F]:
    """Return a decorator that adds the options of an interface."""

    def add(command: F) -> F:
        for option in reversed(OPTIONS):
            if door in option.doors:
                command = _option(option)(command)
        return command

    return add


def _option(option: Option) -> Callable[[F], F]:
    """Return the decorator of one option."""
    text = option.help.removesuffix(".") + ("; repeatable" if option.kind == "pairs" else "")
    help_text = f"{text}.{_default_text(option)}"
    if option.kind == "switch":
        name = option.cli_flag.removeprefix("--")
        return click.option(f"--{name}/--no-{name}", default=None, help=help_text)
    kinds: dict[str, dict[str, Any]] = {
        "number": {"type": float},
        "integer": {"type": int},
        "calls": {"callback": calls},
        "flag": {"is_flag": True, "default": None},
        "pairs": {"multiple": True, "metavar": "NAME=VALUE"},
    }
    metavar = {"metavar": option.metavar} if option.metavar else {}
    more = kinds.get(option.kind, {}) | metavar
    return click.option(option.cli_flag, option.name, help=help_text, **more)


def _default_text(option: Option) -> str:
    if not option.shown and option.default in (None, False, (), {}):
        return ""
    shown = option.shown or f"{option.default:g}" if option.kind == "number" else option.shown
    return f"  [default: {shown or option.default}]"


model_option = click.option(
    "-m", "--model", help="URL, sagemaker://NAME, file.onnx, built-in name, or module:function."
)


store_option = click.option(
    "--store", envvar="DASKMR_STORE", default=".daskmr",
    help="Folder or s3:// URL that keeps jobs.  [default: .daskmr of the current folder]",
)  # fmt: skip


def scheduler_option(command: F) -> F:
    """Add the options of the scheduler and of its TLS files."""
    files = click.Path(exists=True, dir_okay=False)
    options = [
        click.option(
            "-s", "--scheduler", metavar="ADDRESS|KIND:NAME|WORD",
            help="Dask scheduler: tcp://…, tls://…, gateway:NAME, coiled:NAME, kubernetes:NAME, "
            "local (worker processes), threads, synchronous.  "
            "[default: threads for a small job or a remote model, else local]",
        ),
        *(
            click.option(
                f"--tls-{kind}", type=files, expose_value=False, callback=_trusts,
                help=f"{text}, for tls:// addresses.",
            )
            for kind, text in _TLS.items()
        ),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


_TLS = {
    "ca": "File of the trusted CA certificates",
    "cert": "File of the client certificate",
    "key": "File of the private key of the certificate",
}


def _trusts(_context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    from daskmr.dispatch.cluster import trust_tls

    if value is not None:
        trust_tls(str(parameter.name).removeprefix("tls_"), value)


workers_option = click.option(
    "--workers", type=click.IntRange(min=1), help="Number of local worker processes."
)
formats_option = click.option(
    "-f", "--format", "formats", metavar="NAME[,NAME]",
    help="geojson, geojsonseq, parquet, fgb, gpkg.  [default: geojson,parquet]",
)  # fmt: skip


def required(model: str | None) -> str:
    """Return the model; raise a usage error when it is missing."""
    if model is None:
        msg = "missing -m/--model"
        raise click.UsageError(msg)
    return model


def settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were set, converted to arguments of the Python API."""
    typed = {name: value for name, value in options.items() if value not in (None, ())}
    for name, value in typed.items():
        option = BY_NAME.get(name)
        if option is None:
            continue
        if option.kind == "pairs":
            typed[name] = _pairs(value, option.cli_flag)
        elif option.kind == "names":
            typed[name] = tuple(value.split(","))
        elif option.kind == "json":
            typed[name] = _json(_text(value, option.cli_flag), option.cli_flag)
        elif name == "roi":
            typed[name] = _text(value, option.cli_flag)
    return typed


def _pairs(values: tuple[str, ...], flag: str) -> dict[str, str]:
    """Return a dict of NAME=VALUE options."""
    pairs = [pair.partition("=") for pair in values]
    wrong = [name for name, equals, _ in pairs if not equals or not name]
    if wrong:
        msg = f"{flag}: {wrong[0]!r} is not NAME=VALUE"
        raise click.UsageError(msg)
    return {name: value for name, _, value in pairs}


def _text(value: str, flag: str) -> str:
    """Return the content of a file when the value is its path, else the value."""
    try:
        return Path(value).read_text(encoding="utf-8")
    except OSError:
        return value
    except UnicodeDecodeError as error:
        msg = f"{flag}: {value} is not a text file: {error}"
        raise click.UsageError(msg) from None


def _json(text: str, flag: str) -> Any:
    """Return the value of JSON text."""
    try:
        value = json.loads(text)
    except ValueError as error:
        msg = f"{flag}: {text[:80]!r} is neither JSON nor a JSON file: {error}"
        raise click.UsageError(msg) from None
    return tuple(value) if isinstance(value, list) else value
