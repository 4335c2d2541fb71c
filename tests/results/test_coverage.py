"""The map of tiles: every tile in one rectangle, alike tiles together, gaps kept apart."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import daskmr
from daskmr.core.report import TileOutcome, TileStatus
from daskmr.results.coverage import CoverageMap
from daskmr.testing.images import write_image

UTM: dict[str, Any] = {
    "crs": "EPSG:32618",
    "transform": (0.5, 0.0, 583_000.0, 0.0, -0.5, 4_507_000.0),
}


def outcome(row: int, col: int, status: TileStatus, reason: str = "") -> TileOutcome:
    return TileOutcome(row=row, col=col, status=status, reason=reason)


def test_rectangles_hold_neighbours_that_ended_alike(tmp_path: Path) -> None:
    good, bad = TileStatus.SUCCEEDED, TileStatus.FAILED
    image = write_image(tmp_path / "x.tif", np.ones((1, 200, 500), np.uint8), **UTM)
    plan = daskmr.plan(str(image), "flood", tile_size=100, overlap=0)
    ends = [good, good, bad, good, bad, good]
    tiles = {(0, 100 * i): outcome(0, 100 * i, s, "X" * (s is bad)) for i, s in enumerate(ends[:5])}
    tiles |= {(100, 0): outcome(100, 0, good), (100, 400): outcome(100, 400, good)}
    with CoverageMap(plan, tmp_path / "map.geojson") as drawn:
        drawn.add("r0", tiles)
    said = json.loads((tmp_path / "map.geojson").read_text())
    told = [
        (f["properties"]["imageBBox"], f["properties"]["status"], f["properties"]["n_tiles"])
        for f in said["features"]
    ]
    assert told == [
        ([0, 0, 200, 100], "SUCCEEDED", 2),
        ([200, 0, 300, 100], "FAILED", 1),
        ([300, 0, 400, 100], "SUCCEEDED", 1),
        ([400, 0, 500, 100], "FAILED", 1),
        ([0, 100, 100, 200], "SUCCEEDED", 1),
        ([400, 100, 500, 200], "SUCCEEDED", 1),
    ]
    assert said["features"][1]["properties"]["reason"] == "X"
    (ring,) = said["features"][0]["geometry"]["coordinates"]
    assert ring[0] == ring[-1]
    assert ring[0] == pytest.approx([-74.0161, 40.7083], abs=0.01)
    lon, lat = np.array(ring).T
    assert np.sum(lon[:-1] * lat[1:] - lon[1:] * lat[:-1]) > 0  # counter-clockwise


def test_tiles_that_the_plan_skips_are_on_the_map_of_a_job(tmp_path: Path, client: object) -> None:
    pixels = np.zeros((1, 512, 512), np.uint8)
    pixels[:, :128, :128] = 9
    image = write_image(tmp_path / "x.tif", pixels, nodata=0, tiled=True, blockxsize=128,
                        blockysize=128, SPARSE_OK=True)  # fmt: skip
    out = tmp_path / "out"
    report = daskmr.run(
        str(image), "flood", tile_size=128, overlap=0, out=str(out), job_id="j", client=client
    ).report
    said = json.loads((out / "j.coverage.geojson").read_text())
    counts = {"SUCCEEDED": 0, "SKIPPED": 0}
    for feature in said["features"]:
        counts[feature["properties"]["status"]] += feature["properties"]["n_tiles"]
    assert counts == {"SUCCEEDED": 1, "SKIPPED": 15} == report.outcomes
    assert said["frame"] == "pixels of the image"
    assert str(out / "j.coverage.geojson") in report.outputs
