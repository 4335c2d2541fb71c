"""Chips of whole images, whose sensor model they keep."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskmr.core.imagery import ImageInfo
from daskmr.geolocate.affine import AffineModel
from daskmr.geolocate.base import SensorModel
from daskmr.geolocate.chip import ChippedModel
from daskmr.geolocate.rpc import RpcModel
from daskmr.testing.contracts_geolocate import SCENE_RPCS, SensorModelContract

WHOLE = RpcModel(rpcs=SCENE_RPCS)
HALVED = (2.0, 0.0, 3000.0, 0.0, 2.0, 1000.0)
TURNED = (0.0, -1.0, 5000.0, 1.0, 0.0, 100.0)
INFO = ImageInfo(
    url="/images/chip.ntf",
    height=1024,
    width=1500,
    bands=1,
    dtype="uint8",
    driver="NITF",
    rpcs=SCENE_RPCS,
    chip=HALVED,
)


class TestHalved(SensorModelContract):
    transform = HALVED

    def info(self) -> ImageInfo:
        return replace(INFO, chip=self.transform)

    def make(self) -> SensorModel:
        return ChippedModel(model=WHOLE, transform=self.transform)


class TestTurned(TestHalved):
    transform = TURNED


def test_published_points_of_a_chip() -> None:
    # Corners 10, 10 to 20, 20 of the whole are 0, 0 to 5, 5 of the chip: 2, 2 is 14, 14.
    whole = AffineModel(transform=(0.1, 0.0, 0.0, 0.0, -0.1, 0.0), crs="EPSG:4326")
    chip = ChippedModel(model=whole, transform=(2.0, 0.0, 10.0, 0.0, 2.0, 10.0))
    np.testing.assert_allclose(chip.to_world(np.array([[2.0, 2.0]])), [[1.4, -1.4, 0]], atol=1e-12)
    np.testing.assert_allclose(chip.to_image(np.array([[1.4, -1.4]])), [[2.0, 2.0]], atol=1e-9)


@given(x=st.floats(0, 7000), y=st.floats(0, 4000), height=st.floats(-100, 2000))
def test_a_shifted_chip_is_the_shift_of_the_whole(*, x: float, y: float, height: float) -> None:
    chip = ChippedModel(model=WHOLE, transform=(1.0, 0.0, x, 0.0, 1.0, y))
    pixels = np.array([[0.0, 0.0], [100.0, 50.0], [512.0, 512.0]])
    level = np.full(3, height)
    np.testing.assert_array_equal(
        chip.to_world(pixels, level), WHOLE.to_world(pixels + np.array([x, y]), level)
    )


@pytest.mark.parametrize("transform", [(1.0, 2.0, 0.0, 2.0, 4.0, 0.0), (np.nan, 0, 0, 0, 1, 0)])
def test_a_chip_without_an_area_is_refused(
    transform: tuple[float, float, float, float, float, float],
) -> None:
    with pytest.raises(ValueError, match="is not invertible"):
        ChippedModel(model=WHOLE, transform=transform)


def test_only_chips_of_images_with_rpcs_are_chips() -> None:
    assert ChippedModel.from_image(replace(INFO, rpcs=None)) is None
    assert ChippedModel.from_image(replace(INFO, chip=None)) is None
