"""A disk that is full is one sentence that names the file, and no half of it is left."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daskmr.testing.images import write_image

MODEL = """
def many(tile):
    import numpy as np
    n = 1000
    boxes = np.random.default_rng(0).uniform(0, 30, (n, 2))
    return {"boxes": np.hstack([boxes, boxes + 1]), "scores": np.full(n, 0.5)}
"""
LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv[:] = ["daskmr", *sys.argv[2:]]
runpy.run_module("daskmr", run_name="__main__")
"""
"""A file may become so long and no longer, as on a disk that is full."""


@pytest.mark.parametrize(
    ("limit", "where"),
    [(30_000, "/regions"), (300_000, "temporary files"), (6_000_000, "x.geojson")],
    ids=["state", "temporary", "result"],
)
def test_one_sentence_and_no_half_file(tmp_path: Path, limit: int, where: str) -> None:
    pixels: Any = np.ones((1, 128, 128), np.uint8)
    write_image(tmp_path / "x.tif", pixels)
    (tmp_path / "model.py").write_text(MODEL)
    words = ["run", "x.tif", "-m", "model:many", "--tile-size", "32", "--overlap", "0", "-o", "out"]
    words += ["--job-id", "x", "-s", "threads", "-f", "geojson", "--merge", "none"]
    limited = [sys.executable, "-c", LIMITED, str(limit), *words]
    done = subprocess.run(
        limited, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode > 0, done.stdout
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert where in error
    assert "File too large" in error
    assert "Traceback" not in done.stderr
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith("x.")]
    again = subprocess.run(
        [sys.executable, "-m", "daskmr", *words],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out" / "x.geojson").stat().st_size > 6_000_000
