"""The command that checks the dependencies of a job."""

import json
import sys
from typing import Any

import click

from daskmr.cli.options import model_option, scheduler_option, settings


@click.command("doctor")
@scheduler_option
@model_option
@click.option(
    "--endpoint-option", "endpoint_options", metavar="NAME=VALUE", multiple=True,
    help="Further options of the endpoint, such as role; repeatable.",
)  # fmt: skip
@click.option("--store", envvar="DASKMR_STORE", help="Folder or s3:// URL that keeps jobs.")
@click.option("--queue", envvar=["DASKMR_QUEUE", "IMAGE_QUEUE"], help="URL of the queue.")
@click.option(
    "--dlq",
    "dead_letters",
    envvar=["DASKMR_DLQ", "IMAGE_DLQ"],
    help="URL of the dead-letter queue.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor_command(*, as_json: bool, endpoint_options: tuple[str, ...], **checks: Any) -> None:
    """Check the installed software, and the given cluster, model, store and queue.

    Prints one line for each finding: ok, warning or problem. Exit status 1 when there is a problem.
    """
    from daskmr.doctor import examine

    findings = []
    for finding in examine(**checks, options=settings({"endpoint_options": endpoint_options})):
        findings.append(finding)
        if not as_json:
            click.echo(str(finding))
    if as_json:
        click.echo(json.dumps([finding.as_dict() for finding in findings], indent=2))
    sys.exit(int(any(finding.grade == "problem" for finding in findings)))
