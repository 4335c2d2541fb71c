"""The same per-tile answers give the same result, however the work is split."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import daskmr
from daskmr.core.grid import RegionGrid, Size
from daskmr.testing.scene import SyntheticScene

TIMELESS = ["feature_id", "label", "score", "tile_row", "tile_col", "classes", "properties"]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    SyntheticScene(size=1500).write(path)
    return path


def facts(result: Any) -> tuple[object, ...]:
    """Everything of a result but the time."""
    table = result.features
    return (
        table[TIMELESS].to_dict("list"),
        table.image_bbox.tolist(),
        table.geometry.to_wkb().tolist(),
        result.pixels.geometry.to_wkb().tolist(),
        result.report.outcomes,
    )


OPTIONS: dict[str, Any] = {"tile_size": 300, "overlap": 60, "iou": 0.3}


def test_any_region_size_gives_the_same_result(scene: Path, client: Any) -> None:
    plan = daskmr.plan(scene, "blobs", **OPTIONS)
    results = []
    for high, wide in [(1, 1), (2, 3), (99, 99)]:
        regions = RegionGrid(grid=plan.regions.grid, tiles_per_side=Size(height=high, width=wide))
        results.append(facts(daskmr.run(replace(plan, regions=regions), client=client)))
    assert results[0] == results[1] == results[2]
    assert len(results[0][1]) > 30  # type: ignore[arg-type]


def test_arrays_give_what_the_file_gives(scene: Path, client: Any) -> None:
    image = daskmr.open_image(scene)
    expected = facts(daskmr.run(image, "blobs", **OPTIONS, client=client))
    lazy = image.data.chunk({"band": -1, "y": 217, "x": 333})
    assert facts(daskmr.run(lazy, "blobs", **OPTIONS, client=client)) == expected
    assert facts(daskmr.run(image.data.compute(), "blobs", **OPTIONS, client=client)) == expected


@pytest.mark.parametrize("overlap", [0, 37, 250, 299])
def test_arrays_give_what_the_file_gives_at_any_overlap(
    overlap: int, scene: Path, client: Any
) -> None:
    options: dict[str, Any] = {"tile_size": 300, "overlap": overlap, "merge": "none"}
    image = daskmr.open_image(scene)
    n_rows, n_cols = (310, 330) if overlap == 299 else (500, 640)  # a tile at every pixel
    small = image.data.isel(y=slice(0, n_rows), x=slice(0, n_cols))
    first = daskmr.run(small, "centerpoint", **options, client=client)
    second = daskmr.run(small.compute(), "centerpoint", **options, client=client)
    grid = daskmr.plan(small, "centerpoint", **options).regions.grid
    assert first.report.outcomes == {"SUCCEEDED": grid.shape[0] * grid.shape[1]}
    assert facts(first) == facts(second)


def test_derived_arrays_run_like_files(client: Any) -> None:
    pixels = da.zeros((2, 400, 600), chunks=(1, 130, 170), dtype="float32") + 5
    ratio = xr.DataArray(pixels, dims=("band", "y", "x"))
    result = daskmr.run(ratio / (ratio + 1), "centerpoint", tile_size=128, overlap=8, client=client)
    assert result.report.outcomes == {"SUCCEEDED": result.report.n_tiles}
    assert result.features.crs is None
    assert any("pixel" in warning for warning in result.report.warnings)


def test_opening_and_planning_compute_nothing() -> None:
    def poisoned(block: np.ndarray) -> np.ndarray:
        raise AssertionError(block.shape)

    pixels = da.zeros((3, 2000, 2000), chunks=(3, 500, 500), dtype="uint8").map_blocks(
        poisoned, meta=np.empty((0, 0, 0), "uint8")
    )
    plan = daskmr.plan(xr.DataArray(pixels, dims=("band", "y", "x")), "blobs", tile_size=256)
    assert plan.n_tiles == 100
    assert "100 of 256x256" in str(plan)
    assert "100 of 256x256" in plan._repr_html_()
    assert plan.data.shape == (3, 2000, 2000)
    assert plan.data.chunks[1:] == plan.regions.cores()
