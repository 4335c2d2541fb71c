"""Areas of interest: every form, every refusal, and the cases R of the ancestor."""

from contextlib import suppress
from time import perf_counter
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from daskmr.core.grid import Window
from daskmr.core.roi import parse_roi, roi_window
from daskmr.errors import RequestError

BOX = shapely.box(10, 50, 11, 51)
BOW_TIE = shapely.from_wkt("POLYGON ((0 0, 2 2, 2 0, 0 2, 0 0))")
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
    assert found.equals(BOX)
    assert found.geom_type == "Polygon"


def test_heights_are_kept_and_say_nothing_about_pixels() -> None:  # R6
    found = parse_roi(shapely.force_3d(shapely.box(0, 0, 80, 80), 10.0))
    assert set(shapely.get_coordinates(found, include_z=True)[:, 2]) == {10.0}
    window = roi_window(shapely.force_3d(shapely.box(0, 0, 101, 101), 10.0), height=101, width=101)
    assert window == Window(row=0, col=0, height=101, width=101)


def test_holes_and_parts_are_kept_and_bow_ties_mended() -> None:
    holed = shapely.box(0, 0, 4, 4).difference(shapely.box(1, 1, 2, 2))
    assert parse_roi(holed.wkt).area == 15
    two = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(5, 5, 6, 6)])
    assert parse_roi(two).area == 2
    assert parse_roi(BOW_TIE.wkt).area == 2


def test_several_polygons_mean_their_union() -> None:
    parts = [BOW_TIE, shapely.box(0, 0, 1.5, 1.5), shapely.box(5, 5, 6, 6)]
    expected = shapely.unary_union([shapely.make_valid(part) for part in parts])
    features = [
        {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(part)}
        for part in parts
    ]
    empty: dict[str, Any] = {"type": "Feature", "properties": {}, "geometry": None}
    collection = {"type": "FeatureCollection", "features": [*features, empty]}
    for value in (collection, gpd.GeoSeries([*parts, None], crs="EPSG:4326")):
        found = parse_roi(value)
        assert found.is_valid
        assert found.equals(expected)


def test_a_mosaic_of_squares_side_by_side_is_one_area() -> None:
    squares = [shapely.box(x, y, x + 1, y + 1) for x in range(50) for y in range(40)]
    assert parse_roi(gpd.GeoSeries(squares, crs="EPSG:4326")).equals(shapely.box(0, 0, 50, 40))


@pytest.mark.parametrize(
    "points",
    [
        np.random.default_rng(7).random((9_999, 2)) * 80,
        np.stack([np.random.default_rng(7).random(2_000) * 80, np.arange(2_000) == 0], axis=1),
    ],
)
def test_a_scribble_is_refused_before_it_costs_time(points: NDArray[np.float64]) -> None:
    start = perf_counter()
    with pytest.raises(RequestError, match="cross each other"):
        parse_roi(shapely.Polygon(points))
    assert perf_counter() - start < 5


def nested_features(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "Feature", "geometry": None}
    for _ in range(depth):
        found = {"type": "Feature", "geometry": found}
    return found


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
        ('{"type": "FeatureCollection", "features": [' * 50_000, "JSON"),
        (nested_features(50_000), "nested"),
        ({"type": "FeatureCollection", "features": []}, "empty"),
        ({"type": "FeatureCollection", "features": [5]}, "GeoJSON"),
        ({"type": "FeatureCollection"}, "GeoJSON"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [float("nan"), 0], [1, 1]]]}, "GeoJSON"),
        (
            {
                "type": "FeatureCollection",
                "features": [GEOJSON, {"type": "Point", "coordinates": [10, 50]}],
            },
            "Point",
        ),
        ("GEOMETRYCOLLECTION (" * 200_000, "GeometryCollection"),
        ("CURVEPOLYGON (CIRCULARSTRING (0 0, 4 0, 4 4, 0 4, 0 0))", "WKT"),
        ("POLYGON ((0 0, nan 1, 1 1, 0 0))", "nan"),
        ("POLYGON ((0 0, 1e400 1, 1 1, 0 0))", "inf"),
        ("\ud800", "WKT"),
        (b"\x01\x02\x03\x04", "neither"),
        ("0,0,inf,1", "inf"),
        ((1, 2, 3), "(1, 2, 3)"),
        ((11, 50, 10, 51), "west"),
        (5, "int"),
        (None, "NoneType"),
        (gpd.GeoSeries([BOX]), "CRS"),
        (gpd.GeoSeries([BOX], crs='LOCAL_CS["hall",UNIT["metre",1]]'), "hall"),
        (gpd.GeoDataFrame({"a": [1]}), "CRS"),
        (gpd.GeoSeries([], crs="EPSG:4326"), "empty"),
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
        ((-1e300, -1e300, 1e300, 1e300), (0, 0, 101, 101)),
        ((20, -np.inf, 30, np.inf), (0, 20, 10, 101)),
        ((10.3, 10.3, 10.4, 10.4), (10, 10, 1, 1)),
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


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["type", "coordinates", "features", "geometry"]),
            st.one_of(inner, st.sampled_from(["Polygon", "Feature", "FeatureCollection"])),
        ),
    ),
    max_leaves=10,
)


@given(st.one_of(json_values, st.text("POLYGN MUT(),.0123 EZ{}-", max_size=40)))
def test_whatever_comes_is_an_area_or_one_error(value: object) -> None:
    with suppress(RequestError):
        found = parse_roi(value)
        assert found.is_valid
        assert found.area > 0


def test_an_error_calls_the_value_by_its_field() -> None:
    with pytest.raises(RequestError, match=r"^regionOfInterest: 'POINT "):
        parse_roi("POINT (1 2)", field="regionOfInterest")


edges = st.floats(-300, 300)


@given(edges, edges, st.floats(0.01, 300), st.floats(0.01, 300))
def test_the_pixel_box_is_the_smallest_that_holds_the_area(
    x: float, y: float, width: float, height: float
) -> None:
    area = shapely.box(x, y, x + width, y + height)
    inside = area.intersection(shapely.box(0, 0, 100, 120))
    found = roi_window(area, height=120, width=100)
    if found is None:
        assert inside.area < 1e-3
        return
    x_min, y_min, x_max, y_max = inside.bounds
    assert 0 <= found.col <= x_min + 1e-6 < found.col + 1
    assert 0 <= found.row <= y_min + 1e-6 < found.row + 1
    assert found.col_stop - 1 < x_max - 1e-6 <= found.col_stop <= 100
    assert found.row_stop - 1 < y_max - 1e-6 <= found.row_stop <= 120
