"""Models see the image otherwise than it is; features lie where they are all the same."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
from click.testing import CliRunner

import daskmr
from daskmr.cli import cli
from daskmr.core.features import IMAGE_BOX
from daskmr.errors import RequestError
from daskmr.testing.scene import SyntheticScene

SCENE = SyntheticScene(size=1100, spacing=64)
OPTIONS: dict[str, Any] = {"tile_size": 300, "overlap": 60, "iou": 0.3}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    SCENE.write(path)
    return str(path)


def nearest(found: Any, sought: Any) -> Any:
    """Distance of each to the next of the others."""
    return np.hypot(*(found[:, None] - sought[None]).transpose(2, 0, 1)).min(axis=1)


def test_features_lie_where_they_are_in_the_image_and_on_the_ground(
    scene: str, cluster: Any, tmp_path: Path
) -> None:
    words = [scene, "-m", "blobs", "-o", str(tmp_path), "-f", "parquet", "--job-id", "j"]
    words += ["--tile-size", "300", "--overlap", "60", "--iou", "0.3", "--prepare", "gsd=1"]
    words += ["--prepare", "bands=2", "--prepare", "stretch=percentile"]
    said = CliRunner().invoke(cli, ["run", *words, "-s", cluster.scheduler_address])
    assert said.exit_code == 0, said.output
    found = gpd.read_parquet(tmp_path / "j.parquet")
    boxes = found[IMAGE_BOX].to_numpy()
    truth = SCENE.truth()
    middles = (truth[:, :2] + truth[:, 2:]) / 2
    off = nearest((boxes[:, :2] + boxes[:, 2:]) / 2, middles)
    assert np.mean(off < 1.5) > 0.9
    assert np.mean(nearest(middles, (boxes[:, :2] + boxes[:, 2:]) / 2) < 1.5) > 0.9
    sides = (boxes[:, 2:] - boxes[:, :2])[off < 1.5]
    assert 8 < np.median(sides) < 17  # of the image, not of its half
    metres = found.set_geometry("geometry").to_crs("EPSG:32618").geometry.centroid
    pixels = np.stack([(metres.x - 583_000) / 0.5, (4_507_000 - metres.y) / 0.5], axis=1)
    flat = gpd.GeoSeries.from_wkb(found.image_geometry).centroid
    np.testing.assert_allclose(pixels, np.stack([flat.x, flat.y], axis=1), atol=0.01)
    assert set(found.tile_col % 2) == {0}


def test_another_preparation_is_another_job(scene: str, client: Any, tmp_path: Path) -> None:
    how = {**OPTIONS, "client": client, "store": str(tmp_path), "job_id": "j"}
    first = daskmr.run(scene, "centerpoint", prepare={"stretch": "minmax"}, **how)
    again = daskmr.run(scene, "centerpoint", prepare={"stretch": "minmax"}, **how)
    assert again.features.feature_id.tolist() == first.features.feature_id.tolist()
    with pytest.raises(RequestError, match=r"prepare: .*dra.*began with .*minmax"):
        daskmr.run(scene, "centerpoint", prepare={"stretch": "dra"}, **how)


def test_a_request_may_ask_for_it(scene: str) -> None:
    from daskmr.core.request import ImageRequest
    from daskmr.planning.from_request import calls_from_request

    asked = {
        "jobId": "j",
        "imageUrls": [scene],
        "imageProcessor": {"name": "http://127.0.0.1:1", "type": "HTTP_ENDPOINT"},
        "imagePreparation": {"bands": [3, 2, 1], "complexAs": "amplitude", "gsd": 0.5},
    }
    (job,) = calls_from_request(ImageRequest.from_json(asked), "out")
    assert job["prepare"] == {"bands": [3, 2, 1], "complexAs": "amplitude", "gsd": 0.5}
    with pytest.raises(Exception, match=r"imagePreparation.*stretch.*'most'"):
        ImageRequest.from_json({**asked, "imagePreparation": {"stretch": "most"}})
