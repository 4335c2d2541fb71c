"""Plans: what is decided from headers alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

import daskmr
from daskmr.core.grid import Window
from daskmr.errors import RequestError
from daskmr.testing.images import HALF_METRE, UTM, write_image, write_sparse, writing

REMOTE = "http://127.0.0.1:9/invocations"


def image(path: Path, *, height: int = 1000, width: int = 1300, dtype: str = "uint8") -> Path:
    pixels = np.full((3, height, width), 5, dtype)
    return write_image(path, pixels, crs=UTM, transform=HALF_METRE)


def on_ground(x: float, y: float) -> tuple[float, float]:
    """lon, lat of a pixel of `image`."""
    import pyproj

    to_world = pyproj.Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    lon, lat = to_world.transform(583_000 + 0.5 * x, 4_507_000 - 0.5 * y)
    return float(lon), float(lat)


def area(*corners: tuple[float, float]) -> shapely.Polygon:
    """The area of interest around some pixels."""
    return shapely.Polygon([on_ground(x, y) for x, y in corners])


def test_an_area_of_interest_is_tiled_and_nothing_else(tmp_path: Path) -> None:  # R4, R7
    roi = area((200.5, 300.5), (699.5, 300.5), (699.5, 799.5), (200.5, 799.5))
    plan = daskmr.plan(image(tmp_path / "x.tif"), "blobs", tile_size=100, overlap=0, roi=roi)
    assert plan.regions.grid.window == Window(row=300, col=200, height=500, width=500)
    assert plan.n_tiles == 25
    corners = [(200.5, 300.5), (640.0, 300.5), (200.5, 799.5)]
    half = daskmr.plan(
        image(tmp_path / "y.tif"), "blobs", tile_size=100, overlap=0, roi=area(*corners)
    )
    boxes = shapely.box(*half.regions.grid.boxes().T)
    inside = shapely.area(shapely.intersection(boxes, shapely.Polygon(corners))) > 0.5
    assert half.n_tiles == half.selection.mask.sum() == inside.sum()
    assert 0 < half.n_tiles < half.selection.mask.size


def test_a_small_area_still_gets_a_full_tile_of_real_pixels(tmp_path: Path) -> None:
    path = image(tmp_path / "x.tif")
    roi = area((5, 600), (15, 600), (15, 610), (5, 610))
    plan = daskmr.plan(path, "blobs", tile_size=256, overlap=16, roi=roi)
    assert plan.regions.grid.window == Window(row=477, col=0, height=256, width=256)
    assert plan.n_tiles == 1


def test_an_area_that_cannot_be_used_is_refused(tmp_path: Path) -> None:  # R5
    outside = area((-200, -200), (-150, -200), (-150, -150))
    with pytest.raises(RequestError, match="outside"):
        daskmr.plan(image(tmp_path / "x.tif"), "blobs", roi=outside)
    plain = write_image(tmp_path / "y.tif", np.zeros((1, 50, 50), np.uint8))
    with pytest.raises(RequestError, match="no georeferencing"):
        daskmr.plan(plain, "blobs", roi=outside)


def test_tiles_that_the_file_stores_nothing_for_are_skipped(tmp_path: Path, client: Any) -> None:
    profile = {
        "driver": "GTiff",
        "height": 2048,
        "width": 2048,
        "count": 1,
        "dtype": "uint8",
        "nodata": 0,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "sparse_ok": True,
        "crs": UTM,
        "transform": HALF_METRE,
    }
    path = tmp_path / "x.tif"
    with writing(path, profile) as write:
        write(1024, 512, np.ones((1, 256, 256), np.uint8))
        write(0, 1792, np.zeros((1, 10, 10), np.uint8))  # stored, but nodata all the same
    plan = daskmr.plan(path, "centerpoint", tile_size=256, overlap=0)
    assert (plan.n_tiles, plan.n_skipped) in {(64, 62), (64, 63)}
    report = daskmr.run(plan, client=client).report
    assert report.outcomes == {"SUCCEEDED": 1, "SKIPPED": 63}
    assert report.reasons == {"NODATA": 63}
    full = daskmr.run(
        path, "centerpoint", tile_size=256, overlap=0, skip_nodata=False, client=client
    )
    assert full.report.outcomes == {"SUCCEEDED": 64}


def test_empty_blocks_without_a_nodata_value_are_pixels(tmp_path: Path) -> None:
    path = write_sparse(tmp_path / "x.tif", height=1000, width=1000)
    assert daskmr.plan(path, "blobs", tile_size=512).n_skipped == 0


def test_masked_out_tiles_are_skipped(tmp_path: Path, client: Any) -> None:
    pixels = np.full((4, 256, 512), 9, np.uint8)
    pixels[3, :, :256] = 0
    path = write_image(tmp_path / "x.tif", pixels, photometric="RGB", alpha="yes")
    report = daskmr.run(path, "centerpoint", tile_size=256, overlap=0, client=client).report
    assert report.outcomes == {"SUCCEEDED": 1, "SKIPPED": 1}


def test_a_job_without_anything_to_run_is_a_success(tmp_path: Path, client: Any) -> None:  # Z17
    path = write_sparse(tmp_path / "x.tif", height=600, width=600, nodata=0)
    result = daskmr.run(path, "centerpoint", tile_size=256, client=client)
    assert result.report.status == "SUCCESS"
    assert result.report.outcomes == {"SKIPPED": result.report.n_tiles}
    assert len(result.features) == 0


@pytest.mark.parametrize(
    ("dtype", "options", "named"),
    [
        ("float32", {"tile_format": "JPEG"}, "float32"),
        ("float32", {"tile_format": "PNG"}, "float32"),
        ("uint16", {"tile_compression": "JPEG"}, "uint16"),
        ("uint8", {"tile_format": "NITF", "tile_compression": "ZSTD"}, "ZSTD"),
    ],
)
def test_tiles_that_cannot_be_encoded_are_refused_for_endpoints(
    dtype: str, options: dict[str, Any], named: str, tmp_path: Path
) -> None:
    path = image(tmp_path / "x.tif", height=64, width=64, dtype=dtype)
    with pytest.raises(RequestError, match=named):
        daskmr.plan(path, REMOTE, tile_size=64, **options)


def test_a_plan_knows_the_size_of_a_payload(tmp_path: Path) -> None:
    path = image(tmp_path / "x.tif")
    plan = daskmr.plan(path, REMOTE, tile_size=512)
    assert 512 * 512 * 3 <= plan.payload_bytes < 512 * 512 * 3 * 1.1
    assert daskmr.plan(path, "blobs", tile_size=512).payload_bytes == 0


def test_jobs_of_too_many_or_too_large_tiles_are_refused_by_number(tmp_path: Path) -> None:
    path = write_sparse(tmp_path / "x.tif", height=100_000, width=100_000)
    with pytest.raises(RequestError, match="6,250,000 tiles"):
        daskmr.plan(path, "blobs", tile_size=40, overlap=0)
    with pytest.raises(RequestError, match="1,600,000,000 bytes"):
        daskmr.plan(path, "blobs", tile_size=40_000, overlap=0)


def test_a_plan_brings_its_own_options(tmp_path: Path) -> None:
    plan = daskmr.plan(image(tmp_path / "x.tif"), "blobs")
    with pytest.raises(RequestError, match=r"^tile_size: a plan brings its model"):
        daskmr.run(plan, tile_size=5)
    with pytest.raises(RequestError, match=r"tile_syze \(did you mean tile_size\?\)"):
        daskmr.plan(tmp_path / "x.tif", "blobs", tile_syze=5)  # type: ignore[arg-type]


def test_an_area_of_interest_may_be_a_file(tmp_path: Path) -> None:
    path = image(tmp_path / "x.tif", height=64, width=64)
    text = shapely.box(-74.1, 40.6, -73.9, 40.8).wkt
    (tmp_path / "area.wkt").write_text(text)
    (tmp_path / "area.geojson").write_text(shapely.to_geojson(shapely.from_wkt(text)))
    plans = [
        daskmr.plan(path, "blobs", tile_size=32, overlap=0, roi=roi)
        for roi in (text, str(tmp_path / "area.wkt"), tmp_path / "area.geojson")
    ]
    assert {plan.n_tiles for plan in plans} == {4}
    missing = str(tmp_path / "no.geojson")
    with pytest.raises(RequestError) as caught:
        daskmr.plan(path, "blobs", roi=missing)
    assert str(caught.value) == (
        f"roi: {missing!r} is neither WKT nor GeoJSON, and there is no such file"
    )
    with pytest.raises(RequestError, match=r"roi: '.*x\.tif' cannot be read as text"):
        daskmr.plan(path, "blobs", roi=str(path))
