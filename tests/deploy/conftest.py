"""What the tests of deployments share."""

from collections.abc import Sequence

from daskmr.cli import cli


def parsed(words: Sequence[str]) -> dict[str, object]:
    """Options of the command that words mean, as the command line takes them.

    Raises
    ------
    click.UsageError
        When it does not.
    """
    name, *rest = words
    command = cli.commands[name]
    return dict(command.make_context(name, list(rest)).params)
