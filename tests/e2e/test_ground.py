"""Features on the ground that the user names."""

from pathlib import Path
from typing import Any

import dask
import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

import daskmr
from daskmr.errors import RequestError
from daskmr.geolocate.affine import AffineModel
from daskmr.testing.images import HALF_METRE, UTM, write_image


def heights(path: Path) -> str:
    """A raster of heights that rises by a metre every thousandth of a degree to the east."""
    across = np.arange(3000, dtype=np.float32)
    transform = rasterio.Affine(0.001, 0, -76.0, 0, -0.001, 42.0)
    with rasterio.open(
        path, "w", driver="GTiff", width=3000, height=2000, count=1, dtype="float32",
        crs="EPSG:4326", transform=transform,
    ) as dataset:  # fmt: skip
        dataset.write(np.tile(across, (2000, 1)), 1)
    return str(path)


@pytest.fixture
def scene(tmp_path: Path) -> str:
    pixels = np.full((1, 64, 64), 7, np.uint8)
    return str(write_image(tmp_path / "x.tif", pixels, crs=UTM, transform=HALF_METRE))


def ground(features: Any) -> Any:
    """lon, lat, height of all vertices."""
    return shapely.get_coordinates(features.geometry.to_numpy(), include_z=True)


def run(scene: str, client: Any, **options: Any) -> Any:
    return daskmr.run(
        scene, "centerpoint", tile_size=32, overlap=0, client=client, **options
    ).features


def test_features_lie_at_the_height_that_is_given(scene: str, client: Any) -> None:
    for said in (123.5, "123.5"):
        assert (ground(run(scene, client, elevation=said))[:, 2] == 123.5).all()


def test_features_lie_on_a_raster_of_heights_and_on_a_geoid_below_it(
    scene: str, client: Any, tmp_path: Path
) -> None:
    raster = heights(tmp_path / "dem.tif")
    found = ground(run(scene, client, elevation=raster))
    expected = (found[:, 0] + 76.0) / 0.001 - 0.5  # between the centres of cells
    assert np.abs(found[:, 2] - expected).max() < 1e-3
    above = ground(run(scene, client, elevation=raster, geoid=raster))
    assert np.abs(above[:, 2] - 2 * expected).max() < 2e-3
    with dask.config.set({"daskmr.elevation": raster}):
        assert (ground(run(scene, client)) == found).all()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("missing.tif", "no such file"),
        (float("nan"), "elevation: nan is not a height"),
        (1e6, "elevation: 1000000.0 is not a height"),
    ],
)
def test_ground_that_cannot_be_is_refused_before_any_work(
    scene: str, client: Any, said: Any, told: str
) -> None:
    with pytest.raises((RequestError, daskmr.errors.ImageError), match=told):
        run(scene, client, elevation=said)


def test_features_outside_the_area_are_left_out_when_asked(scene: str, client: Any) -> None:
    x, y = HALF_METRE[2], HALF_METRE[5]
    area = gpd.GeoSeries([shapely.box(x + 1, y - 15, x + 8, y - 1)], crs=UTM)
    two = {"tile_size": 32, "overlap": 0, "client": client, "roi": area}
    kept = daskmr.run(scene, corners, roi_only=True, **two)
    assert [shape.centroid.x for shape in kept.pixels.geometry] == [4]
    assert kept.report.dropped == {"OUTSIDE_ROI": 1}
    assert len(daskmr.run(scene, corners, **two).features) == 2
    with pytest.raises(RequestError, match="roi_only: there is no roi"):
        daskmr.plan(scene, corners, roi_only=True)


def corners(_tile: Any) -> dict[str, Any]:
    """A box at the left of a tile, and one at its right."""
    boxes = [{"imageBBox": [x, 4, x + 2, 6]} for x in (3, 29)]
    return {"features": [{"properties": properties} for properties in boxes]}


def test_a_sensor_model_may_be_named(scene: str, client: Any) -> None:
    plan = daskmr.plan(scene, "centerpoint", sensor_model="AFFINE")
    assert isinstance(plan.sensor, AffineModel)
    with pytest.raises(RequestError, match=r"sensor_model: .*x.tif has nothing that RPC could"):
        daskmr.plan(scene, "centerpoint", sensor_model="RPC")
    with pytest.raises(RequestError, match="unknown sensor model 'rpcs'; known: AFFINE, "):
        daskmr.plan(scene, "centerpoint", sensor_model="rpcs")
