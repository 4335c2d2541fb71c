from dataclasses import replace

import pytest

from daskmr.core.imagery import ImageInfo
from daskmr.errors import ImageError
from daskmr.geolocate import SENSOR_MODELS, pick
from daskmr.geolocate.affine import AffineModel

UTM = (0.5, 0.0, 600_000.0, 0.0, -0.5, 5_000_000.0)
PLACED = ImageInfo(
    url="/images/a.tif",
    height=80,
    width=120,
    bands=1,
    dtype="uint8",
    driver="GTiff",
    crs="EPSG:32631",
    transform=UTM,
)
BARE = replace(PLACED, crs=None, transform=None)


def test_every_listed_model_is_there() -> None:
    assert [SENSOR_MODELS.load(name) for name in SENSOR_MODELS.builtin] == [AffineModel]


def test_a_transform_and_a_crs_give_the_affine_model_without_a_word() -> None:
    expected = AffineModel(transform=UTM, crs="EPSG:32631", centre=(60.0, 40.0))
    assert pick(PLACED) == (expected, "")


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (BARE, "the image has no georeferencing"),
        (replace(BARE, crs="EPSG:4326"), "the image has no georeferencing"),
        (replace(BARE, transform=UTM), "the image has a transform but no CRS"),
        (replace(BARE, has_rpcs=True), "RPCs are present but not supported yet"),
        (replace(BARE, n_gcps=210), "210 GCPs are present but not supported yet"),
        (
            replace(BARE, n_gcps=4, has_rpcs=True),
            "RPCs and 4 GCPs are present but not supported yet",
        ),
        (replace(PLACED, crs="IAU_2015:49910"), "the CRS does not place pixels on the Earth"),
    ],
)
def test_without_a_model_the_reason_is_told(info: ImageInfo, reason: str) -> None:
    assert pick(info) == (None, f"{reason}; results are in pixels only")


def test_better_metadata_that_goes_unused_is_told() -> None:
    model, note = pick(replace(PLACED, has_rpcs=True))
    assert isinstance(model, AffineModel)
    assert note == "RPCs are not supported yet; positions come from the transform and CRS"


def test_georeferencing_that_makes_no_sense_is_an_error() -> None:
    with pytest.raises(ImageError, match="not invertible"):
        pick(replace(PLACED, transform=(0.0, 0.0, 1.0, 0.0, 0.0, 2.0)))
