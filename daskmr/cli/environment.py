"""Environment variables of the command line: ``DASKMR_<COMMAND>_<OPTION>``."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

import click

_PREFIX = "DASKMR"
_OTHERS = frozenset(
    f"{_PREFIX}_{name}"
    for name in (
        "IMAGE",  # the Compose file
        "IMAGERY", "MODELS", "CHAOS_SEEDS", "CHECKOUT", "CHECKOV", "GATEWAY", "MINISTACK", "WEED",
    )
)  # fmt: skip
"""Variables of deployment and of the project's own tests."""


def unknown_variables(group: click.Group, environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that sets no option, with the nearest that does."""
    known = set(_variables(group, _PREFIX))
    names = (name for name in environ if name.startswith(f"{_PREFIX}_"))
    unknown = sorted(name for name in names if name not in known and name not in _OTHERS)
    return [_sentence(name, sorted(known)) for name in unknown]


def _variables(group: click.Group, prefix: str) -> Iterator[str]:
    for name, command in group.commands.items():
        inner = f"{prefix}_{name.upper().replace('-', '_')}"
        if isinstance(command, click.Group):
            yield from _variables(command, inner)
        for parameter in command.params:
            yield f"{inner}_{str(parameter.name).upper()}"
            own = parameter.envvar or ()
            yield from [own] if isinstance(own, str) else own


def _sentence(name: str, known: list[str]) -> str:
    option = name.removeprefix(f"{_PREFIX}_")
    near = [f"{_PREFIX}_RUN_{option}"] if f"{_PREFIX}_RUN_{option}" in known else []
    near = near or get_close_matches(name, known, n=1)
    return f"{name} is ignored: it sets no option{f'; did you mean {near[0]}?' if near else ''}"
