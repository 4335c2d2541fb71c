"""`daskmr` as a user runs it: results, exit status, one clear error, never a traceback."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas as gpd
import httpx
import numpy as np
import pytest
from click.testing import CliRunner

from daskmr.cli import cli
from daskmr.core.features import IMAGE_BOX
from daskmr.dispatch import cluster
from daskmr.models.server import running
from daskmr.testing.images import write_image


def answer(finished: Any, code: int) -> str:
    """The output of a command that ended as expected, without a traceback."""
    assert "Traceback" not in finished.stderr, finished.stderr
    assert finished.returncode == code, finished.stderr
    assert isinstance(finished.stdout, str)
    return finished.stdout


def refusal(finished: Any, code: int) -> str:
    """The one error of a command that was refused: nothing on stdout, no traceback."""
    assert answer(finished, code) == ""
    lines = [line for line in finished.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, finished.stderr
    return str(lines[0].removeprefix("error: "))


def typed(*words: object) -> SimpleNamespace:
    """The end of a command in this process, which has imported everything already."""
    result = CliRunner().invoke(cli, list(map(str, words)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return SimpleNamespace(returncode=result.exit_code, stdout=result.stdout, stderr=result.stderr)


def test_run_writes_results_named_by_the_job(command: Any, image: Path, tmp_path: Path) -> None:
    report = json.loads(
        answer(
            command(
                "run", image, "-m", "centerpoint", "-o", "out", "--job-id", "first",
                "--tile-size", "512x256", "--overlap", "64x32", "-f",
                "geojson,geojsonseq,parquet,fgb,gpkg", "--json",
            ),
            0,
        )
    )  # fmt: skip
    out = tmp_path / "out"
    names = {"geojson", "geojsonl", "parquet", "fgb", "gpkg", "coverage.geojson"}
    assert {p.name for p in out.iterdir() if p.is_file()} == {f"first.{suffix}" for suffix in names}
    assert report["status"] == "SUCCESS"
    assert sorted(report["outputs"]) == sorted(str(out / f"first.{suffix}") for suffix in names)
    assert report["n_tiles"] == report["outcomes"]["SUCCEEDED"] == report["n_merged"] == 3 * 5
    for suffix in ("geojson", "fgb", "gpkg"):
        table = gpd.read_file(out / f"first.{suffix}")
        assert len(table) == 15
        assert table.crs.to_epsg() in {4326, 4979}
    table = gpd.read_parquet(out / "first.parquet")
    assert table[IMAGE_BOX].iloc[0].tolist() == [204.8, 102.4, 307.2, 153.6]
    collection = json.loads((out / "first.geojson").read_text())
    properties = collection["features"][0]["properties"]
    assert properties["inferenceMetadata"]["jobId"] == "first"
    assert properties["featureClasses"] == [{"iri": "sample_object", "score": 1.0}]
    assert properties["sourceMetadata"][0]["format"] == "TIFF"


def test_plan_says_what_would_happen_and_starts_nothing(command: Any, image: Path) -> None:
    said = json.loads(
        answer(
            command("plan", image, "-m", "http://127.0.0.1:9/x", "--tile-size", 512, "--json"), 0
        )
    )
    assert said["tiles"] == 3 * 3
    assert said["image"]["width"] == 1300
    assert said["payloadBytes"] >= 512 * 512 * 3
    text = answer(command("plan", image, "-m", "blobs", "--tile-size", 2048), 0)
    assert "larger than the image" in text


def test_a_function_of_the_user_is_a_model(command: Any, image: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def boxes(tile):\n"
        "    assert tile.shape == (3, 500, 500), tile.shape\n"
        "    return {'boxes': [[1, 2, 3, 4]], 'scores': [0.5], 'labels': ['x']}\n"
    )
    options = ("--tile-size", 500, "--overlap", 0, "-o", "out", "--job-id", "mine")
    answer(command("run", image, "-m", "mine:boxes", "-s", "local", *options), 0)
    table = gpd.read_parquet(tmp_path / "out" / "mine.parquet")
    origins = table[["tile_col", "tile_row"]].to_numpy()
    boxes = table[IMAGE_BOX].to_numpy()
    assert np.array_equal(boxes[:, :2] - origins, np.full((6, 2), [1.0, 2.0]))


def test_a_region_of_interest_may_be_a_file(command: Any, image: Path, tmp_path: Path) -> None:
    found = gpd.GeoSeries.from_wkt(["POINT (583010 4506990)"], crs="EPSG:32618").buffer(5)
    (tmp_path / "roi.json").write_text(found.to_crs("EPSG:4326").to_json())
    options = ("--tile-size", 32, "--overlap", 8, "--json")
    said = json.loads(
        answer(command("plan", image, "-m", "blobs", "--roi", "roi.json", *options), 0)
    )
    assert said["tiles"] == 1
    wkt = found.to_crs("EPSG:4326").iloc[0].wkt
    assert (
        json.loads(answer(command("plan", image, "-m", "blobs", "--roi", wkt, *options), 0))[
            "tiles"
        ]
        == 1
    )


def test_a_request_of_the_ancestor_runs(command: Any, image: Path, tmp_path: Path) -> None:
    with running("centerpoint") as url:
        request = {
            "jobId": "asked",
            "imageUrls": [str(image)],
            "imageProcessor": {"name": f"{url}/invocations", "type": "HTTP_ENDPOINT"},
            "imageProcessorTileSize": "512",
            "imageProcessorTileOverlap": 64,
            "imageProcessorTileFormat": "gtiff",
            "featureProperties": [{"campaign": "spring"}],
            "postProcessing": [
                {"step": "FEATURE_DISTILLATION", "algorithm": {"algorithmType": "NONE"}}
            ],
        }
        (tmp_path / "request.json").write_text(json.dumps(request))
        report = json.loads(
            answer(command("run", "--request", "request.json", "-o", "out", "--json"), 0)
        )
    assert report["job_id"] == "asked"
    features = json.loads((tmp_path / "out" / "asked.geojson").read_text())["features"]
    assert len(features) == 9
    assert {f["properties"]["campaign"] for f in features} == {"spring"}


def test_a_wrong_request_names_every_bad_field(command: Any, tmp_path: Path) -> None:
    request = {"imageUrls": [], "imageProcessorTileSize": 0, "jobId": "../x"}
    (tmp_path / "request.json").write_text(json.dumps(request))
    finished = command("run", "--request", "request.json", "-o", "out")
    assert answer(finished, 4) == ""
    for field in ("imageUrls", "imageProcessor", "imageProcessorTileSize", "jobId"):
        assert field in finished.stderr
    assert not (tmp_path / "out").exists()


def broken(path: Path, keep: float) -> Path:
    """A GeoTIFF of which only a part of the bytes is left."""
    pixels = np.random.default_rng(0).integers(0, 255, (1, 600, 600), dtype=np.uint8)
    write_image(path, pixels)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    return path


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("nowhere.tif", "-m", "blobs"), 4, "nowhere.tif"),
        (("text.tif", "-m", "blobs"), 4, "text.tif"),
        (("IMAGE", "-m", "nonsense"), 4, "nonsense"),
        (("IMAGE", "-m", "nonsense:f"), 4, "nonsense:f"),
        (("IMAGE", "-m", "blobs", "--tile-size", 64, "--overlap", 64), 4, "64x64"),
        (("IMAGE", "-m", "blobs", "--tile-size", "huge"), 4, "huge"),
        (("IMAGE", "-m", "blobs", "--merge", "magic"), 4, "magic"),
        (("IMAGE", "-m", "blobs", "--iou", 1.5), 4, "1.5"),
        (("IMAGE", "-m", "blobs", "--tile-format", "BMP"), 4, "BMP"),
        (("IMAGE", "-m", "blobs", "--tile-format", "PNG", "--tile-compression", "ZSTD"), 4, "ZSTD"),
        (("IMAGE", "-m", "blobs", "-f", "shp"), 4, "shp"),
        (("IMAGE", "-m", "blobs", "--roi", "POLYGON ((0 0, 1 0, 1 1, 0 0))"), 4, "roi"),
        (("IMAGE", "-m", "blobs", "--roi", "POLYGON (("), 4, "POLYGON (("),
        (("IMAGE", "-m", "blobs", "--job-id", "../up"), 4, "../up"),
        (("IMAGE", "-m", "http://127.0.0.1:9/invocations"), 5, "127.0.0.1:9"),
        (("IMAGE", "-m", "blobs", "-s", "tcp://127.0.0.1:9"), 5, "127.0.0.1:9"),
    ],
)
def test_bad_input_is_one_error_that_names_it(
    arguments: tuple[object, ...], code: int, named: str, image: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """In this process; `refusal` of a command of its own is in the tests around."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cluster, "_CONNECT_S", 1.0)
    (tmp_path / "text.tif").write_text("this is no image")
    words = [image if word == "IMAGE" else word for word in arguments]
    message = refusal(typed("run", *words, "-o", "out"), code)
    assert named in message
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_a_truncated_image_fails_tile_by_tile(command: Any, tmp_path: Path) -> None:
    path = broken(tmp_path / "half.tif", 0.5)
    options = ("--tile-size", 200, "--overlap", 0, "-o", "out", "--json")
    report = json.loads(answer(command("run", path, "-m", "centerpoint", *options), 3))
    assert report["status"] == "PARTIAL"
    assert report["reasons"].keys() == {"READ_FAILED"}
    assert 0 < report["outcomes"]["FAILED"] < report["n_tiles"] == 9
    assert sum(report["outcomes"].values()) == 9
    assert "half.tif" in report["problems"][0]["message"]


def test_an_unreachable_endpoint_is_one_error_of_the_process(command: Any, image: Path) -> None:
    message = refusal(command("run", image, "-m", "http://127.0.0.1:9/x", "-o", "out"), 5)
    assert "127.0.0.1:9" in message


def test_nothing_to_run_is_a_usage_error(image: Path) -> None:
    for arguments in (("run",), ("run", "-m", "blobs"), ("run", image, "-o", "x")):
        finished = typed(*arguments)
        assert finished.returncode == 2
        assert "Error:" in finished.stderr


def test_images_without_georeferencing_give_pixels_and_a_warning(
    command: Any, tmp_path: Path
) -> None:
    pixels = np.full((1, 300, 300), 9, np.uint8)
    path = write_image(tmp_path / "plain.png", pixels, driver="PNG")
    options = ("--tile-size", 300, "-o", "out", "--job-id", "plain", "--json")
    report = json.loads(answer(command("run", path, "-m", "centerpoint", *options), 0))
    assert any("pixel" in warning for warning in report["warnings"])
    (feature,) = json.loads((tmp_path / "out" / "plain.geojson").read_text())["features"]
    assert feature["geometry"] is None
    assert feature["properties"]["imageBBox"] == [120.0, 120.0, 180.0, 180.0]


def test_a_model_is_served_until_it_is_told_to_stop(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "daskmr", "serve-model", "--port", "0"]
    environment = {**os.environ, "DEFAULT_MODEL_SELECTION": "centerpoint"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        try:
            assert httpx.get(f"{url}/ping").status_code == 200
            tile = write_image(tmp_path / "tile.tif", np.zeros((1, 512, 512), np.uint8))
            reply = httpx.post(f"{url}/invocations", content=tile.read_bytes())
            (feature,) = reply.json()["features"]
            assert feature["properties"]["imageBBox"] == [204.8, 204.8, 307.2, 307.2]
            port = url.rsplit(":", 1)[1]
            second = subprocess.run(
                [*command[:-1], port], capture_output=True, text=True, check=False
            )
            assert second.returncode == 1
            assert second.stderr.startswith("error: ")
            assert port in second.stderr
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
