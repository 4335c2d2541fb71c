"""The shape of the house: sizes, names, rooms, tables of plug-ins, one door.

What is not done yet stands in a constant; an entry that is no longer needed fails its test too.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest

from daskmr.registry import Registry

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "daskmr"
MODULES = sorted(PACKAGE.rglob("*.py"))
TABLES = (
    ("daskmr.encode", "ENCODERS"),
    ("daskmr.endpoints", "ENDPOINTS"),
    ("daskmr.geolocate", "SENSOR_MODELS"),
    ("daskmr.merge", "MERGES"),
    ("daskmr.models", "MODELS"),
    ("daskmr.sinks", "SINKS"),
    ("daskmr.sinks", "STREAMS"),
    ("daskmr.status", "STATUS"),
)
UNCHECKED_TABLES = {"SENSOR_MODELS", "MODELS"}
"""Tables whose contract tests are not looked for: those of sensor models declare the Protocol, and
built-in models are held to what they answer."""
MAX_MODULES = 20
BANNED = frozenset({"asked", "found", "given", "held", "said", "seen", "told"})
"""Words that say nothing about a value; CONTRIBUTING.md has the words to take instead."""


@cache
def tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(ROOT)))
def test_no_module_is_longer_than_400_lines(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= 400


def test_the_order_of_a_job_fits_on_a_page() -> None:
    assert len((PACKAGE / "pipeline" / "run.py").read_text(encoding="utf-8").splitlines()) <= 80


def test_no_folder_holds_too_many_modules() -> None:
    counts: dict[str, int] = defaultdict(int)
    for module in MODULES:
        if module.name != "__init__.py":
            counts[str(module.parent.relative_to(PACKAGE))] += 1
    assert {name for name, n in counts.items() if n > MAX_MODULES} == set()


class Name(NamedTuple):
    """A name that a module gives, or the attribute of a value that it uses."""

    name: str
    line: int


def names_in(module: ast.Module) -> Iterator[Name]:
    """Names of functions, classes, parameters, attributes and variables."""
    for node in ast.walk(module):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield Name(node.name, node.lineno)
            case ast.arg():
                yield Name(node.arg, node.lineno)
            case ast.Attribute():
                yield Name(node.attr, node.lineno)
            case ast.Name():
                yield Name(node.id, node.lineno)
            case ast.keyword() if node.arg is not None:
                yield Name(node.arg, node.value.lineno)


def is_banned(name: str) -> bool:
    """Whether a name holds a banned word; those of tests are sentences, and may."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("not_found", "").split("_")
    return not name.startswith("test_") and not BANNED.isdisjoint(words)


@pytest.mark.parametrize(
    ("text", "banned"),
    [
        ("def told(x): ...", ["told"]),
        ("class _Seen: ...", ["_Seen"]),
        ("f(seen=1)", ["seen"]),
        ("n_found = report.all_said", ["n_found", "all_said"]),
        ("def test_what_is_said_is_heard(HTTP_NOT_FOUND, unforeseen): ...", []),
    ],
)
def test_banned_names_are_noticed(text: str, banned: list[str]) -> None:
    assert [each.name for each in names_in(ast.parse(text)) if is_banned(each.name)] == banned


def test_names_are_words_of_the_field() -> None:
    assert [
        f"{module.relative_to(ROOT)}:{each.line}: {each.name}"
        for module in MODULES
        for each in names_in(tree(module))
        if is_banned(each.name)
    ] == []


def test_contributing_lists_the_banned_names() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("Banned as names: ")]
    assert set(re.findall(r"`(\w+)`", line)) == BANNED


def test_two_classes_never_share_a_name() -> None:
    modules: dict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.ClassDef):
                modules[node.name].append(str(module.relative_to(PACKAGE)))
    shared = {name: where for name, where in modules.items() if len(where) > 1}
    assert shared == {}


def test_types_are_defined_once() -> None:
    modules: dict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        for node in tree(module).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if re.fullmatch(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*", name):
                    modules[name].append(str(module.relative_to(PACKAGE)))
    repeated = {name: where for name, where in modules.items() if len(where) > 1}
    assert repeated == {}


def test_what_is_sent_to_workers_imports_no_dask() -> None:
    imported: set[str] = set()
    for module in sorted((PACKAGE / "worker").glob("*.py")):
        for node in ast.walk(tree(module)):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            imported |= {
                f"{module.name}: {name}"
                for name in names
                if name.partition(".")[0] in {"dask", "distributed"}
            }
    assert imported == set()


@pytest.mark.parametrize(("package", "name"), TABLES)
def test_every_name_in_a_table_leads_to_a_class(package: str, name: str) -> None:
    table: Registry[object] = getattr(import_module(package), name)
    assert table.builtin
    assert all(isinstance(table.load(each), type) for each in table.builtin)


@pytest.mark.parametrize(
    ("package", "name"), [pair for pair in TABLES if pair[1] not in UNCHECKED_TABLES]
)
def test_every_plug_in_has_a_contract_test(package: str, name: str) -> None:
    table: Registry[object] = getattr(import_module(package), name)
    folder = ROOT / "tests" / package.rsplit(".", 1)[1]
    text = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("test_*.py"))
    made = set(re.findall(r"def make\(self.*\) -> (\w+):", text))
    assert {table.load(each).__name__ for each in table.builtin} <= made


def test_images_are_opened_at_one_door() -> None:
    pattern = re.compile(r"\b(rasterio\.open|open_rasterio|gdal\.Open)\(")
    found = {
        str(module.relative_to(PACKAGE))
        for module in MODULES
        if pattern.search(module.read_text(encoding="utf-8"))
    }
    assert found == {"image/opener.py"}
