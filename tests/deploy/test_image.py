"""The image is built, and runs a job as somebody who may write below /tmp alone.

Without a registry the base is made of Debian packages: Python 3.11 of bookworm.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "image" / "Dockerfile"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PIP = Path("/etc/pip.conf")
NAME = "localhost/daskmr:test"


def output(command: Sequence[object], *, code: int = 0) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=800, check=False
    )
    assert done.returncode == code, (done.stdout + done.stderr)[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """How buildah is called: with a storage of the test's own."""
    if not shutil.which("buildah") or not shutil.which("mmdebstrap") or os.geteuid() != 0:
        pytest.skip("no buildah and mmdebstrap, or not their master")
    folder = tmp_path_factory.mktemp("buildah")
    places = ["--root", str(folder / "root"), "--runroot", str(folder / "run")]
    return ["buildah", "--storage-driver", "vfs", *places]


@pytest.fixture(scope="module")
def base(storage: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with nothing but Python."""
    tar = tmp_path_factory.mktemp("base") / "base.tar"
    packages = "--include=python3,python3-venv,ca-certificates"
    output(["mmdebstrap", "--mode=root", "--variant=minbase", packages, "bookworm", tar])
    made = output([*storage, "from", "scratch"]).strip()
    output([*storage, "add", made, tar, "/"])
    output([*storage, "config", "--env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", made])
    output([*storage, "commit", "--rm", made, "localhost/base:test"])
    tar.unlink()
    return "localhost/base:test"


@pytest.fixture(scope="module")
def image(storage: list[str], base: str) -> str:
    """The image, by the Dockerfile; pip is told where packages are as it is here."""
    files = [file for file in (CERTIFICATES, PIP) if file.exists()]
    shared = [word for file in files for word in ("--volume", f"{file}:{file}:ro")]
    output([
        *storage, "bud", "--isolation", "chroot", "--pull-never", "--network", "host", *shared,
        "--build-arg", f"BASE={base}", "--format", "docker", "--file", DOCKERFILE,
        "--ignorefile", ROOT / ".dockerignore", "--tag", NAME, ROOT,
    ])  # fmt: skip
    return NAME


def test_the_dockerfile_is_clean() -> None:
    assert output([Path(sys.executable).with_name("hadolint"), DOCKERFILE]) == ""


def test_a_job_runs_inside(storage: list[str], image: str, tmp_path: Path) -> None:
    container = output([*storage, "from", "--pull-never", image]).strip()
    tmp_path.chmod(0o777)
    tmp_path.parent.chmod(0o755)
    run = [
        *storage,
        "run",
        "--isolation",
        "chroot",
        "--volume",
        f"{tmp_path}:/tmp",
        container,
        "--",
    ]
    try:
        assert output([*run, "id", "-u"]) == "10001\n"
        output([*run, "python", "-m", "daskmr.testing.scene", "scene.tif"])
        words = ["run", "scene.tif", "-m", "blobs", "-o", "out", "--tile-size", "512", "--json"]
        report = json.loads(output([*run, "daskmr", *words, "--overlap", "64"]))
        told = output([*run, "daskmr", "doctor"])
    finally:
        output([*storage, "rm", container])
    assert report["status"] == "SUCCESS"
    assert report["n_merged"] == 2066
    assert not [line for line in told.splitlines() if line.startswith("problem")]
    assert "ok       extras: gateway, onnx, sar, service, stac" in told


def test_it_is_nobodys_and_checks_its_health(storage: list[str], image: str) -> None:
    found = json.loads(output([*storage, "inspect", "--type", "image", image]))["Docker"]["config"]
    assert found["User"] == "10001:10001"
    assert found["Entrypoint"] == ["daskmr"]
    assert "/healthz" in " ".join(found["Healthcheck"]["Test"])
    assert list(found["Volumes"]) == [found["WorkingDir"]]
    assert "PIP_CERT" not in " ".join(found["Env"])
