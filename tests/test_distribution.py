"""What is published: it builds, installs by itself, and says what it consists of."""

import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.deploy

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


def output(command: Sequence[object], cwd: Path | None = None) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source distribution, and a wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    output([sys.executable, "-m", "build", "--installer", "uv", "--outdir", folder, ROOT])
    return folder


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with nothing but the wheel and what it asks for."""
    place = tmp_path_factory.mktemp("fresh") / "env"
    output([sys.executable, "-m", "venv", place])
    uv, (wheel,) = BIN / "uv", dist.glob("*.whl")
    output([uv, "pip", "install", "--python", place / "bin" / "python", wheel])
    output([uv, "pip", "check", "--python", place / "bin" / "python"])
    return place / "bin"


def test_the_wheel_holds_the_package_and_nothing_else(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"daskmr", "daskmr-0.1.0.dist-info"}
    ours = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "daskmr").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if name.startswith("daskmr/")} == ours
    assert "daskmr-0.1.0.dist-info/licenses/LICENSE" in names


def test_the_source_distribution_can_be_tested(dist: Path) -> None:
    (source,) = dist.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "Makefile", "README.md", "LICENSE", "tests/conftest.py"} <= names
    assert not {name for name in names if name.startswith((".venv", "dist/", "demo/"))}


def test_a_plain_installation_works(installed: Path, tmp_path: Path) -> None:
    for command in (["daskmr"], ["dask", "mr"], ["rio", "mr"]):
        program, *words = command
        assert output([installed / program, *words, "--version"]) == "daskmr, version 0.1.0\n"
    output([installed / "python", "-m", "daskmr.testing.scene", tmp_path / "scene.tif"])
    words = ["run", "scene.tif", "-m", "blobs", "-o", "out", "--tile-size", "512", "--json"]
    report = json.loads(output([installed / "daskmr", *words], cwd=tmp_path))
    assert report["status"] == "SUCCESS"


def test_a_bill_of_materials_names_what_is_asked_for(installed: Path, tmp_path: Path) -> None:
    file = tmp_path / "sbom.json"
    command = [BIN / "cyclonedx-py", "environment", "--pyproject", ROOT / "pyproject.toml"]
    output([*command, "--output-file", file, installed / "python"])
    found = json.loads(file.read_text())
    assert found["bomFormat"] == "CycloneDX"
    assert found["metadata"]["component"]["name"] == "daskmr"
    named = {part["name"] for part in found["components"]}
    assert {"dask", "distributed", "xarray", "rasterio", "geopandas", "zarr"} <= named
    assert not {"pytest", "moto", "hypothesis"} & named
