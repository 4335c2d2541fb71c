"""Areas of interest: every form, every refusal, and the cases R of the ancestor."""

import geopandas as gpd
import pytest
import shapely

from daskmr.core.grid import Window
from daskmr.core.roi import parse_roi, roi_window
from daskmr.errors import RequestError

BOX = shapely.box(10, 50, 11, 51)
GEOJSON = {"type": "Polygon", "coordinates": [[[10, 50], [11, 50], [11, 51], [10, 51], [10, 50]]]}


@pytest.mark.parametrize(
    "value",
    [
        BOX,
        BOX.wkt,
        f"  {BOX.wkt} ",
        "10, 50, 11, 51",
        (10, 50, 11, 51),
        GEOJSON,
        shapely.to_geojson(BOX),
        {"type": "Feature", "properties": {}, "geometry": GEOJSON},
        {
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "properties": None, "geometry": GEOJSON}],
        },
        gpd.GeoSeries([BOX], crs="EPSG:4326"),
        gpd.GeoDataFrame(geometry=[BOX], crs="EPSG:4326").to_crs("EPSG:4258"),
        "POLYGON Z ((10 50 5, 11 50 5, 11 51 5, 10 51 5, 10 50 5))",
    ],
)
def test_every_form_means_the_same_area(value: object) -> None:
    found = parse_roi(value)
    assert not found.has_z
    assert found.equals(BOX)


def test_holes_and_parts_are_kept_and_bow_ties_mended() -> None:
    holed = shapely.box(0, 0, 4, 4).difference(shapely.box(1, 1, 2, 2))
    assert parse_roi(holed.wkt).area == 15
    two = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(5, 5, 6, 6)])
    assert parse_roi(two).area == 2
    assert parse_roi("POLYGON ((0 0, 2 2, 2 0, 0 2, 0 0))").area == 2


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("POLYGON ((", "POLYGON (("),
        ("POINT (1 2)", "Point"),
        ("LINESTRING (0 0, 1 1)", "LineString"),
        ("POLYGON EMPTY", "empty"),
        ("POLYGON ((0 0, 1 1, 2 2, 0 0))", "without area"),
        ("POLYGON ((0 100, 1 100, 1 101, 0 100))", "order lon, lat"),
        ("POLYGON ((500 0, 501 0, 501 1, 500 0))", "500"),
        ("{nonsense", "JSON"),
        ('{"type": "Nonsense"}', "GeoJSON"),
        ((1, 2, 3), "(1, 2, 3)"),
        ((11, 50, 10, 51), "west"),
        (5, "int"),
        (None, "NoneType"),
        (gpd.GeoSeries([BOX]), "CRS"),
        (shapely.Point(0, 0).buffer(1, quad_segs=3000), "vertices"),
    ],
)
def test_what_is_no_area_is_refused_by_name(value: object, named: str) -> None:
    with pytest.raises(RequestError, match=r"^roi: ") as caught:
        parse_roi(value)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("corners", "window"),
    [
        ((0, 0, 101, 101), (0, 0, 101, 101)),  # R2
        ((-10, -10, 50, 50), (0, 0, 50, 50)),  # R3
        ((10, 15, 70, 90), (15, 10, 60, 75)),  # R4: row, col, width, height
        ((-200, -200, -150, -150), None),  # R5
        ((10.0 - 1e-9, 15 + 1e-9, 70.0 + 1e-9, 90), (15, 10, 60, 75)),
        ((10.5, 15.5, 69.1, 89.1), (15, 10, 60, 75)),
        ((101, 0, 120, 50), None),
    ],
)
def test_the_pixel_box_of_an_area(
    corners: tuple[float, float, float, float], window: tuple[int, int, int, int] | None
) -> None:
    found = roi_window(shapely.box(*corners), height=101, width=101)
    if window is None:
        assert found is None
        return
    row, col, width, height = window
    assert found == Window(row=row, col=col, height=height, width=width)


def test_an_empty_area_has_no_pixel_box() -> None:
    assert roi_window(shapely.Polygon(), height=5, width=5) is None
