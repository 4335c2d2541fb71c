"""Whole jobs: what their features and their report say of merging."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import daskmr
from daskmr.core.request import ImageRequest
from daskmr.core.truncation import LEFT, RIGHT, sides
from daskmr.errors import RequestError
from daskmr.planning.from_request import calls_from_request
from daskmr.testing.images import write_image

OBJECTS = [[20, 20, 50, 40], [85, 120, 95, 130], [60, 200, 230, 215], [150, 60, 172, 90]]
"""Boxes in an image of 300 x 300: within a tile, in an overlap, over three tiles, at an edge."""
OPTIONS: dict[str, Any] = {"tile_size": 100, "overlap": 20, "strategy": "fixed"}


@pytest.fixture
def scene(tmp_path: Path) -> str:
    pixels = np.ones((1, 300, 300), np.uint8)
    for x0, y0, x1, y1 in OBJECTS:
        pixels[0, y0:y1, x0:x1] = 200
    return str(write_image(tmp_path / "scene.tif", pixels))


def finder() -> Any:
    """A model that answers the boxes of what is bright, the larger the surer."""

    def found(tile: Any) -> dict[str, Any]:
        from scipy import ndimage

        places = ndimage.find_objects(ndimage.label(tile[0] > 100)[0])
        features = [
            {
                "type": "Feature",
                "geometry": None,
                "properties": {
                    "imageBBox": [x.start, y.start, x.stop, y.stop],
                    "featureClasses": [{"iri": "thing", "score": 1 - 1 / (x.stop - x.start + 1)}],
                    "colour": "white",
                },
            }
            for y, x in places
        ]
        return {"type": "FeatureCollection", "features": features}

    return found


def run(scene: str, client: Any, **options: Any) -> Any:
    return daskmr.run(scene, finder(), client=client, **OPTIONS, **options)


def found(result: Any) -> list[list[float]]:
    return sorted(map(list, result.features["image_bbox"]))


def test_edge_aware_finds_every_object_once_and_whole(
    scene: str, client: Any, tmp_path: Path
) -> None:
    result = run(scene, client, merge="edge_aware", out=str(tmp_path / "out"), job_id="job")
    assert found(result) == sorted(OBJECTS)
    report = result.report
    assert report.n_features > len(OBJECTS)
    assert (report.n_merged, report.n_truncated, report.n_joined) == (4, 0, 1)
    assert report.joined_share == 0.25
    assert not [w for w in report.warnings if w.startswith("overlap")]
    table = result.features
    assert table["truncated"].tolist() == [False] * 4
    assert table["colour"].tolist() == ["white"] * 4  # what the model said, flat
    (joined,) = [json.loads(text) for text in table["merged_from"] if text]
    assert joined == {"count": 3, "tiles": [[0, 160], [80, 160], [160, 160]]}
    told = json.loads((tmp_path / "out" / "job.geojson").read_text())["features"]
    inner = next(f["properties"] for f in told if f["properties"]["imageBBox"] == OBJECTS[0])
    assert (inner["tile"], inner["edgeDistance"], inner["truncated"]) == ([0, 0], 50.0, False)
    assert [f["properties"].get("mergedFrom") for f in told].count(joined) == 1


def test_nms_leaves_pieces_and_the_report_says_what_to_do(scene: str, client: Any) -> None:
    report = run(scene, client, merge="nms").report
    assert report.n_truncated > 2
    assert report.n_joined == 0
    advice = report.advice
    assert advice.size_px["max"] == 100
    assert advice.size_px["p50"] <= advice.size_px["p95"] <= advice.size_px["p99"] <= 105
    assert (advice.overlap, advice.tile_size) == (112, 448)
    (remark,) = [w for w in report.warnings if w.startswith("overlap: ")]
    assert f"{report.n_truncated} of {report.n_merged} features are cut off" in remark
    assert "overlap 112 with tile_size 448" in remark
    assert report.as_dict()["advice"]["overlap"] == 112


def test_the_advice_finds_every_object_whole(scene: str, client: Any) -> None:
    result = daskmr.run(
        scene, finder(), client=client, tile_size=240, overlap=180, merge="nms", iou=0.5
    )
    assert found(result) == sorted(OBJECTS)


def test_options_of_merging_reach_the_algorithm(scene: str, client: Any) -> None:
    few = run(scene, client, merge="edge_aware", merge_options={"max_count": 2})
    assert found(few) == [OBJECTS[0], OBJECTS[2]]
    soft = run(scene, client, merge="soft_nms", merge_options={"sigma": "0.5"})
    entries = [json.loads(text)[0] for text in soft.features["classes"]]
    assert [entry["score"] for entry in entries] == soft.features["score"].tolist()
    assert all(entry["rawScore"] >= entry["score"] for entry in entries)


def test_options_are_checked_before_anything_starts(scene: str) -> None:
    with pytest.raises(RequestError, match="metrik"):
        daskmr.plan(scene, "blobs", merge="nms", merge_options={"metrik": "ios"})
    plan = daskmr.plan(scene, "blobs", merge="nms")
    assert plan.settings.iou == 0.75
    unsaid = daskmr.plan(scene, "blobs").settings
    assert (unsaid.merge, unsaid.iou) == ("edge_aware", 0.5)


def test_requests_bring_their_algorithm_with_them(scene: str) -> None:
    algorithm = {"algorithmType": "SOFT_NMS", "sigma": 0.3, "scoreThreshold": 0.2}
    request = ImageRequest.from_json(
        {
            "jobId": "job",
            "imageUrls": [scene],
            "imageProcessor": {"name": "http://127.0.0.1:1", "type": "HTTP_ENDPOINT"},
            "postProcessing": [{"step": "FEATURE_DISTILLATION", "algorithm": algorithm}],
        }
    )
    (job,) = calls_from_request(request, "out")
    assert (job["merge"], job["iou"]) == ("SOFT_NMS", 0.75)
    assert job["merge_options"] == {
        "sigma": 0.3, "skip_box_threshold": 0.0001, "score_threshold": 0.2,
    }  # fmt: skip


def test_edges_to_tiles_without_data_cut_nothing_off(client: Any, tmp_path: Path) -> None:
    pixels = np.zeros((1, 100, 300), np.uint8)
    pixels[0, :, :200] = 1
    pixels[0, 20:40, 150:200] = 200
    path = write_image(tmp_path / "half.tif", pixels, nodata=0)
    result = daskmr.run(str(path), finder(), client=client, tile_size=100, overlap=0, merge="nms")
    grid = daskmr.plan(str(path), "blobs", tile_size=100, overlap=0).regions.grid
    at = np.array([0]), np.array([100])
    assert sides(grid, np.array([[150.0, 20, 200, 40]]), rows=at[0], cols=at[1]) == RIGHT
    assert sides(grid, np.array([[100.0, 20, 120, 40]]), rows=at[0], cols=at[1]) == LEFT
    assert result.report.outcomes == {"SUCCEEDED": 2, "SKIPPED": 1}
    assert (result.report.n_merged, result.report.n_truncated) == (1, 0)
