"""What the package imports is what pyproject.toml declares; extras are behind a guard."""

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = {
    "IPython": "ipython",
    "dask_gateway": "dask-gateway",
    "dask_kubernetes": "dask-kubernetes",
    "PIL": "pillow",
    "prometheus_client": "prometheus-client",
}
"""Of modules whose distributions have other names, and may not be installed here."""
BEHIND_A_GUARD = {
    ("daskmr/encode/_radar.py", "_document"): "`check` has said at plan time what is missing",
    ("daskmr/encode/_radar.py", "_header"): "as above",
    ("daskmr/encode/_radar.py", "_chip"): "as above",
    ("daskmr/views/notebook.py", "show"): "made only where IPython runs",
}
"""Functions that import extras without a guard of their own, and why they may."""

GUARDED = """def f():
    try:
        import matplotlib.pyplot
    except ImportError as error:
        raise RequestError("install daskmr[{}]") from error
"""


@dataclass(frozen=True)
class Import:
    """One imported module."""

    distribution: str
    file: str
    line: int
    function: str
    """Innermost one around it; empty at the top of a module."""
    guards: tuple[str, ...]
    """Source of what is around it and could catch its absence."""


def imports(text: str, file: str) -> Iterator[Import]:
    """All imports of other people's modules."""
    yield from _inside(ast.parse(text), file, "", ())


def _inside(node: ast.AST, file: str, function: str, guards: tuple[str, ...]) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        for module in _modules(child):
            top = module.partition(".")[0]
            if top not in sys.stdlib_module_names and top != "daskmr":
                line: int = vars(child)["lineno"]
                yield Import(_distribution(top), file, line, function, guards)
        inner, around = function, guards
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = child.name
        elif isinstance(child, ast.With):
            around = (*guards, *(ast.unparse(item) for item in child.items))
        elif isinstance(child, ast.Try):
            around = (*guards, *(ast.unparse(h) for h in child.handlers if _catches(h)))
        yield from _inside(child, file, inner, around)


def _catches(handler: ast.ExceptHandler) -> bool:
    return handler.type is not None and "ImportError" in ast.unparse(handler.type)


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [str(node.module)]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
        names = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        return [name for name in names if isinstance(name, str)]
    return []


@cache
def _distribution(module: str) -> str:
    names = _by_module().get(module, [module])
    return str(canonicalize_name(DISTRIBUTIONS.get(module, names[0])))


@cache
def _by_module() -> Mapping[str, list[str]]:
    return packages_distributions()


@cache
def declared() -> tuple[frozenset[str], dict[str, frozenset[str]]]:
    """Dependencies, and those of each extra."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())

    def names(items: list[str]) -> frozenset[str]:
        return frozenset(str(canonicalize_name(Requirement(item).name)) for item in items)

    extras = data["project"]["optional-dependencies"]
    return (
        names(data["project"]["dependencies"]),
        {extra: names(items) for extra, items in extras.items()},
    )


def problem(said: Import) -> str:
    """What is wrong with an import; empty when nothing is."""
    plain, extras = declared()
    allowed = plain | extras["testing"] if said.file.startswith("daskmr/testing/") else plain
    if said.distribution in allowed or (said.file, said.function) in BEHIND_A_GUARD:
        return ""
    names = [extra for extra, items in extras.items() if said.distribution in items]
    where = f"{said.file}:{said.line}: {said.distribution}"
    if not names:
        return f"{where} is not declared"
    if not said.function:
        return f"{where} is of an extra, and imported with the module"
    named = [f"daskmr[{name}]" for name in names] + [f"'{name}'" for name in names]
    is_guarded = any(text in guard for guard in said.guards for text in named)
    return "" if is_guarded else f"{where} is of an extra that no guard around it names"


def package() -> list[Import]:
    return [
        each
        for file in sorted((ROOT / "daskmr").rglob("*.py"))
        for each in imports(file.read_text(), str(file.relative_to(ROOT)))
    ]


def test_what_is_imported_is_declared_or_guarded() -> None:
    found = package()
    assert len(found) > 300
    assert [text for text in map(problem, found) if text] == []
    used = {(each.file, each.function) for each in found}
    assert set(BEHIND_A_GUARD) <= used


def test_the_extra_for_tests_is_what_the_suites_import() -> None:
    plain, extras = declared()
    files = [each for each in package() if each.file.startswith("daskmr/testing/")]
    assert {each.distribution for each in files} - plain == extras["testing"]


def test_all_that_is_declared_is_imported() -> None:
    plain, _ = declared()
    indirect = {"aiobotocore", "s3fs", "zarr"}  # imported by fsspec and xarray
    assert plain - {each.distribution for each in package()} == indirect


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import numpy", ""),
        ("import jinja2", "daskmr/a.py:1: jinja2 is not declared"),
        (
            "import prometheus_client",
            "daskmr/a.py:1: prometheus-client is of an extra, and imported with the module",
        ),
        (
            "def f():\n    from prometheus_client import REGISTRY",
            "daskmr/a.py:2: prometheus-client is of an extra that no guard around it names",
        ),
        (
            GUARDED.format("onnx"),
            "daskmr/a.py:3: matplotlib is of an extra that no guard around it names",
        ),
        (
            GUARDED.format("plot"),
            "",
        ),
        ("def f():\n    with refused(place, 'coiled'):\n        import coiled", ""),
        (
            "def f():\n    importlib.import_module('onnxruntime')",
            "daskmr/a.py:2: onnxruntime is of an extra that no guard around it names",
        ),
    ],
)
def test_what_would_break_a_plain_installation_is_noticed(text: str, message: str) -> None:
    (found,) = imports(text, "daskmr/a.py")
    assert problem(found) == message
