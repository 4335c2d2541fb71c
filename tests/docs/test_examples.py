"""The examples of the how-tos: each keeps the contract of its kind, and a job runs with it."""

import json
import os
import re
import socketserver
import subprocess
import sys
import threading
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
from daskmr.clusters import named_cluster
from daskmr.clusters.base import NamedCluster
from daskmr.core.imagery import ImageInfo
from daskmr.encode.base import TileEncoder
from daskmr.endpoints.base import Endpoint
from daskmr.errors import RequestError, UnknownNameError, UnreachableError
from daskmr.geolocate import pick, ranks
from daskmr.geolocate.base import Points, SensorModel
from daskmr.merge.base import Merge
from daskmr.sinks.base import Sink, Stream
from daskmr.status.base import StatusChannel
from daskmr.testing.clusters import bare_cluster
from daskmr.testing.contracts_clusters import ClusterContract
from daskmr.testing.contracts_encode import EncoderContract, image
from daskmr.testing.contracts_endpoints import EndpointContract
from daskmr.testing.contracts_geolocate import SensorModelContract
from daskmr.testing.contracts_merge import MergeContract, table
from daskmr.testing.contracts_sinks import LossySinkContract
from daskmr.testing.contracts_status import ChannelContract
from daskmr.testing.contracts_streams import StreamContract
from daskmr.testing.images import HALF_METRE, UTM, write_image
from daskmr.testing.servers import saying, serving

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples"
GROUPS = {
    "tile_format": "WEBP = encoder:WebpEncoder",
    "format": "csv = sink:CsvSink",
    "stream": "lines = stream:LineStream",
    "merge": "nearest = merge:Nearest",
    "endpoint": "folder = endpoint:FolderEndpoint",
    "status_channel": "file = status:FileChannel",
    "sensor_model": "SQUARE = sensor_model:DegreeSquare",
    "cluster": "file = cluster:FileCluster",
}
"""Entry points by group, without ``daskmr.``."""
ANSWER = json.dumps({"features": [{"properties": {"imageBBox": [1, 2, 5, 6]}}]})


@pytest.fixture(autouse=True)
def installed(bring_plugins: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The examples as a package that brings plug-ins; the folder of its metadata."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    folder: Path = bring_plugins(GROUPS)
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A worker that can import the examples."""
    from distributed import LocalCluster

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))  # processes that are spawned take it over
        with LocalCluster(
            n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as local:
            yield local


def build(module: str, kind: str, /, **fields: Any) -> Any:
    from importlib import import_module

    return getattr(import_module(module), kind)(**fields)


class TestWebp(EncoderContract):
    content_type = "image/webp"

    def make(self) -> TileEncoder:
        encoder: TileEncoder = build("encoder", "WebpEncoder")
        return encoder

    def accepts(self, dtype: str, bands: int) -> bool:
        return (dtype, bands) == ("uint8", 3)

    def test_it_accepts_an_ordinary_image(self) -> None:
        self.make().check(image("uint8", 3))


class TestSquare(SensorModelContract):
    heights = (0.0, 1000.0)

    def make(self) -> SensorModel:
        model: SensorModel = build(
            "sensor_model", "DegreeSquare", west=11.0, south=48.0, width=200, height=100
        )
        return model

    def info(self) -> ImageInfo:
        return ImageInfo(
            url="n48e011.png", height=100, width=200, bands=1, dtype="uint8", driver="PNG"
        )

    def points(self) -> Points:
        return np.random.default_rng(0).uniform(0, 1, (100, 2)) * [200, 100]


class TestCsv(LossySinkContract):
    columns = ("feature_id", "label", "score")

    def make(self) -> Sink:
        sink: Sink = build("sink", "CsvSink")
        return sink

    def read(self, path: Path) -> pd.DataFrame:
        return pd.read_csv(path, dtype={"feature_id": str})


class Lines(socketserver.ThreadingTCPServer):
    """Keeps the lines that it is sent."""

    daemon_threads, block_on_close = False, True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), LineHandler)
        self.lines: list[dict[str, Any]] = []
        self.ended = threading.Semaphore(0)


class LineHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Lines)
        self.server.lines += [json.loads(line) for line in self.rfile]
        self.server.ended.release()


@pytest.fixture
def line_server() -> Iterator[Lines]:
    with Lines() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class TestLines(StreamContract):
    @pytest.fixture(autouse=True)
    def _server(self, line_server: Lines) -> None:
        self.server = line_server

    def make(self) -> Stream:
        host, port = self.server.server_address[:2]
        stream: Stream = build("stream", "LineStream", host=str(host), port=port)
        return stream

    def make_refused(self) -> Stream:
        stream: Stream = build("stream", "LineStream", host="127.0.0.1", port=9)
        return stream

    def received(self) -> list[str]:
        assert self.server.ended.acquire(timeout=10)
        ids = [line["feature_id"] for line in self.server.lines]
        self.server.lines.clear()
        return ids


class TestNearest(MergeContract):
    def make(self) -> Merge:
        merge: Merge = build("merge", "Nearest", distance_px=8.0)
        return merge


class TestFolder(EndpointContract):
    @pytest.fixture(autouse=True)
    def _folders(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        (tmp_path / "empty").mkdir()
        (tmp_path / "answer.json").write_text(ANSWER)

    def at(self, name: str) -> Endpoint:
        endpoint: Endpoint = build("endpoint", "FolderEndpoint", endpoint=str(self.folder / name))
        return endpoint

    def make(self) -> Endpoint:
        return self.at("")

    def make_failing(self) -> Endpoint:
        return self.at("empty")

    def make_unreachable(self) -> Endpoint:
        return self.at("nowhere")


class TestFileChannel(ChannelContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.path, self.n_read = tmp_path / "events", 0

    def make(self) -> StatusChannel:
        channel: StatusChannel = build("status", "FileChannel", path=str(self.path))
        return channel

    def heard(self) -> list[dict[str, Any]]:
        lines = self.path.read_text(encoding="utf-8").splitlines()
        new, self.n_read = lines[self.n_read :], len(lines)
        return [json.loads(line) for line in new]


@pytest.fixture(scope="module")
def scheduler_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """File of a scheduler that has one worker."""
    folder = tmp_path_factory.mktemp("cluster")
    with bare_cluster(folder, n_workers=1):
        yield folder / "scheduler.json"


class TestFileCluster(ClusterContract):
    @pytest.fixture(autouse=True)
    def _file(self, scheduler_file: Path) -> None:
        self.file = scheduler_file

    def make(self) -> NamedCluster:
        cluster = named_cluster(f"file:{self.file}")
        assert cluster is not None
        assert type(cluster).__name__ == "FileCluster"
        return cluster

    def make_missing(self) -> NamedCluster:
        cluster: NamedCluster = build("cluster", "FileCluster", name=f"{self.file}.missing")
        return cluster


def test_every_example_is_shown_and_held_to_the_contract_of_its_kind() -> None:
    page = (DOCS / "howto.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"literalinclude\} examples/(\w+)\.py", page))
    assert shown == {path.stem for path in EXAMPLES.glob("*.py")}
    modules = {line.split(" = ")[1].split(":")[0] for line in GROUPS.values()}
    assert modules == shown - {"any_array"}
    suites = set(re.findall(r"daskmr\.testing\.contracts_\w+\.(\w+)", page))
    kept = {
        base.__name__
        for each in list(globals().values())
        if isinstance(each, type) and each.__name__.startswith("Test")
        for base in each.__bases__
    }
    assert len(kept) == len(GROUPS)
    assert kept <= suites


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


def test_a_stream_of_another_kind_gets_every_feature(
    scene: str, client: Any, line_server: Lines
) -> None:
    host, port = str(line_server.server_address[0]), line_server.server_address[1]
    options = {"tile_size": 32, "overlap": 0, "client": client, "job_id": "j"}
    output = {"type": "Lines", "host": host, "port": port}
    result = daskmr.run(scene, "centerpoint", outputs=[output], **options)
    assert [(d.to, d.n_sent) for d in result.report.deliveries] == [(f"lines:{host}:{port}", 4)]
    assert line_server.ended.acquire(timeout=10)
    ids = [line["feature_id"] for line in line_server.lines]
    assert ids == result.features["feature_id"].tolist()
    with pytest.raises(RequestError, match="type 'Disk' is none of Files, S3, Kinesis, Lines"):
        daskmr.run(scene, "centerpoint", outputs=[{"type": "Disk"}], **options)
    with pytest.raises(RequestError, match="stream 'lines': port: is missing"):
        daskmr.run(scene, "centerpoint", outputs=[{"type": "Lines", "host": "h"}], **options)


def test_an_image_that_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    gray = write_image(tmp_path / "g.tif", np.zeros((1, 64, 64), np.uint8))
    with pytest.raises(RequestError, match="WEBP takes 3 bands of uint8, not 1 bands of uint8"):
        daskmr.plan(gray, "http://127.0.0.1:9/x", tile_format="WEBP")


def test_close_points_of_a_class_become_the_best_of_them() -> None:
    boxes = [[0, 0, 2, 2], [3, 0, 5, 2], [40, 0, 42, 2], [3, 1, 5, 3]]
    rows = table(boxes, [0.9, 0.8, 0.1, 0.7], ["a", "a", "a", "b"])
    merge: Merge = build("merge", "Nearest", distance_px=8.0)
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        assert sorted(merge(rows.iloc[order])["score"].tolist()) == [0.1, 0.7, 0.9]
    assert len(merge(rows.iloc[:0])) == 0


def test_a_job_merges_by_it(scene: str, client: Any) -> None:
    def twice(_tile: Any) -> dict[str, Any]:
        return {"boxes": [[4, 4, 9, 9], [6, 4, 11, 9]], "scores": [0.5, 0.6], "labels": ["a", "a"]}

    options = {"tile_size": 64, "overlap": 0, "client": client}
    result = daskmr.run(scene, twice, merge="nearest", merge_options={"distance_px": 5}, **options)
    assert result.features["score"].tolist() == [0.6]


def test_an_endpoint_of_another_kind_answers(scene: str, tmp_path: Path, client: Any) -> None:
    (tmp_path / "answer.json").write_text(ANSWER)
    instance = build("endpoint", "FolderEndpoint", endpoint=str(tmp_path))
    for model in (instance, f"folder://{tmp_path}"):
        pixels = daskmr.run(scene, model, client=client, tile_size=64, overlap=0).pixels
        assert [shape.bounds for shape in pixels.geometry] == [(1, 2, 5, 6)]
    with pytest.raises(UnreachableError, match="no such folder"):
        daskmr.run(scene, f"{model}/nowhere", client=client, tile_size=64, overlap=0)


def test_the_command_line_takes_an_endpoint_of_another_kind(
    scene: str, tmp_path: Path, installed: Path
) -> None:
    (tmp_path / "answer.json").write_text(ANSWER)
    done = subprocess.run(
        [sys.executable, "-m", "daskmr", "run", scene, "-m", f"folder://{tmp_path}",
         "--endpoint-option", "concurrency=2", "--workers", "1", "--tile-size", "64",
         "--overlap", "0", "-o", str(tmp_path / "out"), "--json"],
        env={**os.environ, "PYTHONPATH": f"{installed}{os.pathsep}{EXAMPLES}"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["status"], report["n_features"]) == ("SUCCESS", 1)


def test_what_an_endpoint_of_another_kind_does_not_take_is_named(scene: str) -> None:
    with pytest.raises(RequestError, match="endpoint 'folder': parameters: Unexpected keyword"):
        daskmr.plan(scene, "folder:///answers", parameters={"a": 1})
    with pytest.raises(UnknownNameError, match=r"'mlserver'; known: http://, https://, folder://"):
        daskmr.plan(scene, "mlserver://x")


def test_events_are_lines_of_a_file(scene: str, tmp_path: Path, client: Any) -> None:
    path = tmp_path / "events"
    with dask.config.set({"daskmr.status.file": {"path": str(path)}}):
        daskmr.run(scene, "centerpoint", client=client, tile_size=64, overlap=0, job_id="j")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert {record["job_id"] for record in records} == {"j"}
    assert records[-1]["status"] == "SUCCESS"


def test_a_name_places_an_image(tmp_path: Path, client: Any) -> None:
    path = tmp_path / "n48e011.tif"
    write_image(path, np.full((1, 100, 200), 9, np.uint8))
    for name in ("SQUARE", None):
        features = daskmr.run(
            str(path), "centerpoint", sensor_model=name, client=client, tile_size=200, overlap=0
        ).features
        assert features[["center_longitude", "center_latitude"]].to_numpy() == pytest.approx(
            np.array([[11.55, 48.45]])
        )


def test_a_sensor_model_of_another_package_is_tried_at_its_rank(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [name for name in ranks() if name != "CHIP"] == [
        "SICD", "SIDD", "RSM", "RPC", "GCP", "AFFINE", "SQUARE", "CORNERS",
    ]  # fmt: skip
    info = ImageInfo(
        url="n48e011.png", height=100, width=200, bands=1, dtype="uint8", driver="PNG",
        crs=UTM, transform=HALF_METRE,
    )  # fmt: skip
    kind = build("sensor_model", "DegreeSquare", west=0, south=0, width=1, height=1).__class__
    assert type(pick(info)[0]).__name__ == "AffineModel"
    monkeypatch.setattr(kind, "rank", 5.0)
    assert type(pick(info)[0]) is kind
    monkeypatch.delattr(kind, "rank")
    assert "SQUARE" not in ranks()
    assert type(pick(info)[0]).__name__ == "AffineModel"


def test_an_array_of_xarray_runs_like_a_file(tmp_path: Path, client: Any) -> None:
    bands = np.full((2, 64, 64), 100, np.uint8)
    bands[1, 10:20, 30:50] = 250
    path = write_image(tmp_path / "x.tif", bands, crs=UTM, transform=HALF_METRE)
    result = build(
        "any_array", "find_green", path=str(path), tile_size=64, overlap=0, client=client
    )
    assert [shape.bounds for shape in result.pixels.geometry] == [(30, 10, 50, 20)]
    assert shapely.get_coordinate_dimension(result.features.geometry.iloc[0]) == 2
