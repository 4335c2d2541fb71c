"""Jobs on a cluster of plain Dask commands: the same result, and only for who is trusted."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import trustme

from daskmr.dispatch.cluster import connect
from daskmr.errors import ClusterError
from daskmr.testing.clusters import bare_cluster
from daskmr.testing.images import HALF_METRE, UTM, write_image

OPTIONS = ("--tile-size", 64, "--overlap", 16, "--job-id", "j", "--format", "geojson,parquet")


def command(*words: object, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "daskmr", *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def certificates(tmp_path: Path) -> list[Path]:
    """Who is trusted, a certificate of theirs, and its key."""
    authority = trustme.CA()
    mine = authority.issue_cert("127.0.0.1")
    files = [tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem")]
    authority.cert_pem.write_to_path(files[0])
    mine.cert_chain_pems[0].write_to_path(files[1])
    mine.private_key_pem.write_to_path(files[2])
    return files


def rows(path: Path) -> list[Any]:
    """Features without the moment at which the model saw them."""
    if path.suffix == ".parquet":
        table = gpd.read_parquet(path).drop(columns="inferred_at").to_wkt().map(str)
        return list(table.to_numpy().tolist())
    found = json.loads(path.read_text())["features"]
    for feature in found:
        del feature["properties"]["inferenceMetadata"]["inferenceDT"]
    return list(found)


def test_a_job_on_a_cluster_behind_tls_has_the_same_result(
    tmp_path: Path, certificates: list[Path]
) -> None:
    pixels = np.random.default_rng(3).integers(0, 255, (1, 200, 300), dtype=np.uint8)
    scene = write_image(tmp_path / "x.tif", pixels, crs=UTM, transform=HALF_METRE)
    words = ("run", scene, "-m", "centerpoint", *OPTIONS)
    flags = ("--tls-ca-file", "--tls-cert", "--tls-key")
    theirs = [str(word) for pair in zip(flags, certificates, strict=True) for word in pair]
    ours = [
        word for pair in zip(("--tls-ca", *flags[1:]), certificates, strict=True) for word in pair
    ]
    with bare_cluster(tmp_path, n_workers=2, options=["--protocol", "tls", *theirs]) as address:
        assert address.startswith("tls://127.0.0.1:")
        command(*words, "-o", tmp_path / "far", "-s", address, *ours)
        refusal = pytest.raises(ClusterError, match="give --tls-ca, --tls-cert, --tls-key, or")
        with refusal, connect(scheduler=address):
            pass
    command(*words, "-o", tmp_path / "near", "-s", "local", "--workers", 1)
    for name in ("j.geojson", "j.parquet"):
        far, near = (rows(tmp_path / place / name) for place in ("far", "near"))
        assert len(near) > 3
        assert far == near
