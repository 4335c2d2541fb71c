"""Heights that come as one file for each square degree."""

import logging
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from daskmr.errors import RequestError
from daskmr.geolocate.base import Points
from daskmr.geolocate.terrain.dem_tiles import is_tiled, tiles
from daskmr.geolocate.terrain.height_grid import HeightGrid, cut
from daskmr.testing.images import write_image

CELL = 1 / 60
"""Degrees; cells have their centres on whole minutes, and tiles share those on their edges."""


def plane(lon: Points, lat: Points) -> Points:
    """Heights that bilinear interpolation does not change."""
    return 100 + 7 * lon - 3 * lat


def write_tile(folder: Path, lon: int, lat: int, *, name: str = "", cell: float = CELL) -> Path:
    """A tile with the plane's heights, under its SRTM name unless it has another."""
    n = round(1 / cell) + 1
    x, y = lon + np.arange(n) * cell, lat + 1 - np.arange(n) * cell
    heights = plane(*np.meshgrid(np.where(x > 180, x - 360, x), y)).astype(np.float32)
    ns, ew = "NS"[lat < 0], "EW"[lon < 0]
    path = folder / (name or f"{ns}{abs(lat):02}{ew}{abs(lon):03}.tif")
    path.parent.mkdir(exist_ok=True)
    transform = (cell, 0.0, lon - cell / 2, 0.0, -cell, lat + 1 + cell / 2)
    return write_image(path, heights[None], crs="EPSG:4326", transform=transform)


def joined(path: Path | str, ground: list[tuple[float, float]]) -> HeightGrid:
    return cut(str(path), np.array(ground), geoid=None, open_raster=rasterio.open)


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiles around 6 east, 45 north."""
    folder = tmp_path_factory.mktemp("four")
    for lon in (5, 6):
        for lat in (44, 45):
            write_tile(folder, lon, lat)
    return folder


@pytest.mark.parametrize(
    ("pattern", "cell", "name"),
    [  # G10
        ("{ns}{lat}_{ew}{lon}_1arc_v3.tif", (142, 3), "n03_e142_1arc_v3.tif"),
        ("{ns}{lat}_{ew}{lon}_1arc_v3.tif", (-2, -11), "s11_w002_1arc_v3.tif"),
        ("CustomPrefix_{ns}{lat}_{ew}{lon}_?.foo", (0, 0), "CustomPrefix_n00_e000_?.foo"),
        ("s3://dem/{EW}{lon}/{NS}{lat}.dt1", (-180, 59), "s3://dem/W180/N59.dt1"),
        ("{NS}{lat}{EW}{lon}.hgt", (180, -1), "S01W180.hgt"),
    ],
)
def test_tiles_have_the_names_of_their_lower_left_corner(
    pattern: str, cell: tuple[int, int], name: str
) -> None:
    assert is_tiled(pattern)
    assert tiles(pattern, [cell]) == [name]


def test_other_words_in_braces_are_refused() -> None:
    with pytest.raises(RequestError, match=r"n44\{city\} has braces around something else"):
        tiles("{ns}{lat}{city}", [(5, 44)])


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (("N44E005.hgt", "n44_e005_1arc_v3.tif"), "n44_e005_1arc_v3.tif"),
        (("n44e005.dt0", "n44e005.dt2", "notes about n44e005.txt"), "n44e005.dt2"),
        (("e005/n44.dt1", "e005/readme.txt", "e005/n44.dt0"), "e005/n44.dt1"),
        (("E005/N44.DT2",), "E005/N44.DT2"),
        (("e005/n45.dt1", "N44W005.hgt", "S44E005.hgt"), None),
        ((), None),
    ],
)
def test_a_folder_tells_which_tiles_it_has(
    tmp_path: Path, names: tuple[str, ...], best: str | None
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert is_tiled(str(tmp_path))
    expected = [str(tmp_path / best)] if best else []
    assert tiles(str(tmp_path), [(5, 44)]) == expected
    assert tiles(str(tmp_path), [(365, 44)]) == expected


def test_one_raster_is_no_folder(four: Path) -> None:
    assert not is_tiled(str(four / "N44E005.tif"))
    assert not is_tiled("s3://bucket/dem.tif")


@given(
    place=st.tuples(st.floats(5.3, 6.7), st.floats(44.3, 45.7)),
    span=st.floats(0.001, 0.25),
)
def test_tiles_join_without_a_seam(four: Path, *, place: tuple[float, float], span: float) -> None:
    lon, lat = place
    grid = joined(four, [(lon - span, lat - span), (lon + span, lat + span)])
    x, y = np.meshgrid(np.linspace(-span, span, 9) + lon, np.linspace(-span, span, 9) + lat)
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    np.testing.assert_allclose(grid.at(points), plane(*points.T), atol=1e-4)


def test_only_what_lies_under_the_image_is_read(four: Path) -> None:
    grid = joined(four, [(5.9, 44.9), (6.1, 45.1)])
    assert max(grid.heights.shape) < 22


def test_tiles_of_different_sizes_join_on_the_cells_of_the_finest(tmp_path: Path) -> None:
    write_tile(tmp_path, 5, 44)
    write_tile(tmp_path, 6, 44, cell=1 / 120)
    grid = joined(tmp_path, [(5.8, 44.4), (6.2, 44.6)])
    assert grid.transform[0] == pytest.approx(1 / 120)
    points = np.array([[5.85, 44.5], [6.15, 44.5]])
    np.testing.assert_allclose(grid.at(points), plane(*points.T), atol=1e-4)


def test_tiles_join_across_the_antimeridian(tmp_path: Path) -> None:
    write_tile(tmp_path, 179, 10)
    write_tile(tmp_path, -180, 10)
    grid = joined(tmp_path, [(179.9, 10.4), (-179.9, 10.6)])
    assert grid.heights.shape[1] < 30
    points = np.array([[179.95, 10.5], [-179.95, 10.5]])
    np.testing.assert_allclose(grid.at(points), plane(*points.T), atol=1e-3)


def test_where_there_is_no_tile_lies_the_sea(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_tile(tmp_path, 5, 44)
    with caplog.at_level(logging.WARNING, "daskmr.geolocate"):
        grid = joined(tmp_path, [(5.8, 44.5), (6.2, 44.5)])
    found = grid.at(np.array([[5.9, 44.5], [6.15, 44.5]]))
    assert found.tolist() == pytest.approx([100 + 7 * 5.9 - 3 * 44.5, 0.0], abs=1e-4)
    assert [(record.msg, record.__dict__["n_tiles"]) for record in caplog.records] == [
        ("no elevation", 1)
    ]


def test_a_pattern_opens_what_is_there(four: Path) -> None:
    pattern = f"{four}/{{NS}}{{lat}}{{EW}}{{lon}}.tif"
    ground = [(5.9, 44.9), (6.1, 45.1)]
    assert joined(pattern, ground) == joined(four, ground)
    with pytest.raises(RequestError, match=r"has no tile under the image: elevation: .*N10E010"):
        joined(pattern, [(10.5, 10.5)])


def test_a_folder_of_other_places_is_refused(four: Path) -> None:
    with pytest.raises(RequestError, match=r"has no tile under the image$"):
        joined(four, [(10.5, 10.5)])
    with pytest.raises(RequestError, match="does not lie under the image"):
        joined(four, [(np.nan, 10.5)])


def test_a_broken_tile_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "N44E005.tif").write_bytes(b"no raster")
    with pytest.raises(RequestError, match=r"N44E005.tif cannot be read"):
        joined(tmp_path, [(5.5, 44.5)])


def test_tiles_of_metres_are_refused(tmp_path: Path) -> None:
    heights = np.zeros((1, 100, 100), dtype=np.float32)
    transform = (2000.0, 0.0, 250_000.0, 0.0, -2000.0, 5_100_000.0)
    for name in ("N44E005.tif", "N44E006.tif"):
        write_image(tmp_path / name, heights, crs="EPSG:32632", transform=transform)
    with pytest.raises(RequestError, match="has tiles that are not in degrees"):
        joined(tmp_path, [(5.99, 45.5), (6.01, 45.5), (6.01, 44.9)])


def test_real_tiles_are_read(imagery: Path) -> None:
    grid = joined(imagery / "dem", [(5.2, 44.1), (5.3, 44.2)])
    whole = joined(imagery / "dem" / "N44E005.hgt", [(5.2, 44.1), (5.3, 44.2)])
    assert grid == whole
    assert grid.high > 1000  # Mont Ventoux
