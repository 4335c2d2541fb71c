"""The tables of a result in the hands of users of GeoPandas."""

import json
import pickle
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import daskmr
from daskmr.core.features import IMAGE_BOX
from daskmr.errors import RequestError
from daskmr.results.feature_table import FeatureTable
from daskmr.testing.images import write_image

UTM: dict[str, Any] = {
    "crs": "EPSG:32618",
    "transform": (0.5, 0.0, 583_000.0, 0.0, -0.5, 4_507_000.0),
}


def model(tile: Any) -> dict[str, Any]:
    """One box a tile, with properties that some features lack."""
    n = int(tile[0, 0, 0])
    extra = {"crew": n, "flag": "de", "parts": [n]} if n % 2 else {"docked": True}
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": shapely.geometry.mapping(shapely.box(10, 20, 60, 50)),
                "properties": {"label": "ship", "score": 0.5 + n / 8, **extra},
            }
        ],
    }


def run(tmp_path: Path, find: Any = model, *, placed: bool = True, **options: Any) -> Any:
    pixels = np.zeros((1, 128, 128), np.uint8)
    pixels[0, :64, 64:], pixels[0, 64:, :64], pixels[0, 64:, 64:] = 1, 2, 3
    image = tmp_path / ("x.tif" if placed else "flat.tif")
    if not image.exists():
        write_image(image, pixels, **(UTM if placed else {}))
    how: dict[str, Any] = {"tile_size": 64, "overlap": 0, "merge": "none", "scheduler": "threads"}
    return daskmr.run(image, find, **(how | options))


def test_one_column_of_geometries_and_plain_types(tmp_path: Path) -> None:
    result = run(tmp_path)
    features = result.features
    assert {name: str(dtype) for name, dtype in features.dtypes.items()} == {
        "feature_id": "string", "label": "string", "score": "float64", "geometry": "geometry",
        **dict.fromkeys(IMAGE_BOX, "float64"), "image_bbox": "object",
        "center_longitude": "float64", "center_latitude": "float64",
        "tile_row": "int64", "tile_col": "int64", "inferred_at": "datetime64[ms, UTC]",
        "classes": "string", "properties": "string",
        "truncated": "bool", "edge_distance": "float64", "merged_from": "string",
        "docked": "boolean", "crew": "Int64", "flag": "string",
    }  # fmt: skip
    assert not features.has_z.any()
    assert len(features.drop_duplicates()) == len(features) == 4
    assert features["image_bbox"].iloc[0] == (10, 20, 60, 50)
    assert sorted(features["crew"].dropna()) == [1, 3]
    assert json.loads(features.loc[features.crew == 3, "properties"].item())["parts"] == [3]
    age = pd.Timestamp.now(tz="UTC") - features["inferred_at"]
    assert (age < pd.Timedelta("1h")).all()


def test_the_pixels_have_the_index_of_the_features(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.pixels.crs is None
    assert result.pixels.index.equals(result.features.index)
    assert result.pixels["feature_id"].equals(result.features["feature_id"])
    assert result.pixels.bounds.to_numpy().tolist() == result.features[IMAGE_BOX].values.tolist()
    unplaced = run(tmp_path, placed=False)
    assert unplaced.features.crs is None
    assert unplaced.features.geometry.tolist() == unplaced.pixels.geometry.tolist()


def test_a_known_height_is_in_the_geometry(tmp_path: Path) -> None:
    heights = shapely.get_coordinates(
        run(tmp_path, elevation=7.5).features.geometry, include_z=True
    )
    assert set(heights[:, 2]) == {7.5}


def test_json_has_times_and_selections_too(tmp_path: Path) -> None:
    features = run(tmp_path).features
    chosen = features[features.score > 0.6].assign(size=1)
    assert isinstance(chosen, FeatureTable)
    assert isinstance(pickle.loads(pickle.dumps(chosen)), FeatureTable)  # noqa: S301 - our own
    first = json.loads(chosen.to_json())["features"][0]["properties"]
    moment = pd.Timestamp(first["inferred_at"])
    assert moment == chosen["inferred_at"].iloc[0]
    assert first["inferred_at"].endswith("Z")
    assert first["image_bbox"] == list(chosen["image_bbox"].iloc[0])
    assert type(chosen[["label"]]) is pd.DataFrame
    with pytest.raises(TypeError, match="set"):
        chosen.assign(odd=[{1}] * len(chosen)).to_json()


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "fgb", "shp"])
@pytest.mark.filterwarnings("ignore")  # names that a shapefile shortens
def test_the_table_can_be_written(tmp_path: Path, suffix: str) -> None:
    features = run(tmp_path).features
    features.to_file(tmp_path / f"mine.{suffix}")
    again = gpd.read_file(tmp_path / f"mine.{suffix}")
    by_id = again.set_index("feature_id").loc[features["feature_id"]]
    np.testing.assert_array_equal(by_id["image_xmin"], features["image_xmin"])
    assert by_id.geometry.geom_equals_exact(features.geometry.set_axis(by_id.index), 1e-12).all()


def test_every_tile_has_a_row(tmp_path: Path) -> None:
    def picky(tile: Any) -> dict[str, Any]:
        if tile[0, 0, 0] == 2:
            msg = "not this one"
            raise ValueError(msg)
        return model(tile)

    with pytest.warns(UserWarning, match="1 of 4 tiles failed"):
        result = run(tmp_path, picky)
    tiles = result.tiles
    places = list(zip(tiles.tile_row, tiles.tile_col, strict=True))
    assert places == [(0, 0), (0, 64), (64, 0), (64, 64)]
    assert tiles["status"].tolist() == ["SUCCEEDED", "SUCCEEDED", "FAILED", "SUCCEEDED"]
    assert tiles["reason"].tolist() == ["", "", "MODEL_ERROR", ""]
    assert "not this one" in tiles["message"][2]
    assert tiles["n_features"].tolist() == [1, 1, 0, 1]
    assert (tiles["seconds"] > 0).tolist() == [True, True, False, True]
    assert tiles.crs == "EPSG:4326"
    metres = tiles.to_crs("EPSG:32618").geometry.bounds.round(6).to_numpy()
    x, y = 583_000.0, 4_507_000.0
    assert metres[1].tolist() == [x + 32, y - 32, x + 64, y]


def test_a_result_that_is_given_again_is_the_same(tmp_path: Path) -> None:
    options: dict[str, Any] = {"out": str(tmp_path / "out"), "formats": ["parquet"]}
    first, again = run(tmp_path, **options), run(tmp_path, **options)
    assert "given again" in again.report.notes[0]
    for table in ("features", "pixels", "tiles"):
        one, other = getattr(first, table), getattr(again, table)
        assert type(one) is type(other)
        pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(other))
        assert one.crs == other.crs


def test_tables_that_were_not_loaded_are_refused(tmp_path: Path) -> None:
    result = run(tmp_path, load=False)
    for table in ("features", "pixels"):
        with pytest.raises(RequestError, match="left on disk"):
            getattr(result, table)
    assert len(result.tiles) == 4
