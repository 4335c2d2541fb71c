"""What we publish: the public names, and the two lists of dependencies."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import daskmr

ROOT = Path(__file__).parents[1]


def project() -> dict[str, object]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: dict[str, object] = tomllib.load(file)
    return found


def test_public_names_are_few_sorted_and_importable() -> None:
    errors = {name for name in daskmr.__all__ if name.endswith("Error")}
    assert len(set(daskmr.__all__) - errors) <= 15
    assert all(issubclass(getattr(daskmr, name), daskmr.DaskmrError) for name in errors)
    assert daskmr.__all__ == sorted(daskmr.__all__)
    for name in daskmr.__all__:
        assert getattr(daskmr, name) is not None


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = daskmr.nonsense


def test_the_version_is_written_once() -> None:
    metadata = project()["project"]
    assert isinstance(metadata, dict)
    assert metadata["dynamic"] == ["version"]
    assert daskmr.__version__ == version("daskmr")


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


def test_the_tests_use_what_the_extra_for_tests_brings() -> None:
    data = project()
    metadata, groups = data["project"], data["dependency-groups"]
    assert isinstance(metadata, dict)
    assert isinstance(groups, dict)
    assert set(metadata["optional-dependencies"]["testing"]) <= set(groups["test"])


@pytest.mark.deploy
def test_conda_understands_environment_yml() -> None:
    rattler = pytest.importorskip("rattler")
    lines = (ROOT / "environment.yml").read_text().splitlines()
    listed = [line.split("- ")[1].split(" #")[0] for line in lines if line.startswith("  - ")]
    for spec in listed[2:]:  # after the channels
        assert rattler.MatchSpec(spec, strict=True).name is not None


def test_the_lock_of_the_image_is_what_pyproject_asks_for() -> None:
    metadata = project()["project"]
    assert isinstance(metadata, dict)
    lines = (ROOT / "deploy" / "image" / "requirements.txt").read_text().splitlines()
    pins = [line.split(" ")[0] for line in lines if "==" in line]
    locked = dict(pin.split("==") for pin in pins)
    extras = metadata["optional-dependencies"]
    wanted = [*metadata["dependencies"], *(
        each for name in ("gateway", "onnx", "sar", "service", "stac") for each in extras[name]
    )]  # fmt: skip
    for each in map(Requirement, wanted):
        assert locked[each.name] in each.specifier, each
    assert not [line for line in lines if "://" in line]
    assert len([line for line in lines if "--hash=sha256:" in line]) > len(pins)


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
