"""Commands on jobs of a store; only retry needs a cluster."""

import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from daskmr.cli.options import (
    formats_option,
    scheduler_option,
    settings,
    store_option,
    workers_option,
)
from daskmr.cli.running import run_job

if TYPE_CHECKING:
    from daskmr.pipeline.status import JobState

_EVERY_S = 1.0


@click.command("status")
@click.argument("job", required=False)
@store_option
@click.option("--watch", is_flag=True, help="Look every second until all are over.")
@click.option("--json", "as_json", is_flag=True, help="Print the states as JSON.")
def status_command(job: str | None, *, store: str, watch: bool, as_json: bool) -> None:
    """Say how far JOB has come, or each job of the store; needs no cluster."""
    from daskmr.pipeline.describe import lines

    for states in _looks(store, job, again=watch):
        if as_json:
            told = [state.as_dict() for state in states]
            click.echo(json.dumps(told[0] if job else told, indent=None if watch else 2))
        elif watch:
            _repaint(states)
        else:
            text = "\n\n".join(lines(state.rows()) for state in states)
            click.echo(text or f"no jobs in {store}")


def _looks(store: str, job: str | None, *, again: bool) -> "Iterator[list[JobState]]":
    """The states of jobs, once or until all are over."""
    from daskmr.pipeline.status import Watcher
    from daskmr.store import JobFolder, jobs

    watchers: dict[str, Watcher] = {}
    while True:
        for name in [job] if job else jobs(store):
            watchers.setdefault(name, Watcher(JobFolder.at(store, name)))
        states = [watcher.look() for _, watcher in sorted(watchers.items())]
        yield states
        if not again or all(state.is_over for state in states):
            return
        time.sleep(_EVERY_S)


def _repaint(states: "list[JobState]") -> None:
    """One line a job; on a terminal over the lines of the last look."""
    if sys.stdout.isatty():
        click.clear()
    for state in states:
        n_ended = sum(state.outcomes.values())
        counts = ", ".join(f"{n:,} {name.lower()}" for name, n in sorted(state.outcomes.items()))
        click.echo(
            f"{state.job_id}: {state.state}, {n_ended:,} of {state.n_tiles:,} tiles"
            f"{f' ({counts})' if counts else ''}"
        )


@click.command("logs")
@click.argument("job")
@store_option
@click.option("--timeline", is_flag=True, help="Seconds since the beginning in place of times.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as JSON.")
def logs_command(job: str, *, store: str, timeline: bool, as_json: bool) -> None:
    """Print what happened to JOB, one event a line."""
    from datetime import datetime

    from daskmr.jobs import Job

    began = None
    for event in Job(store, job).events():
        if as_json:
            click.echo(json.dumps(event))
            continue
        said = dict(event)
        moment, name, epoch = said.pop("time"), said.pop("event"), said.pop("epoch")
        if timeline:
            at = datetime.fromisoformat(moment)
            began = began or at
            moment = f"{(at - began).total_seconds():10.3f} s"
        told = " ".join(f"{key}={_plain(value)}" for key, value in said.items())
        click.echo(f"{moment}  take {epoch + 1}  {name:<16} {told}".rstrip())


def _plain(value: Any) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value)


@click.command("report")
@click.argument("job")
@store_option
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False), metavar="FILE.html",
    help="Write a page with maps and pictures instead.",
)  # fmt: skip
def report_command(job: str, store: str, out: str | None) -> None:
    """Print the account of a finished JOB as JSON, or write it as a page; needs no cluster."""
    from daskmr.jobs import Job

    found = Job(store, job)
    if out is None:
        click.echo(json.dumps(found.report, indent=2))
    else:
        click.echo(f"wrote {found.page().save(out)}", err=True)


@click.command("cancel")
@click.argument("job")
@store_option
def cancel_command(job: str, store: str) -> None:
    """Stop JOB: no new call is made, those in flight are abandoned, what is done is kept."""
    from daskmr.jobs import Job

    Job(store, job).cancel()
    click.echo(f"{job}: told to stop", err=True)


@click.command("retry")
@click.argument("job")
@store_option
@click.option("-o", "--out", help="Folder or s3:// URL of the results.  [default: as before]")
@formats_option
@scheduler_option
@workers_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def retry_command(job: str, *, store: str, formats: str | None, as_json: bool, **how: Any) -> None:
    """Ask about the failed tiles of JOB again, or go on with it when it was cut off."""
    from daskmr.jobs import Job

    changes = {**how, "formats": tuple(formats.split(",")) if formats else None}
    sys.exit(run_job(Job(store, job).again(**changes), as_json=as_json))


@click.command("merge")
@click.argument("job")
@store_option
@click.option("--merge", help="How duplicates are merged.  [default: as before]")
@click.option("--iou", type=float, help="Overlap that makes a duplicate.  [default: as before]")
@click.option(
    "--merge-option",
    "merge_options",
    metavar="NAME=VALUE",
    multiple=True,
    help="Further options of merging; repeatable.  [default: as before]",
)
@click.option("-o", "--out", help="Folder or s3:// URL of the results.  [default: the store only]")
@formats_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def merge_command(
    job: str, *, store: str, formats: str | None, as_json: bool, **changes: Any
) -> None:
    """Merge the answers of JOB in another way; asks no model, and needs no cluster."""
    from daskmr.jobs import Job

    given = settings(changes)
    if formats:
        given["formats"] = tuple(formats.split(","))
    sys.exit(run_job(Job(store, job).merging(**given), as_json=as_json))
