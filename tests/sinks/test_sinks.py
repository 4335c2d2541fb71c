"""Result files: every format, exact, whole or not at all."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core.features import IMAGE_BOX
from daskmr.errors import SinkError, UnknownNameError
from daskmr.sinks import SINKS, sink, write
from daskmr.sinks._features import features as geojson_features
from daskmr.sinks.base import Provenance, Whole
from daskmr.sinks.flatgeobuf import FlatGeobuf
from daskmr.sinks.geojson import GeoJson
from daskmr.sinks.geojsonseq import GeoJsonSeq
from daskmr.sinks.geopackage import GeoPackage
from daskmr.sinks.geoparquet import GeoParquet
from daskmr.testing.contracts_sinks import OWN, PROVENANCE, SHAPES, SinkContract, results


def from_features(items: list[dict[str, Any]]) -> gpd.GeoDataFrame:
    """Features as a table, by the json module and shapely alone."""
    shapes = [
        None if f["geometry"] is None else shapely.geometry.shape(f["geometry"]) for f in items
    ]
    labels = [results()["label"][int(f["id"], 16)] for f in items]
    own = [json.dumps({name: f["properties"][name] for name in OWN}) for f in items]
    return gpd.GeoDataFrame({"label": labels, "properties": own}, geometry=shapes)


class TestGeoJson(SinkContract):
    def make(self) -> GeoJson:
        return GeoJson()

    def read(self, path: Path) -> gpd.GeoDataFrame:
        collection = json.loads(path.read_text(encoding="utf-8"))
        assert collection["type"] == "FeatureCollection"
        return from_features(collection["features"])


class TestGeoJsonSeq(SinkContract):
    def make(self) -> GeoJsonSeq:
        return GeoJsonSeq()

    def read(self, path: Path) -> gpd.GeoDataFrame:
        lines = path.read_text(encoding="utf-8").splitlines()
        return from_features([json.loads(line) for line in lines])


class TestGeoParquet(SinkContract):
    def make(self) -> GeoParquet:
        return GeoParquet()

    def read(self, path: Path) -> gpd.GeoDataFrame:
        return gpd.read_parquet(path)


class TestFlatGeobuf(SinkContract):
    mixed_heights = False

    def make(self) -> FlatGeobuf:
        return FlatGeobuf()

    def read(self, path: Path) -> gpd.GeoDataFrame:
        return gpd.read_file(path).sort_values("feature_id", ignore_index=True)


class TestGeoPackage(SinkContract):
    def make(self) -> GeoPackage:
        return GeoPackage()

    def read(self, path: Path) -> gpd.GeoDataFrame:
        return gpd.read_file(path)


def features(table: gpd.GeoDataFrame, provenance: Provenance, folder: Path) -> list[dict[str, Any]]:
    GeoJson().write(Whole(table), folder / "x.geojson", provenance)
    found: list[dict[str, Any]] = json.loads((folder / "x.geojson").read_text())["features"]
    return found


def test_a_feature_has_the_ancestors_properties(tmp_path: Path) -> None:  # F4
    source = {"location": "x.tif", "format": "TIFF"}
    provenance = Provenance(
        job_id="j", feature_properties=({"a": 1}, {"a": 2, "b": 3}), source_metadata=(source,)
    )
    table = results()
    first = features(table, provenance, tmp_path)[0]
    properties = first["properties"]
    assert properties["own"] == "ü"
    assert (properties["a"], properties["b"]) == (2, 3)
    assert properties["featureClasses"] == [{"iri": "x", "score": 0.5}]
    first_row = table.iloc[0]
    assert (properties["label"], properties["score"]) == (first_row["label"], first_row["score"])
    assert properties["imageBBox"] == [0.1, 0.2, 30.3, 1 / 3]
    assert properties["imageGeometry"]["type"] == "Polygon"
    assert properties["inferenceMetadata"] == {
        "jobId": "j",
        "inferenceDT": "2026-01-02T03:04:05Z",
    }
    assert properties["sourceMetadata"] == [source]
    assert first["bbox"] == list(table.geometry.iloc[0].bounds)
    west, south, low, east, north, high = features(results(height=7), provenance, tmp_path)[0][
        "bbox"
    ]
    assert (west, south, east, north) == tuple(table.geometry.iloc[0].bounds)
    assert (low, high) == (7.0, 7.0)
    assert properties["center_longitude"] == table["center_longitude"].iloc[0]


def test_the_box_of_a_feature_on_the_antimeridian_runs_from_west_to_east(tmp_path: Path) -> None:
    table = results(SHAPES[:2])
    parts = shapely.force_3d([shapely.box(179.9, 1, 180, 2), shapely.box(-180, 1, -179.8, 2)], 5.0)
    table["geometry"] = gpd.GeoSeries(
        [shapely.multipolygons(parts), shapely.box(-180, 1, 180, 2)], crs=table.crs
    )
    crossing, round_the_world = features(table, PROVENANCE, tmp_path)
    assert crossing["bbox"] == [179.9, 1, 5, -179.8, 2, 5]
    assert crossing["geometry"]["type"] == "MultiPolygon"
    assert round_the_world["bbox"] == [-180, 1, 180, 2]


def test_what_daskmr_says_cannot_be_overwritten(tmp_path: Path) -> None:
    names = ("imageGeometry", "imageBBox", "featureClasses", "inferenceMetadata", "sourceMetadata")
    forged = dict.fromkeys(names, "forged")
    table = results()
    table["properties"] = json.dumps({**forged, "center_longitude": 999})
    provenance = Provenance(job_id="j", feature_properties=(forged, {"center_latitude": 999}))
    for feature in features(table, provenance, tmp_path):
        assert "forged" not in json.dumps(feature)
        assert 999 not in feature["properties"].values()


@pytest.mark.parametrize("lost", ["crs", "geometry"])
def test_a_feature_without_a_place_has_no_centre_whoever_says_so(lost: str, tmp_path: Path) -> None:
    table = results(placed=lost != "crs")
    table["properties"] = '{"center_longitude":999,"center_latitude":999}'
    if lost == "geometry":
        table["geometry"] = gpd.GeoSeries([None] * len(table), crs=table.crs)
    for feature in features(table, PROVENANCE, tmp_path):
        assert feature["geometry"] is None
        assert not {"center_longitude", "center_latitude"} & feature["properties"].keys()


@given(st.lists(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 3), min_size=1))
def test_coordinates_come_back_bit_for_bit(points: list[tuple[float, float, float]]) -> None:
    table = results([shapely.Point(0, 0)] * len(points))
    table["geometry"] = gpd.GeoSeries(shapely.points(points), crs=table.crs)
    for text, point in zip(geojson_features(Whole(table), PROVENANCE), points, strict=True):
        found = json.loads(text)["geometry"]["coordinates"]
        assert [value.hex() for value in found] == [value.hex() for value in point]


def test_odd_text_in_a_table_is_still_json(tmp_path: Path) -> None:
    table = results()
    table["feature_id"] = 'a"\\'
    table["classes"] = '[{"iri":"NaN","score":NaN}]'
    table["properties"] = '{"half":"\\ud800","far":Infinity}'
    table["image_geometry"] = gpd.GeoSeries([None] * len(table))
    GeoJson().write(Whole(table), tmp_path / "x.geojson", PROVENANCE)
    text = (tmp_path / "x.geojson").read_text(encoding="utf-8")
    for feature in json.loads(text, parse_constant=pytest.fail)["features"]:
        properties = feature["properties"]
        assert feature["id"] == 'a"\\'
        assert properties["featureClasses"] == [{"iri": "NaN", "score": None}]
        assert (properties["half"], properties["far"]) == ("\ud800", None)
        assert properties["imageGeometry"] is None


def test_without_georeferencing_pixels_are_kept_and_geometry_is_null(tmp_path: Path) -> None:  # F12
    for feature in features(results(placed=False), PROVENANCE, tmp_path):
        assert feature["geometry"] is None
        assert "bbox" not in feature
        assert "center_longitude" not in feature["properties"]
        assert feature["properties"]["imageGeometry"]["coordinates"]


def test_what_is_no_number_becomes_null(tmp_path: Path) -> None:
    nan = float("nan")
    provenance = Provenance(job_id="j", feature_properties=({"a": [nan, {"b": float("inf")}]},))
    text = json.dumps(features(results(), provenance, tmp_path))
    assert "NaN" not in text
    assert '"a": [null, {"b": null}]' in text


def test_geoparquet_keeps_both_geometries_and_the_box(tmp_path: Path) -> None:
    table = results()
    GeoParquet().write(Whole(table), tmp_path / "x.parquet", PROVENANCE)
    again = gpd.read_parquet(tmp_path / "x.parquet")
    assert again.crs == "EPSG:4326"
    for wkb, shape in zip(again["image_geometry"], SHAPES, strict=True):
        assert shapely.equals_exact(shapely.from_wkb(wkb), shape, tolerance=0)
    assert np.array_equal(again[IMAGE_BOX], table[IMAGE_BOX])
    assert again["inferred_at"].equals(table["inferred_at"])
    assert json.loads(again["feature_properties"].iloc[0]) == [{"campaign": "spring"}]
    assert set(again["job_id"]) == {"job-1"}
    few = gpd.read_parquet(tmp_path / "x.parquet", bbox=tuple(table.geometry.iloc[1].bounds))
    assert 0 < len(few) <= len(table)


@pytest.mark.parametrize("name", ["fgb", "gpkg"])
def test_vector_files_hold_the_pixels_and_provenance_as_text(name: str, tmp_path: Path) -> None:
    provenance = Provenance(job_id="job.ö 1", feature_properties=({"a": float("nan")},))
    table = results()
    (path,) = write(table, str(tmp_path), [name], provenance=provenance)
    assert list(gpd.list_layers(path)["name"]) == ["job_1"]
    again = gpd.read_file(path).sort_values("feature_id", ignore_index=True)
    for wkt, shape in zip(again["image_geometry"], SHAPES, strict=True):
        assert shapely.equals_exact(shapely.from_wkt(wkt), shape, tolerance=0)
    assert np.array_equal(again[IMAGE_BOX], table[IMAGE_BOX])
    assert again["inferred_at"].equals(table["inferred_at"])
    assert set(again["feature_properties"]) == {'[{"a":null}]'}
    assert set(again["job_id"]) == {"job.ö 1"}


def test_pixel_tables_are_written_without_a_crs(tmp_path: Path) -> None:
    table = results(placed=False)
    for name in ("parquet", "fgb", "gpkg"):
        (path,) = write(table, str(tmp_path), [name], provenance=PROVENANCE)
        again = gpd.read_parquet(path) if name == "parquet" else gpd.read_file(path)
        assert again.crs is None or "Undefined" in str(again.crs.name)
        assert len(again) == len(SHAPES)


def test_all_formats_are_written_under_the_jobs_name(tmp_path: Path) -> None:
    names = [*SINKS.names(), "geojson"]
    paths = write(results(), str(tmp_path / "new" / "out"), names, provenance=PROVENANCE)
    assert len(paths) == len(SINKS.names())
    assert sorted(p.name for p in (tmp_path / "new" / "out").iterdir()) == sorted(
        f"job-1{SINKS.load(name).suffix}" for name in SINKS.names()
    )


def test_a_format_that_fails_leaves_nothing_and_spoils_nothing(tmp_path: Path) -> None:
    (tmp_path / "job-1.geojson").write_text("an older result")
    table = results()
    table["properties"] = "not JSON"  # which FlatGeobuf, the first of the two, does not look into
    with pytest.raises(SinkError, match=r"job-1\.geojson: cannot be written: JSONDecodeError"):
        write(table, str(tmp_path), ["fgb", "geojson"], provenance=PROVENANCE)
    assert [p.name for p in tmp_path.iterdir()] == ["job-1.geojson"]
    assert (tmp_path / "job-1.geojson").read_text() == "an older result"


def test_a_fault_of_code_is_not_reported_as_a_refusal_of_the_disk(tmp_path: Path) -> None:
    table = results().drop(columns="tile_col")
    with pytest.raises(KeyError, match="tile_col"):
        write(table, str(tmp_path), ["geojson"], provenance=PROVENANCE)
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_of_no_known_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SinkError, match=r"^nosuch://x/job-1\.geojson: cannot be written: ValueError"
    ):
        write(results(), "nosuch://x", ["geojson"], provenance=PROVENANCE)


def test_a_place_that_is_taken_by_a_folder_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    (tmp_path / "job-1.gpkg").mkdir()
    with pytest.raises(SinkError, match=r"job-1\.gpkg: cannot be written: IsADirectoryError"):
        write(results(), str(tmp_path), ["geojson", "gpkg"], provenance=PROVENANCE)
    assert [p.name for p in tmp_path.iterdir()] == ["job-1.gpkg"]


FULL = """
import resource, sys
from daskmr.sinks import write
from daskmr.testing.contracts_sinks import PROVENANCE, results
from daskmr.errors import SinkError
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
table = results()
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
try:
    write(table, sys.argv[1], [sys.argv[2]], provenance=PROVENANCE)
except SinkError as error:
    sys.exit(7)
"""


@pytest.mark.parametrize("name", ["geojson", "geojsonseq", "parquet", "fgb", "gpkg"])
def test_a_full_disk_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", FULL, str(out), name]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    assert finished.returncode == 7, finished.stderr
    assert list(out.iterdir()) == []


def test_formats_have_other_names_too(tmp_path: Path) -> None:
    assert sink("GeoParquet") == GeoParquet()
    assert [sink(name) for name in ("flatgeobuf", "geopackage", "geojsonl")] == [
        FlatGeobuf(),
        GeoPackage(),
        GeoJsonSeq(),
    ]
    paths = write(results(), str(tmp_path), ["FGB", "flatgeobuf"], provenance=PROVENANCE)
    assert paths == [str(tmp_path / "job-1.fgb")]


def test_an_unknown_format_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"'shp'; known: fgb, geojson"):
        write(results(), str(tmp_path), ["shp"], provenance=PROVENANCE)


def test_results_go_to_object_stores_whole(s3: Any, tmp_path: Path) -> None:
    table = results()
    (url,) = write(table, "s3://bucket/some/prefix/", ["geojson"], provenance=PROVENANCE)
    assert url == "s3://bucket/some/prefix/job-1.geojson"
    body = s3.get_object(Bucket="bucket", Key="some/prefix/job-1.geojson")["Body"].read()
    (local,) = write(table, str(tmp_path), ["geojson"], provenance=PROVENANCE)
    assert body == Path(local).read_bytes()


@pytest.mark.usefixtures("s3")
def test_a_bucket_that_is_not_there_is_named() -> None:
    with pytest.raises(SinkError, match=r"^s3://absent/job-1\.geojson: cannot be written: .+"):
        write(results(), "s3://absent", ["geojson"], provenance=PROVENANCE)


GROWTH = """
import resource, sys
from pathlib import Path
import numpy as np
import pandas as pd
from daskmr.sinks import write
from daskmr.sinks.base import GeometrySummary, Provenance
from daskmr.testing.contracts_sinks import SHAPES, results

class Many:
    def __init__(self, n):
        self.n, self.one = n, pd.concat([results(SHAPES)] * 1000, ignore_index=True)
    @property
    def crs(self):
        return self.one.crs
    @property
    def geometry(self):
        return GeometrySummary.of(self.one.geometry)
    def __iter__(self):
        return (self.one.copy() for _ in range(self.n))

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

for n in (1, int(sys.argv[2])):
    write(Many(n), sys.argv[1], [sys.argv[3]], provenance=Provenance(job_id=f"x{n}"))
    print(peak())
"""


@pytest.mark.parametrize("name", ["geojsonseq", "parquet", "fgb", "gpkg"])
def test_memory_does_not_grow_with_the_number_of_rows(name: str, tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", GROWTH, str(tmp_path), "25", name],
        capture_output=True, text=True, check=True, timeout=200,
    ).stdout  # fmt: skip
    one, many = map(float, said.split())
    assert many - one < 80  # MiB, for 120,000 rows more
