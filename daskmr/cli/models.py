"""Commands for models: list them, check one, serve one."""

import json
import sys
from typing import Any

import click

from daskmr.cli.options import options_of, settings
from daskmr.errors import DaskmrError


@click.group("models")
def models_group() -> None:
    """List built-in models, or check a model."""


@models_group.command("list")
def models_list_command() -> None:
    """Print the names of the built-in models."""
    from daskmr.models import MODELS

    click.echo("\n".join(MODELS.names()))


@models_group.command("check")
@click.argument("model")
@options_of("cli")
@click.option("--image", help="Image that the tile is read from.  [default: noise]")
@click.option("--pixels", metavar="BANDSxTYPE", default="3xuint8", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def models_check_command(
    model: str, *, image: str | None, pixels: str, as_json: bool, **options: Any
) -> None:
    """Send one tile to MODEL; print its answer, or what to change when it failed."""
    from daskmr.pipeline.check import check

    result = check(model, image, pixels=pixels, **settings(options))
    click.echo(json.dumps(result.as_dict(), indent=2) if as_json else str(result))
    sys.exit(result.exit_code)


@click.command("serve-model")
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
