"""Files of a result in the hands of the libraries that people open them with."""

import json
from collections.abc import Mapping
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import shapely

import daskmr
from daskmr.core.features import IMAGE_BOX
from daskmr.sinks.base import GeometrySummary
from daskmr.testing.images import write_image

N = 9
"""Tiles of each side, each with one ship."""
UTM: dict[str, Any] = {
    "crs": "EPSG:32618",
    "transform": (0.5, 0.0, 583_000.0, 0.0, -0.5, 4_507_000.0),
}


def ship(tile: Any) -> Mapping[str, Any]:
    shape = shapely.geometry.mapping(shapely.box(4, 4, 20, 12))
    properties = {"label": "ship", "score": 0.5, "length": 41.5, "flag": "de", "moored": True}
    feature = {"type": "Feature", "geometry": shape, "properties": properties}
    return {"type": "FeatureCollection", "features": [feature] if tile.any() else []}


@pytest.fixture(scope="module", params=["flat", "high", "pixels"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A result in all formats, of an image on the ground, on known ground, and of none."""
    folder = tmp_path_factory.mktemp("made")
    placed = {} if request.param == "pixels" else UTM
    ground: dict[str, Any] = {"elevation": 12.0} if request.param == "high" else {}
    pixels = np.ones((1, 32 * N, 32 * N), np.uint8)
    image = write_image(folder / "scene.tif", pixels, **placed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("daskmr.results.georeference.BATCH", 20)
        return daskmr.run(
            str(image), ship, tile_size=32, overlap=0, scheduler="threads", out=str(folder),
            formats=["parquet", "geojson", "geojsonseq", "fgb", "gpkg"], job_id="ships",
            **ground,
        )  # fmt: skip


def path_of(made: Any, suffix: str) -> str:
    (path,) = (path for path in made.report.outputs if path.endswith(f"ships.{suffix}"))
    return str(path)


def metadata(made: Any) -> dict[str, Any]:
    schema = pq.read_table(path_of(made, "parquet")).schema
    geo: dict[str, Any] = json.loads(schema.metadata[b"geo"])
    return geo


def test_geopandas(made: Any) -> None:
    table = gpd.read_parquet(path_of(made, "parquet"))
    features = made.features
    assert table.crs == features.crs
    assert table.active_geometry_name == "geometry"
    assert table.to_wkb().geometry.tolist() == features.to_wkb().geometry.tolist()
    shared = [name for name in features.columns if name not in {"geometry", "image_bbox"}]
    for name in shared:
        assert table[name].dtype == features[name].dtype, name
        assert table[name].equals(features[name]), name
    assert set(table["job_id"]) == {"ships"}
    pixels = gpd.GeoSeries.from_wkb(table["image_geometry"])
    assert pixels.tolist() == made.pixels.geometry.tolist()


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of Dask's own reader
def test_dask_geopandas(made: Any) -> None:
    dask_geopandas = pytest.importorskip("dask_geopandas")
    table = dask_geopandas.read_parquet(path_of(made, "parquet"), split_row_groups=True)
    assert table.npartitions == 5  # 81 features in batches of 20
    assert table.crs == made.features.crs
    found = table.compute()
    assert found["feature_id"].tolist() == made.features["feature_id"].tolist()
    assert found.geometry.tolist() == made.features.geometry.tolist()


def test_duckdb(made: Any) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as db:
        query = (
            "select count(*), sum(length), bool_and(moored), min(image_xmin), max(image_ymax) "
            "from read_parquet(?) where label = 'ship' and score >= 0.5 and flag = 'de'"
        )
        row = db.execute(query, [path_of(made, "parquet")]).fetchone()
    assert row == (N * N, 41.5 * N * N, True, 4.0, 32.0 * (N - 1) + 12)


def test_lonboard(made: Any) -> None:
    lonboard = pytest.importorskip("lonboard")
    if made.features.crs is None:
        pytest.skip("a map needs longitudes and latitudes")
    table = pq.read_table(path_of(made, "parquet")).drop_columns(["image_geometry"])
    layer = lonboard.PolygonLayer(table)
    assert layer.table.num_rows == N * N


def test_arrow_reads_the_rows_of_an_area_alone(made: Any) -> None:
    file = pq.ParquetFile(path_of(made, "parquet"))
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [
        20, 20, 20, 20, 1,
    ]  # fmt: skip
    rows = pa.dataset.dataset(path_of(made, "parquet")).to_table(
        filter=(pa.dataset.field("image_xmin") < 100) & (pa.dataset.field("image_ymin") < 100)
    )
    assert rows.num_rows == 9
    extents = [group[IMAGE_BOX[:2]] for group in _groups(file)]
    spans = [np.ptp(extent.to_numpy(), axis=0).max() for extent in extents]
    assert max(spans) < 32 * (N - 1)  # near each other on the ground, near each other in the file


def _groups(file: Any) -> list[Any]:
    return [file.read_row_group(i).to_pandas() for i in range(file.num_row_groups)]


@pytest.mark.parametrize("suffix", ["fgb", "gpkg", "geojson", "geojsonl"])
def test_gdal(made: Any, suffix: str) -> None:
    if made.features.crs is None and suffix.startswith("geojson"):
        pytest.skip("GeoJSON has no geometry in pixels")
    table = gpd.read_file(path_of(made, suffix))
    features = made.features.set_index("feature_id")
    ids = table["feature_id"] if "feature_id" in table else table["id"]
    table = table.set_index(ids).loc[features.index]
    assert set(table["label"]) == {"ship"}
    assert set(table["length"]) == {41.5}
    assert set(table["moored"]) == {True}
    assert table["truncated"].tolist() == features["truncated"].tolist()
    for one, other in zip(table.geometry, features.geometry, strict=True):
        assert shapely.equals_exact(one, other, tolerance=1e-9)
        assert shapely.has_z(one) == shapely.has_z(other)


def test_the_metadata_keep_the_rules_of_geoparquet(made: Any) -> None:
    """https://geoparquet.org/releases/v1.1.0/: columns, encoding, CRS, types, bounds, covering."""
    geo, features = metadata(made), made.features
    assert geo["version"] == "1.1.0"
    assert geo["primary_column"] == "geometry"
    (column,) = geo["columns"].values()
    assert column["encoding"] == "WKB"
    schema = pq.read_schema(path_of(made, "parquet"))
    assert schema.field("geometry").type == pa.binary()
    has_z = bool(features.has_z.all())
    assert column["geometry_types"] == ["Polygon Z" if has_z else "Polygon"]
    assert column["bbox"] == features.total_bounds.tolist()  # dask-geopandas reads no six
    if features.crs is None:
        assert column["crs"] is None
        assert "covering" not in column
        return
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 4326}
    sides = column["covering"]["bbox"]
    rows = pq.read_table(path_of(made, "parquet")).to_pylist()
    for row, bounds in zip(rows, features.bounds.to_numpy().tolist(), strict=True):
        found = [row[sides[side][0]][sides[side][1]] for side in ("xmin", "ymin", "xmax", "ymax")]
        assert found == bounds


def test_the_summary_of_geometries_is_that_of_all_batches() -> None:
    shapes = gpd.GeoSeries([shapely.Point(1, 2, 3), None, shapely.box(0, 0, 5, 6), shapely.Point()])
    whole, parts = GeometrySummary.of(shapes), GeometrySummary()
    for start in range(4):
        parts.add(shapes.iloc[start : start + 1])
    for each in (whole, parts):
        assert each.kinds == {("Point", True), ("Point", False), ("Polygon", False)}
        assert (each.n_rows, each.has_gaps) == (4, True)
        assert each.box == [0, 0, 5, 6]
    assert GeometrySummary().box == []
