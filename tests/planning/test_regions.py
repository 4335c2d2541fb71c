"""How many tiles make a region."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core.grid import Size, TileGrid, Window
from daskmr.core.imagery import ImageInfo
from daskmr.dispatch.graph import halo
from daskmr.planning.regions import STRIP_BYTES, plan_regions


def image(height: int, width: int, *, bands: int = 3, dtype: str = "uint8") -> ImageInfo:
    return ImageInfo(url="x", height=height, width=width, bands=bands, dtype=dtype, driver="GTiff")


def grid(info: ImageInfo, tile: int, overlap: int) -> TileGrid:
    return TileGrid(
        window=Window(row=0, col=0, height=info.height, width=info.width),
        tile=Size.parse(tile),
        overlap=Size.parse(overlap),
    )


@pytest.mark.parametrize(
    ("size", "tile", "overlap"),
    [(512, 512, 64), (8192, 512, 64), (30_000, 512, 128), (200_000, 512, 128), (600_000, 512, 128)],
)
def test_jobs_of_any_size_have_few_regions_that_fit_into_memory(
    size: int, tile: int, overlap: int
) -> None:
    info = image(size, size, bands=4, dtype="uint16")
    made = grid(info, tile, overlap)
    regions = plan_regions(made, info)
    n_rows, n_cols = regions.shape
    assert n_rows * n_cols <= 2 * 2000
    widest = max(made.region_window(r).width for r in regions)
    assert widest * tile * 4 * 2 <= STRIP_BYTES or regions.tiles_per_side.width == 1


def test_small_jobs_still_have_regions_for_several_workers() -> None:
    info = image(5000, 5000)
    n_rows, n_cols = plan_regions(grid(info, 512, 64), info).shape
    assert n_rows * n_cols >= 16


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(16, 1500), st.floats(0, 0.999))
def test_regions_of_arrays_span_their_halo(
    height: int, width: int, tile: int, share: float
) -> None:
    info = image(height, width)
    made = grid(info, tile, int(tile * share * 0.95))
    if made.shape[0] * made.shape[1] > 20_000:
        return
    regions = plan_regions(made, info, whole=True)
    down, right = halo(regions)
    heights, widths = regions.cores()
    assert min(heights) >= down
    assert min(widths) >= right
    for region in regions:
        window = made.region_window(region)
        assert window.height <= heights[region.row] + down
        assert window.width <= widths[region.col] + right
