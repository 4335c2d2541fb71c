"""The shape of the house: sizes, tables of plug-ins, one door."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from daskmr.registry import Registry

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "daskmr"
MODULES = sorted(PACKAGE.rglob("*.py"))
TABLES = {
    "daskmr.encode": "ENCODERS",
    "daskmr.endpoints": "ENDPOINTS",
    "daskmr.merge": "MERGES",
    "daskmr.models": "MODELS",
    "daskmr.sinks": "SINKS",
    "daskmr.status": "STATUS",
}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(ROOT)))
def test_no_module_is_longer_than_400_lines(module: Path) -> None:
    assert len(module.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("package", TABLES)
def test_every_name_in_a_table_leads_to_a_class(package: str) -> None:
    table: Registry[object] = getattr(import_module(package), TABLES[package])
    assert table.builtin
    for name in table.builtin:
        assert isinstance(table.load(name), type)


@pytest.mark.parametrize(
    "package",
    ["daskmr.encode", "daskmr.endpoints", "daskmr.merge", "daskmr.sinks", "daskmr.status"],
)
def test_every_plug_in_has_a_contract_test(package: str) -> None:
    table: Registry[object] = getattr(import_module(package), TABLES[package])
    folder = ROOT / "tests" / package.rsplit(".", 1)[1]
    text = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("test_*.py"))
    made = set(re.findall(r"def make\(self.*\) -> (\w+):", text))
    assert {table.load(name).__name__ for name in table.builtin} <= made


def test_images_are_opened_at_one_door() -> None:
    pattern = re.compile(r"\b(rasterio\.open|open_rasterio|gdal\.Open)\(")
    found = {
        str(module.relative_to(PACKAGE))
        for module in MODULES
        if pattern.search(module.read_text(encoding="utf-8"))
    }
    assert found == {"image/door.py"}
