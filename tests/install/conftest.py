"""Environments with what users install: the wheel, plain or with one extra, and nothing else."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from filelock import FileLock

from daskmr.testing.scene import SyntheticScene

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"
PLACES = ROOT / ".install"
NAMES = ("plain", *tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
])  # fmt: skip
"""Of all environments: `plain`, and one for each extra."""
SCENE = SyntheticScene(size=1024)
"""The image that is run; each object is one feature."""
_TIMEOUT_S = 240
NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Installed:
    """An environment, used from a folder outside of the checkout."""

    name: str
    bin: Path
    folder: Path

    def run(
        self, *words: object, status: int = 0, settings: Mapping[str, str] = NONE
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program of the environment; `daskmr` unless the first word is a path of one."""
        done = subprocess.run(
            self.command(*words), cwd=self.folder, env=self.environment(settings),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S,
            check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def python(self, program: str) -> str:
        """What a program prints, which says nothing on stderr."""
        file = self.folder / "program.py"
        file.write_text(program)
        done = self.run(self.bin / "python", file.name)
        assert done.stderr == ""
        return done.stdout

    def command(self, *words: object) -> list[str]:
        """Words of a command line."""
        program = [] if isinstance(words[0], Path) else [self.bin / "daskmr"]
        return [str(word) for word in (*program, *words)]

    def environment(self, settings: Mapping[str, str] = NONE) -> dict[str, str]:
        """Variables of a fresh account: nothing of this process, its settings or its packages."""
        return {
            "PATH": f"{self.bin}{os.pathsep}{os.defpath}",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "AWS_EC2_METADATA_DISABLED": "true",
            **settings,
        }


@pytest.fixture(scope="session")
def installed(
    tmp_path_factory: pytest.TempPathFactory, testrun_uid: str
) -> Callable[[str], Installed]:
    """Make an environment by its name, at its first use in all processes of a run of tests."""

    @cache
    def get(name: str) -> Installed:
        place = PLACES / name
        PLACES.mkdir(exist_ok=True)
        with FileLock(f"{place}.lock"):
            stamp = place / testrun_uid
            if not stamp.exists():
                install(wheel(testrun_uid), "" if name == "plain" else f"[{name}]", place)
                stamp.touch()
        folder = tmp_path_factory.mktemp(name)
        SCENE.write(folder / "scene.tif")
        return Installed(name, place / "bin", folder)

    return get


def wheel(run: str) -> Path:
    """The wheel of the checkout, or of the folder that DASKMR_CHECKOUT names."""
    folder = PLACES / "wheel"
    with FileLock(f"{folder}.lock"):
        if not (folder / run).exists():
            shutil.rmtree(folder, ignore_errors=True)
            checkout = os.environ.get("DASKMR_CHECKOUT", ROOT)
            uv("build", "--quiet", "--wheel", "--out-dir", folder, checkout)
            (folder / run).touch()
    (found,) = folder.glob("*.whl")
    return found


def install(wheel: Path, extra: str, place: Path) -> None:
    """Make an environment of a wheel with an extra, such as ``[plot]``."""
    shutil.rmtree(place, ignore_errors=True)
    python = place / "bin" / "python"
    uv("venv", "--quiet", "--python", sys.executable, place)
    uv("pip", "install", "--quiet", "--python", python, f"daskmr{extra} @ {wheel.as_uri()}")
    uv("pip", "check", "--quiet", "--python", python)


def uv(*words: str | Path) -> None:
    """Run uv, which says why it fails."""
    done = subprocess.run([UV, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(params=NAMES)
def each(request: pytest.FixtureRequest, installed: Callable[[str], Installed]) -> Installed:
    """Each environment."""
    return installed(request.param)


def _only(name: str) -> Any:
    @pytest.fixture(name=name)
    def environment(installed: Callable[[str], Installed]) -> Installed:
        return installed(name)

    return environment


plain, plot, notebooks, onnx, sar, stac, service, testing = map(
    _only, ("plain", "plot", "notebooks", "onnx", "sar", "stac", "service", "testing")
)
