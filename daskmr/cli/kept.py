"""Commands for jobs in a store; only retry needs a cluster."""

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
    from daskmr.lifecycle.job_state import JobState

_EVERY_S = 1.0


@click.command("status")
@click.argument("job", required=False)
@store_option
@click.option("--watch", is_flag=True, help="Repeat every second until all jobs have ended.")
@click.option("--json", "as_json", is_flag=True, help="Print the states as JSON.")
def status_command(job: str | None, *, store: str, watch: bool, as_json: bool) -> None:
    """Print the state of JOB, or of each job of the store; needs no cluster."""
    from daskmr.views.text import lines

    for states in _poll_states(store, job, again=watch):
        if as_json:
            documents = [state.as_dict() for state in states]
            click.echo(json.dumps(documents[0] if job else documents, indent=None if watch else 2))
        elif watch:
            _repaint(states)
        else:
            text = "\n\n".join(lines(state.rows()) for state in states)
            click.echo(text or f"no jobs in {store}")


def _poll_states(store: str, job: str | None, *, again: bool) -> "Iterator[list[JobState]]":
    """Yield the states of jobs, once or until all jobs have ended."""
    from daskmr.lifecycle.job_state import Watcher
    from daskmr.service.request_state import request_state, unplanned
    from daskmr.store import JobFolder, jobs

    watchers: dict[str, Watcher] = {}
    while True:
        planned = [job] if job else jobs(store)
        states = []
        for name in sorted([*planned, *(() if job else unplanned(store, planned))]):
            watcher = watchers.setdefault(name, Watcher(JobFolder.at(store, name)))
            is_job = watcher.folder.request() is not None
            states.append((None if is_job else request_state(store, name)) or watcher.look())
        yield states
        if not again or all(state.is_over for state in states):
            return
        time.sleep(_EVERY_S)


def _repaint(states: "list[JobState]") -> None:
    """Print one line for each job; clear a terminal first."""
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
@click.option(
    "--timeline", is_flag=True, help="Print seconds since the start of the job instead of times."
)
@click.option("--json", "as_json", is_flag=True, help="Print each event as JSON.")
def logs_command(job: str, *, store: str, timeline: bool, as_json: bool) -> None:
    """Print the events of JOB, one event a line."""
    from datetime import datetime

    from daskmr.jobs import Job

    began = None
    for event in Job(store, job).events():
        if as_json:
            click.echo(json.dumps(event))
            continue
        fields = dict(event)
        moment, name, epoch = fields.pop("time"), fields.pop("event"), fields.pop("epoch")
        if timeline:
            at = datetime.fromisoformat(moment)
            began = began or at
            moment = f"{(at - began).total_seconds():10.3f} s"
        text = " ".join(f"{key}={_plain(value)}" for key, value in fields.items())
        click.echo(f"{moment}  take {epoch + 1}  {name:<16} {text}".rstrip())


def _plain(value: Any) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value)


@click.command("report")
@click.argument("job")
@store_option
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False), metavar="FILE.html",
    help="Write an HTML page with maps and pictures instead.",
)  # fmt: skip
def report_command(job: str, store: str, out: str | None) -> None:
    """Print the report of a finished JOB as JSON, or write it as HTML; needs no cluster."""
    from daskmr.jobs import Job

    kept_job = Job(store, job)
    if out is None:
        click.echo(json.dumps(kept_job.report.as_dict(), indent=2))
    else:
        click.echo(f"wrote {kept_job.page().save(out)}", err=True)


@click.command("cancel")
@click.argument("job")
@store_option
def cancel_command(job: str, store: str) -> None:
    """Cancel JOB: start no new calls, abandon those in flight, keep finished tiles."""
    from daskmr.jobs import Job

    Job(store, job).cancel()
    click.echo(f"{job}: cancel requested", err=True)


@click.command("retry")
@click.argument("job")
@store_option
@click.option("-o", "--out", help="Folder or s3:// URL of the results.  [default: as before]")
@formats_option
@scheduler_option
@workers_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def retry_command(
    job: str, *, store: str, formats: str | None, as_json: bool, **execution: Any
) -> None:
    """Retry the failed tiles of JOB, or resume it when it was interrupted."""
    from daskmr.jobs import Job

    changes = {**execution, "formats": tuple(formats.split(",")) if formats else None}
    sys.exit(run_job(Job(store, job).again(**changes), as_json=as_json))


@click.command("merge")
@click.argument("job")
@store_option
@click.option("--merge", help="Merge method for duplicates.  [default: as before]")
@click.option(
    "--iou",
    type=float,
    help="Overlap (IoU) from which two features are duplicates.  [default: as before]",
)
@click.option(
    "--merge-option",
    "merge_options",
    metavar="NAME=VALUE",
    multiple=True,
    help="Other options of the merge method; repeatable.  [default: as before]",
)
@click.option("-o", "--out", help="Folder or s3:// URL of the results.  [default: the store only]")
@formats_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def merge_command(
    job: str, *, store: str, formats: str | None, as_json: bool, **changes: Any
) -> None:
    """Merge the answers of JOB again; calls no model and needs no cluster."""
    from daskmr.jobs import Job

    options = settings(changes)
    if formats:
        options["formats"] = tuple(formats.split(","))
    sys.exit(run_job(Job(store, job).merging(**options), as_json=as_json))
