"""Names that are written beside the table of their kind are those of the table."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import click
import pytest

from daskmr.api import FORMATS
from daskmr.cli.options import formats_option, scheduler_option
from daskmr.clusters import CLUSTERS
from daskmr.encode import ENCODERS, compressions
from daskmr.endpoints import ENDPOINTS
from daskmr.geolocate import SENSOR_MODELS
from daskmr.merge import MERGES
from daskmr.models import MODELS
from daskmr.planning.options import BY_NAME
from daskmr.planning.settings import Settings
from daskmr.sinks import SINKS

ROOT = Path(__file__).parents[1]
NOT_NAMED = {"CHIP"}
"""A chip is cut out of one of the other sensor models, and named by them."""


def help_of(decorator: Callable[[click.Command], click.Command], name: str) -> str:
    command = decorator(click.Command("x"))
    return next(
        each.help or "" for each in command.params
        if isinstance(each, click.Option) and each.name == name
    )  # fmt: skip


def row(text: str, title: str) -> str:
    """A row of the table in the README."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {title} |")]
    return line


def missing(names: Iterable[str], text: str) -> list[str]:
    return [name for name in names if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)]


def test_the_formats_that_are_written_by_default_are_in_the_table() -> None:
    assert set(FORMATS) <= set(SINKS.builtin)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (SINKS.builtin, help_of(formats_option, "formats")),
        (CLUSTERS.builtin, help_of(scheduler_option, "scheduler")),
        (MERGES.builtin, BY_NAME["merge"].help),
        (set(SENSOR_MODELS.builtin) - NOT_NAMED, BY_NAME["sensor_model"].help),
    ],
)
def test_help_names_all_of_a_table(names: Iterable[str], text: str) -> None:
    assert missing(names, text) == []


@pytest.mark.parametrize(
    ("title", "names"),
    [
        (
            "tiles",
            {*ENCODERS.builtin, *(c for name in ENCODERS.builtin for c in compressions(name))},
        ),
        ("merging", MERGES.builtin),
        ("models", set(MODELS.builtin) | set(ENDPOINTS.builtin) - {"http"}),
        ("results", SINKS.builtin),
    ],
)
def test_the_readme_names_all_of_a_table(title: str, names: Iterable[str]) -> None:
    text = row((ROOT / "README.md").read_text(encoding="utf-8"), title)
    assert missing(names, text) == []


def test_the_docstring_of_settings_names_all_sensor_models() -> None:
    source = (ROOT / "daskmr" / "planning" / "settings.py").read_text(encoding="utf-8")
    text = source.split("    sensor_model: ")[1].split("\n    elevation: ")[0]
    assert missing(set(SENSOR_MODELS.builtin) - NOT_NAMED, text) == []
    assert Settings.of({}).merge in MERGES.builtin
