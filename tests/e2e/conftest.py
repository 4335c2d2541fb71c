"""A real cluster, and real images, for whole jobs."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daskmr.testing.images import write_image

CRS = "EPSG:32618"
TRANSFORM = (0.5, 0.0, 583_000.0, 0.0, -0.5, 4_507_000.0)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """1000 x 1300 pixels of noise in UTM, three bands."""
    pixels = np.random.default_rng(3).integers(1, 255, (3, 1000, 1300), dtype=np.uint8)
    return write_image(tmp_path / "noise.tif", pixels, crs=CRS, transform=TRANSFORM)


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(cluster: Any, tmp_path: Path) -> Run:
    """The command line, as a user runs it; `run` goes to the test cluster."""

    def call(*arguments: object) -> "subprocess.CompletedProcess[str]":
        words = [str(argument) for argument in arguments]
        if words[0] == "run" and "-s" not in words:
            words += ["-s", cluster.scheduler_address]
        return subprocess.run(
            [sys.executable, "-m", "daskmr", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )

    return call
