"""What we publish: the public names, and the two lists of dependencies."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import daskmr

ROOT = Path(__file__).parents[1]


def project() -> dict[str, object]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: dict[str, object] = tomllib.load(file)
    return found


def test_public_names_are_few_sorted_and_importable() -> None:
    assert len(daskmr.__all__) <= 15
    assert daskmr.__all__ == sorted(daskmr.__all__)
    for name in daskmr.__all__:
        assert getattr(daskmr, name) is not None


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = daskmr.nonsense


def test_version_agrees_with_pyproject() -> None:
    metadata = project()["project"]
    assert isinstance(metadata, dict)
    assert daskmr.__version__ == metadata["version"]


def test_environment_yml_lists_what_pyproject_lists() -> None:
    data = project()
    metadata, groups = data["project"], data["dependency-groups"]
    assert isinstance(metadata, dict)
    assert isinstance(groups, dict)
    wanted = [*metadata["dependencies"], *groups["test"], *groups["lint"]]
    wanted = [re.sub(r"\[.*?\]", "", item) for item in wanted]
    lines = (ROOT / "environment.yml").read_text().splitlines()
    listed = [line.split("- ")[1] for line in lines if line.startswith("  - ")]
    assert listed[:3] == ["conda-forge", "nodefaults", f"python{metadata['requires-python']}"]
    assert [item.replace("_", "-") for item in listed[4:]] == wanted  # as PyPI spells names


def test_importing_daskmr_imports_nothing_heavy() -> None:
    code = "import sys, daskmr, daskmr.cli; print(' '.join(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {
        "dask",
        "distributed",
        "geopandas",
        "numpy",
        "pandas",
        "pydantic",
        "rasterio",
        "xarray",
    }
    assert not heavy & set(loaded)
