"""Commands for a dead-letter queue: list, show and redrive its messages."""

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from daskmr.service.dead_letters import DeadLetter

_MAX_REASON = 200

dlq_option = click.option(
    "--dlq",
    envvar=["DASKMR_DLQ", "IMAGE_DLQ"],
    required=True,
    help="URL of the dead-letter queue.",
)


@click.group("dlq")
def dlq_group() -> None:
    """List, show or redrive the messages of a dead-letter queue."""


@dlq_group.command("list")
@dlq_option
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True,
    help="Largest number of messages.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the messages as JSON.")
def dlq_list_command(dlq: str, limit: int, *, as_json: bool) -> None:
    """Print time, id, job and reason of each message, one a line; all stay in the queue."""
    from daskmr.service.dead_letters import DeadLetterQueue
    from daskmr.service.sqs import queue_info

    letters = DeadLetterQueue(url=dlq).messages(limit)
    if as_json:
        click.echo(json.dumps([letter.as_dict() for letter in letters], indent=2))
        return
    width = max((len(letter.job_id) for letter in letters), default=1)
    for letter in letters:
        reason = " ".join(letter.reason.split())[:_MAX_REASON]
        click.echo(f"{_moment(letter)}  {letter.id}  {letter.job_id or '-':{width}}  {reason}")
    if len(letters) == limit:
        n_all = max(limit, queue_info(dlq).n_visible)
        click.echo(f"{limit:,} of about {n_all:,} messages; --limit shows more", err=True)


@dlq_group.command("show")
@click.argument("message_id", metavar="ID")
@dlq_option
@click.option("--json", "as_json", is_flag=True, help="Print the message as JSON.")
def dlq_show_command(message_id: str, dlq: str, *, as_json: bool) -> None:
    """Print one message whole, by its id or its job; it stays in the queue."""
    from daskmr.service.dead_letters import DeadLetterQueue
    from daskmr.views.text import lines

    letter = DeadLetterQueue(url=dlq).find(message_id)
    if as_json:
        click.echo(json.dumps(letter.as_dict(), indent=2))
        return
    rows = [
        ("message", letter.id),
        ("job", letter.job_id or "-"),
        *([("name", letter.job_name)] if letter.job_name else []),
        ("sent", _moment(letter)),
        ("reason", letter.reason),
    ]
    click.echo(f"{lines(rows)}\n\n{_body(letter)}")


@dlq_group.command("redrive")
@click.argument("message_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="Redrive all messages.")
@dlq_option
@click.option(
    "--queue", envvar=["DASKMR_QUEUE", "IMAGE_QUEUE"], required=True,
    help="URL of the queue that the service listens to.",
)  # fmt: skip
def dlq_redrive_command(
    message_ids: tuple[str, ...], dlq: str, queue: str, *, is_all: bool
) -> None:
    """Send messages back to --queue, by their ids or their jobs, and print their ids.

    Each is sent before it is deleted here. A request that ended as PARTIAL or FAILED runs its
    failed tiles again.
    """
    from daskmr.service.dead_letters import DeadLetterQueue

    if bool(message_ids) == is_all:
        msg = "name messages by their ids or jobs, or all of them by --all"
        raise click.UsageError(msg)
    n_moved = 0
    try:
        for letter in DeadLetterQueue(url=dlq).redrive(queue, message_ids):
            n_moved += 1
            click.echo(f"{letter.id}  {letter.job_id or '-'}")
    finally:
        click.echo(f"{n_moved:,} messages moved", err=True)


def _moment(letter: "DeadLetter") -> str:
    return datetime.fromtimestamp(letter.message.sent_at, UTC).isoformat(timespec="seconds")


def _body(letter: "DeadLetter") -> str:
    """Return the request, indented if it is JSON."""
    try:
        return json.dumps(json.loads(letter.message.request), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return letter.message.body
