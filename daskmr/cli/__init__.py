"""The command line: parse options, call the library, print results.

`options` has the shared options; `running`, `queued`, `dead_letters`, `kept`, `models` and `doctor`
the commands.
stdout has data, stderr messages. Exit status: 0 success, 1 failed, 2 usage, 3 partial, 4 invalid
request or image, 5 unreachable, 6 canceled, 130 interrupted, 143 terminated.
"""

import os
import signal
import sys
from typing import Any, NoReturn

import click

from daskmr._version import __version__
from daskmr.cli import dead_letters, doctor, kept, models, queued, running
from daskmr.cli.environment import unknown_variables
from daskmr.errors import DaskmrError

_INTERRUPTED = 130
_TERMINATED = 143


class _Commands(click.Group):
    """A group that prints known errors in one way, also as a plug-in of ``dask`` and ``rio``."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; exit with the status of a known error."""
        try:
            return super().invoke(ctx)
        except DaskmrError as error:
            for line in str(error).splitlines():
                click.echo(f"error: {line}", err=True)
            ctx.exit(error.exit_code)


@click.group(
    "mr",  # name as a plug-in of dask and rio; the program is called daskmr
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="daskmr")
def cli() -> None:
    """Run computer-vision models over very large satellite images."""
    for text in unknown_variables(cli, os.environ):
        click.echo(f"warning: {text}", err=True)


class _Terminated(BaseException):
    """SIGTERM was received; clean up as after Ctrl-C."""


def _terminate(*_: object) -> None:
    raise _Terminated


def main() -> None:
    """Run the command line; print known errors as messages and exit with their status."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        sys.exit(cli.main(standalone_mode=False, auto_envvar_prefix="DASKMR"))
    except _Terminated:
        click.echo("terminated", err=True)
        _leave(_TERMINATED)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        _leave(_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


def _leave(code: int) -> NoReturn:
    """Exit without the interpreter's shutdown, which threads that still log would abort."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


for command in (
    running.plan_command,
    running.run_command,
    queued.submit_command,
    queued.validate_command,
    queued.listen_command,
    dead_letters.dlq_group,
    kept.status_command,
    kept.logs_command,
    kept.report_command,
    kept.cancel_command,
    kept.retry_command,
    kept.merge_command,
    models.models_group,
    models.serve_model_command,
    doctor.doctor_command,
):
    cli.add_command(command)
