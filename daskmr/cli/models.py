"""Commands about models: which there are, whether they answer, and serving one."""

import json
import sys
from typing import Any

import click

from daskmr.cli.options import job_options, settings
from daskmr.errors import DaskmrError


@click.group("models")
def models_group() -> None:
    """What can be run, and whether it answers."""


@models_group.command("list")
def models_list_command() -> None:
    """Names of the built-in models."""
    from daskmr.models import MODELS

    click.echo("\n".join(MODELS.names()))


@models_group.command("check")
@click.argument("model")
@job_options
@click.option("--image", help="Where the tile is cut from.  [default: noise]")
@click.option("--pixels", metavar="BANDSxTYPE", default="3xuint8", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print what was seen as JSON.")
def models_check_command(
    model: str, *, image: str | None, pixels: str, as_json: bool, **options: Any
) -> None:
    """Send one tile to MODEL; say what came back, and what to change when it failed."""
    from daskmr.pipeline.check import check

    found = check(model, image, pixels=pixels, **settings(options))
    click.echo(json.dumps(found.as_dict(), indent=2) if as_json else str(found))
    sys.exit(found.exit_code)


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
