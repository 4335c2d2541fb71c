"""The command line: parses, calls, prints; the work is elsewhere.

stdout is data, stderr is everything meant for people. Exit status: 0 success, 1 failed, 2 usage,
3 partial, 4 invalid request or image, 5 unreachable, 6 canceled, 130 interrupted, 143 terminated.
"""

import signal
import sys

import click

from daskmr import __version__
from daskmr.cli import kept, models, queued, running
from daskmr.errors import DaskmrError

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


for command in (
    running.plan_command,
    running.run_command,
    queued.submit_command,
    queued.validate_command,
    queued.listen_command,
    kept.status_command,
    kept.logs_command,
    kept.report_command,
    kept.cancel_command,
    kept.retry_command,
    kept.merge_command,
    models.models_group,
    models.serve_model_command,
):
    cli.add_command(command)
