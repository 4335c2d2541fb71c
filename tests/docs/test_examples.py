"""The examples of the how-tos: each keeps the contract of its kind, and a job runs with it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import shapely
from rasterio.io import MemoryFile

import daskmr
from daskmr.core.imagery import ImageInfo
from daskmr.encode.base import TileEncoder
from daskmr.errors import RequestError, UnreachableError
from daskmr.geolocate.base import Points, SensorModel
from daskmr.merge.base import Merge
from daskmr.testing.contracts_encode import EncoderContract, image
from daskmr.testing.contracts_geolocate import SensorModelContract
from daskmr.testing.contracts_merge import table
from daskmr.testing.images import HALF_METRE, UTM, write_image
from daskmr.testing.servers import saying, serving

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture(autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples as a package that brings plug-ins."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "examples-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: examples\nVersion: 1.0\n")
    groups = {
        "tile_format": "WEBP = encoder:WebpEncoder",
        "format": "csv = sink:CsvSink",
        "merge": "nearest = merge:Nearest",
        "status_channel": "file = status:FileChannel",
        "sensor_model": "SQUARE = sensor_model:DegreeSquare",
    }
    lines = [f"[daskmr.{group}]\n{line}\n" for group, line in groups.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.syspath_prepend(str(EXAMPLES))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A worker that can import the examples."""
    from distributed import LocalCluster

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))  # processes that are spawned take it over
        with LocalCluster(
            n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as made_here:
            yield made_here


def made(module: str, name: str, **fields: Any) -> Any:
    from importlib import import_module

    return getattr(import_module(module), name)(**fields)


class TestWebp(EncoderContract):
    content_type = "image/webp"

    def make(self) -> TileEncoder:
        encoder: TileEncoder = made("encoder", "WebpEncoder")
        return encoder

    def accepts(self, dtype: str, bands: int) -> bool:
        return (dtype, bands) == ("uint8", 3)

    def test_it_accepts_an_ordinary_image(self) -> None:
        self.make().check(image("uint8", 3))


class TestSquare(SensorModelContract):
    heights = (0.0, 1000.0)

    def make(self) -> SensorModel:
        model: SensorModel = made(
            "sensor_model", "DegreeSquare", west=11.0, south=48.0, width=200, height=100
        )
        return model

    def info(self) -> ImageInfo:
        return ImageInfo(
            url="n48e011.png", height=100, width=200, bands=1, dtype="uint8", driver="PNG"
        )

    def points(self) -> Points:
        return np.random.default_rng(0).uniform(0, 1, (100, 2)) * [200, 100]


@pytest.fixture
def scene(tmp_path: Path) -> str:
    pixels = np.random.default_rng(1).integers(0, 255, (3, 64, 64), dtype=np.uint8)
    return str(write_image(tmp_path / "x.tif", pixels, crs=UTM, transform=HALF_METRE))


def test_a_job_sends_tiles_of_another_format_and_writes_another_output(
    scene: str, tmp_path: Path, client: Any
) -> None:
    body = json.dumps({"features": [{"properties": {"imageBBox": [4, 4, 9, 9]}}]}).encode()
    with serving(saying(body)) as server:
        result = daskmr.run(
            scene, server.url, out=str(tmp_path), formats=["csv"], client=client, job_id="j",
            tile_size=32, overlap=0, tile_format="WEBP", tile_options={"effort": 1},
        )  # fmt: skip
    assert {headers["Content-Type"] for headers, _ in server.requests} == {"image/webp"}
    with MemoryFile(server.requests[0][1]) as memory, memory.open() as tile:
        assert (tile.driver, tile.count, tile.shape) == ("WEBP", 3, (32, 32))
    lines = pd.read_csv(tmp_path / "j.csv")
    assert lines["feature_id"].tolist() == result.features["feature_id"].tolist()
    assert lines["job_id"].unique().tolist() == ["j"]


def test_an_image_that_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    gray = write_image(tmp_path / "g.tif", np.zeros((1, 64, 64), np.uint8))
    with pytest.raises(RequestError, match="WEBP takes 3 bands of uint8, not 1 bands of uint8"):
        daskmr.plan(gray, "http://127.0.0.1:9/x", tile_format="WEBP")


def test_close_points_of_a_class_become_the_best_of_them() -> None:
    boxes = [[0, 0, 2, 2], [3, 0, 5, 2], [40, 0, 42, 2], [3, 1, 5, 3]]
    rows = table(boxes, [0.9, 0.8, 0.1, 0.7], ["a", "a", "a", "b"])
    merge: Merge = made("merge", "Nearest", distance_px=8.0)
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        assert sorted(merge(rows.iloc[order])["score"].tolist()) == [0.1, 0.7, 0.9]
    assert len(merge(rows.iloc[:0])) == 0


def test_a_job_merges_by_it(scene: str, client: Any) -> None:
    def twice(_tile: Any) -> dict[str, Any]:
        return {"boxes": [[4, 4, 9, 9], [6, 4, 11, 9]], "scores": [0.5, 0.6], "labels": ["a", "a"]}

    options = {"tile_size": 64, "overlap": 0, "client": client}
    found = daskmr.run(scene, twice, merge="nearest", merge_options={"distance_px": 5}, **options)
    assert found.features["score"].tolist() == [0.6]


def test_an_endpoint_of_another_kind_answers(scene: str, tmp_path: Path, client: Any) -> None:
    said = {"features": [{"properties": {"imageBBox": [1, 2, 5, 6]}}]}
    (tmp_path / "answer.json").write_text(json.dumps(said))
    model = made("endpoint", "FolderEndpoint", folder=str(tmp_path))
    found = daskmr.run(scene, model, client=client, tile_size=64, overlap=0).features
    assert [shape.bounds for shape in found.image_geometry] == [(1, 2, 5, 6)]
    nowhere = made("endpoint", "FolderEndpoint", folder=str(tmp_path / "nowhere"))
    with pytest.raises(UnreachableError, match="no such folder"):
        daskmr.run(scene, nowhere, client=client, tile_size=64, overlap=0)


def test_events_are_lines_of_a_file(scene: str, tmp_path: Path, client: Any) -> None:
    path = tmp_path / "events"
    with dask.config.set({"daskmr.status.file": {"path": str(path)}}):
        daskmr.run(scene, "centerpoint", client=client, tile_size=64, overlap=0, job_id="j")
    said = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["job"] for line in said} == {"j"}
    assert said[-1]["status"] == "SUCCESS"


def test_a_name_places_an_image(tmp_path: Path, client: Any) -> None:
    path = tmp_path / "n48e011.tif"
    write_image(path, np.full((1, 100, 200), 9, np.uint8))
    features = daskmr.run(
        str(path), "centerpoint", sensor_model="SQUARE", client=client, tile_size=200, overlap=0
    ).features
    assert features[["center_longitude", "center_latitude"]].to_numpy() == pytest.approx(
        np.array([[11.55, 48.45]])
    )


def test_an_array_of_xarray_runs_like_a_file(tmp_path: Path, client: Any) -> None:
    bands = np.full((2, 64, 64), 100, np.uint8)
    bands[1, 10:20, 30:50] = 250
    path = write_image(tmp_path / "x.tif", bands, crs=UTM, transform=HALF_METRE)
    found = made("any_array", "find_green", path=str(path), tile_size=64, overlap=0, client=client)
    assert [shape.bounds for shape in found.features.image_geometry] == [(30, 10, 50, 20)]
    assert shapely.get_coordinate_dimension(found.features.geometry.iloc[0]) == 3
