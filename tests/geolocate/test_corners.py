"""Homographies through four corners."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core.imagery import ControlPoints, ImageInfo
from daskmr.errors import ImageError
from daskmr.geolocate.base import Points, SensorModel
from daskmr.geolocate.corners import CornersModel
from daskmr.testing.contracts_geolocate import SensorModelContract

Pairs = list[tuple[float, float]]


def image(
    pixels: Pairs, ground: Pairs, crs: str = "EPSG:4326", size: tuple[int, int] = (100, 200)
) -> ImageInfo:
    corners = ControlPoints(
        source="GCPs",
        pixels=tuple(pixels),
        ground=tuple((x, y, 0.0) for x, y in ground),
        crs=crs,
    )
    return ImageInfo(
        url="/images/a.ntf",
        height=size[1],
        width=size[0],
        bands=1,
        dtype="uint8",
        driver="NITF",
        corners=corners,
    )


def built(info: ImageInfo) -> CornersModel:
    model = CornersModel.from_image(info)
    assert model is not None
    return model


def placed(info: ImageInfo, pixels: Pairs) -> Points:
    return built(info).to_world(np.array(pixels, dtype=float))


RECTANGLE: Pairs = [(0, 200), (0, 0), (100, 0), (100, 200)]
TAIPEI: Pairs = [(121.48749, 25.0286), (121.68566, 25.01), (121.68595, 24.91148)]
TAIPEI += [(121.48975, 24.92772)]
SQUARE: Pairs = [(0, 0), (2048, 0), (2048, 2048), (0, 2048)]


class TestDegrees(SensorModelContract):
    def info(self) -> ImageInfo:
        return image(SQUARE, TAIPEI, size=(2048, 2048))

    def make(self) -> SensorModel:
        return built(self.info())


class TestOverTheDateLine(TestDegrees):
    def info(self) -> ImageInfo:
        ground: Pairs = [(160.0, 20.0), (-160.0, 20.0), (-160.0, -20.0), (160.0, -20.0)]
        return image(SQUARE, ground, size=(2048, 2048))


class TestAroundThePole(TestDegrees):
    def info(self) -> ImageInfo:
        ground: Pairs = [(45.0, 80.0), (135.0, 80.0), (-135.0, 80.0), (-45.0, 80.0)]
        return image(SQUARE, ground, size=(2048, 2048))


class TestUtm(TestDegrees):
    def info(self) -> ImageInfo:
        ground: Pairs = [(5e5, 5e6), (5.1e5, 5.001e6), (5.11e5, 4.99e6), (4.99e5, 4.992e6)]
        return image(SQUARE, ground, "EPSG:32631", size=(2048, 2048))


def test_a_rectangle_is_divided_evenly() -> None:
    info = image(RECTANGLE, [(10, 10), (10, 30), (20, 30), (20, 10)])
    expected = [[15, 30, 0], [15, 20, 0]]
    np.testing.assert_allclose(placed(info, [(50, 0), (50, 100)]), expected, atol=1e-12)


def test_published_control_points_place_the_middle() -> None:
    pixels: Pairs = [(0.5, 0.5), (10239.5, 0.5), (10239.5, 4095.5), (0.5, 4095.5)]
    ground: Pairs = [
        (121.67722222222223, 13.924722222222222),
        (121.8261111111111, 13.91861111111111),
        (121.8261111111111, 13.858333333333333),
        (121.67722222222223, 13.864166666666666),
    ]
    found = placed(image(pixels, ground, size=(10240, 4096)), [(5120, 2048)])
    np.testing.assert_allclose(found, [[121.7518378, 13.89145147, 0]], rtol=0, atol=1e-6)


def test_published_corners_and_their_middle() -> None:
    info = image(SQUARE, TAIPEI, size=(2048, 2048))
    found = placed(info, [*SQUARE, (1024, 1024)])
    expected = [*TAIPEI, (121.588297702, 24.969108928)]
    np.testing.assert_allclose(found[:, :2], expected, rtol=0, atol=1e-9)


@given(
    order=st.permutations(range(4)),
    moves=st.lists(st.floats(-0.2, 0.2), min_size=8, max_size=8),
)
def test_four_corners_in_any_order_are_hit_exactly(order: list[int], moves: list[float]) -> None:
    ground = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    ground += np.reshape(moves, (4, 2)) + np.array([10, 45])
    pixels: Pairs = [SQUARE[i] for i in order]
    places: Pairs = [(float(ground[i, 0]), float(ground[i, 1])) for i in order]
    info = image(pixels, places, size=(2048, 2048))
    np.testing.assert_allclose(placed(info, SQUARE)[:, :2], ground, rtol=0, atol=1e-9)
    model = built(info)
    np.testing.assert_allclose(model.to_image(model.to_world(np.array(SQUARE))), SQUARE, atol=1e-6)


@pytest.mark.parametrize(
    "ground",
    [
        [(10.0, 50.0)] * 4,
        [(10.0, 50.0), (10.0, 50.0), (10.1, 50.0), (10.1, 50.0)],
        [(10.0, 50.0), (10.1, 50.0), (10.2, 50.0), (10.3, 50.0)],
        [(10.0, 50.0), (10.1, 50.0), (10.0, 49.9), (10.1, 49.9)],  # crossed over
        [(10.0, 50.0), (10.1, 50.0), (10.06, 49.97), (10.0, 49.9)],  # one corner dented in
    ],
)
def test_corners_that_span_no_image_give_no_model(ground: Pairs) -> None:
    assert CornersModel.from_image(image(SQUARE, ground, size=(2048, 2048))) is None


def test_beyond_the_horizon_there_is_no_ground() -> None:
    # Seen aslant: the far edge is three times as long as the near one.
    ground: Pairs = [(9.0, 52.0), (12.0, 52.0), (11.0, 50.0), (10.0, 50.0)]
    model = built(image(SQUARE, ground, size=(2048, 2048)))
    world = model.to_world(np.array([[1024.0, 0.0], [1024.0, -900.0], [1024.0, -1100.0]]))
    assert np.isfinite(world).all(axis=1).tolist() == [True, True, False]


def test_an_image_without_corners_on_the_earth_has_no_such_model() -> None:
    info = image(SQUARE, TAIPEI)
    assert CornersModel.from_image(replace(info, corners=None)) is None
    assert CornersModel.from_image(image(SQUARE, TAIPEI, "")) is None
    assert CornersModel.from_image(image(SQUARE, TAIPEI, "IAU_2015:49910")) is None
    with pytest.raises(ImageError, match="nonsense"):
        CornersModel.from_image(image(SQUARE, TAIPEI, "nonsense"))
