"""The ancestor's integration results: centerpoint and flood, over HTTP and in process."""

from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest

import daskmr
from daskmr.core.grid import Size, TileGrid, Window
from daskmr.models.server import running
from daskmr.testing.images import write_sparse

RING = [
    (281.6, 307.2),
    (259.4297, 294.4),
    (259.4297, 268.8),
    (281.6, 256.0),
    (303.7703, 268.8),
    (303.7703, 294.4),
]
"""E12: the polygon of centerpoint on a tile of 512 x 512, to four decimals."""


def centres(grid: TileGrid, transform: tuple[float, ...], crs: str) -> np.ndarray:
    """lon, lat of pixel (281.6, 281.6) of every tile, straight from pyproj."""
    x = np.array([t.window.col + 281.6 for t in grid.tiles()])
    y = np.array([t.window.row + 281.6 for t in grid.tiles()])
    a, b, c, d, e, f = transform
    to_world = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    lon, lat = to_world.transform(a * x + b * y + c, d * x + e * y + f)
    return np.stack([lon, lat], axis=1)


def test_centerpoint_over_http_gives_every_tile_centre_exactly(image: Path, client: Any) -> None:
    with running("centerpoint") as url:
        result = daskmr.run(
            image, f"{url}/invocations", tile_size=512, overlap=128, merge="nms", client=client
        )
    grid = TileGrid(
        window=Window(row=0, col=0, height=1000, width=1300),
        tile=Size.parse(512),
        overlap=Size.parse(128),
    )
    found = result.features.sort_values(["tile_row", "tile_col"])
    assert result.report.outcomes == {"SUCCEEDED": 12}
    assert len(found) == 12
    expected = centres(grid, (0.5, 0.0, 583_000.0, 0.0, -0.5, 4_507_000.0), "EPSG:32618")
    measured = found[["center_longitude", "center_latitude"]].to_numpy()
    assert np.abs(measured - expected).max() < 1e-9
    origins = [(t.window.col, t.window.row) for t in grid.tiles()]
    rows = zip(origins, found.itertuples(), result.pixels.geometry[found.index], strict=True)
    for (x, y), row, shape in rows:
        box = [x + 204.8, y + 204.8, x + 307.2, y + 307.2]
        assert np.abs(np.array(row.image_bbox) - box).max() < 1e-9
        ring = np.array(shape.exterior.coords)[:6]
        assert np.abs(ring - np.array([x, y]) - np.array(RING)).max() < 1e-4
        assert (row.label, row.score) == ("sample_object", 1.0)


def test_every_world_vertex_is_its_pixel_vertex(image: Path, client: Any) -> None:
    result = daskmr.run(image, "centerpoint", tile_size=512, overlap=64, client=client)
    found = result.features
    assert found.crs == "EPSG:4326"
    to_world = pyproj.Transformer.from_crs("EPSG:32618", "EPSG:4326", always_xy=True)
    for world, pixels in zip(found.geometry, result.pixels.geometry, strict=True):
        x, y = np.array(pixels.exterior.coords).T
        lon, lat = to_world.transform(583_000 + 0.5 * x, 4_507_000 - 0.5 * y)
        assert np.abs(np.array(world.exterior.coords) - np.stack([lon, lat], 1)).max() < 1e-12


@pytest.mark.parametrize("volume", [50])
def test_flood_gives_exactly_its_volume_for_every_tile(
    volume: int, tmp_path: Path, client: Any
) -> None:
    image = write_sparse(tmp_path / "large.tif", height=12438, width=12987, bands=3)
    result = daskmr.run(
        image,
        "flood",
        tile_size=512,
        overlap=128,
        merge="none",
        parameters={"CustomAttributes": f"flood_volume={volume}"},
        client=client,
    )
    assert result.report.n_tiles == 1122
    assert result.report.outcomes == {"SUCCEEDED": 1122}
    assert len(result.features) == 56_100
    assert result.features.feature_id.is_unique
