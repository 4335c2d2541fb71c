"""Detected radar images on a plane, whole and cut out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import polynomial as npp

from daskmr.core.imagery import ImageInfo
from daskmr.geolocate import pick
from daskmr.geolocate.base import SensorModel
from daskmr.geolocate.chip import ChippedModel
from daskmr.geolocate.corners import CornersModel
from daskmr.geolocate.radar.metadata_xml import Branch
from daskmr.geolocate.sicd import SicdModel, radar
from daskmr.geolocate.sidd import SiddModel, chip
from daskmr.testing.contracts_geolocate import (
    SAR_CENTRE,
    SAR_SIZE,
    SensorModelContract,
    sicd_xml,
    sidd_xml,
)

WIDTH, HEIGHT = SAR_SIZE
INFO = ImageInfo(
    url="/images/a.ntf",
    height=HEIGHT,
    width=WIDTH,
    bands=1,
    dtype="uint8",
    driver="NITF",
    sar=sidd_xml(),
)
TO_CARTESIAN = pyproj.Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)


def cut(
    upper_left: tuple[float, float],
    *,
    size: tuple[int, int],
    across: tuple[float, float],
    down: tuple[float, float],
) -> ImageInfo:
    """A chip that starts at a row and column, by steps in rows and columns a pixel."""
    steps = np.array([across, down])
    corners = {
        "UpperLeft": (0, 0),
        "UpperRight": (size[0] - 1, 0),
        "LowerLeft": (0, size[1] - 1),
        "LowerRight": (size[0] - 1, size[1] - 1),
    }
    text = (
        f"<GeometricChip><ChipSize><si:Row>{size[1]}</si:Row><si:Col>{size[0]}</si:Col></ChipSize>"
    )
    for name, n in corners.items():
        row, col = np.array(upper_left) + n @ steps
        text += f"<Original{name}Coordinate><si:Row>{row!r}</si:Row><si:Col>{col!r}</si:Col>"
        text += f"</Original{name}Coordinate>"
    text = (text + "</GeometricChip>").replace("np.float64(", "").replace(")", "")
    return replace(INFO, width=size[0], height=size[1], sar=sidd_xml(chip=text))


HALVED = cut((100.0, 200.0), size=(300, 200), across=(0.0, 2.0), down=(2.0, 0.0))
TURNED = cut((100.0, 900.0), size=(300, 200), across=(1.0, 0.0), down=(0.0, -1.0))


class TestWhole(SensorModelContract):
    def info(self) -> ImageInfo:
        return INFO

    def make(self) -> SensorModel:
        found = SiddModel.from_image(self.info())
        assert found is not None
        return found


class TestHalved(SensorModelContract):
    def info(self) -> ImageInfo:
        return HALVED

    def make(self) -> SensorModel:
        found = ChippedModel.from_image(self.info())
        assert found is not None
        return found


class TestTurned(TestHalved):
    def info(self) -> ImageInfo:
        return TURNED


def test_the_reference_point_lies_where_it_is_said() -> None:
    # Column 610, row 390.5, counted from the centre of the first pixel.
    found = TestWhole().make()
    np.testing.assert_allclose(found.to_world(np.array([[610.5, 391.0]])), [SAR_CENTRE], atol=1e-9)


def test_every_point_is_as_far_and_as_fast_as_the_slow_way_says() -> None:
    plane = Branch.parse(INFO.sar).at("Measurement/PlaneProjection")
    centre, row, col = (
        np.array(plane.vector(path))
        for path in (
            "ReferencePoint/ECEF",
            "ProductPlane/RowUnitVector",
            "ProductPlane/ColUnitVector",
        )
    )
    measured = Branch.parse(INFO.sar).at("Measurement")
    track = np.array([measured.polynomial(f"ARPPoly/{axis}") for axis in "XYZ"]).T
    pixels = np.array([[0.0, 0.0], [1200.0, 0.0], [77.3, 641.9], [1200.0, 800.0]])
    world = TestWhole().make().to_world(pixels, np.array([0.0, 500.0, -450.0, 8850.0]))
    for pixel, point in zip(pixels, world, strict=True):
        # Times are told over metres from the reference point, not over pixels.
        x, y = (pixel[1] - 391.0) * 0.7, (pixel[0] - 610.5) * 0.9
        time = npp.polyval2d(x, y, np.array(plane.polynomial2("TimeCOAPoly")))
        arp, varp = npp.polyval(time, track), npp.polyval(time, npp.polyder(track))
        there = arp - (centre + x * row + y * col)
        here = arp - np.array(TO_CARTESIAN.transform(*point))
        assert np.linalg.norm(here) == pytest.approx(np.linalg.norm(there), abs=1e-6, rel=0)
        rates = varp @ here / np.linalg.norm(here), varp @ there / np.linalg.norm(there)
        assert rates[0] == pytest.approx(rates[1], abs=1e-8, rel=0)


@given(
    x=st.integers(0, 1000), y=st.integers(0, 700), step=st.integers(1, 4), height=st.floats(0, 9e3)
)
def test_a_chip_is_the_shift_of_the_whole(*, x: int, y: int, step: int, height: float) -> None:
    info = cut((y, x), size=(60, 40), across=(0.0, step), down=(step, 0.0))
    found, note = pick(info)
    assert isinstance(found, ChippedModel)
    assert note == ""
    pixels = np.array([[0.5, 0.5], [59.5, 39.5], [10.0, 20.0]])
    level = np.full(3, height)
    # Centre on centre: a pixel of the chip is a pixel of the whole, of which some are left out.
    whole = (pixels - 0.5) * step + [x + 0.5, y + 0.5]
    np.testing.assert_allclose(
        found.to_world(pixels, level), TestWhole().make().to_world(whole, level), atol=1e-11
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1, 40), (2.0, 0.0, 4.0, 0.0, 2.0, 9.0)),
        ((60, 1), (2.0, 0.0, 4.0, 0.0, 2.0, 9.0)),
        ((1, 1), None),
    ],
)
def test_a_chip_of_one_line_is_as_wide_as_it_is_long(
    size: tuple[int, int], expected: tuple[float, ...] | None
) -> None:
    info = cut((9.5, 4.5), size=size, across=(0.0, 2.0), down=(2.0, 0.0))
    if expected is None:
        found, note = pick(info)
        assert found is None
        assert (
            note
            == "SIDD with a GeometricChip of one pixel cannot be used; results are in pixels only"
        )
    else:
        assert chip(info) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("PlaneProjection", "PolynomialProjection", "SIDD with PolynomialProjection"),
        ("PlaneProjection", "GeographicProjection", "SIDD with GeographicProjection"),
        ("PlaneProjection", "CylindricalProjection", "SIDD with CylindricalProjection"),
        ("<si:Row>800", "<si:Row>801", "SIDD of 1200 x 801 pixels"),
        ("ARPPoly", "ARP", "SIDD without Measurement/ARPPoly/X"),
        ("<si:Row>0.7<", "<si:Row>-1<", "SIDD of rows and columns (-1.0, 0.9) m apart"),
    ],
)
def test_what_cannot_be_used_is_told(old: str, new: str, said: str) -> None:
    found, note = pick(replace(INFO, sar=INFO.sar.replace(old, new)))
    assert found is None
    assert note.startswith(said)
    assert note.endswith("cannot be used; results are in pixels only")


def test_a_chip_that_is_no_affine_transform_is_refused() -> None:
    text = HALVED.sar.replace(
        "LowerRightCoordinate><si:Row>498.0", "LowerRightCoordinate><si:Row>490"
    )
    found, note = pick(replace(HALVED, sar=text))
    assert text != HALVED.sar
    assert found is None
    assert note.startswith("SIDD with a GeometricChip that is no affine transform")


def test_other_models_are_none_of_its_business() -> None:
    assert SiddModel.from_image(replace(INFO, sar="")) is None
    assert SiddModel.from_image(replace(INFO, sar=sicd_xml("PLANE"))) is None
    assert SicdModel.from_image(INFO) is None
    assert ChippedModel.from_image(INFO) is None
    assert chip(replace(INFO, sar="")) is None
    assert not isinstance(TestWhole().make(), CornersModel)


def test_published_points(imagery: Path) -> None:  # S5
    text = (imagery / "sar_xml" / "example.sidd.xml").read_text(encoding="utf-8")
    found = SiddModel.from_image(replace(INFO, width=15327, height=15328, sar=text))
    assert found is not None
    pixels = np.array([[0, 0], [512, 512], [15327, 15328]]) + 0.5
    world = np.array(
        [
            [31.667669998, 29.96044952, 420.2015],
            [31.666750952, 29.958944256, 420.1203],
            [31.640167226, 29.915384996, 420.2017],
        ]
    )
    np.testing.assert_allclose(found.to_world(pixels, world[:, 2]), world, rtol=0, atol=2e-8)


def test_a_product_was_seen_when_its_source_was(imagery: Path) -> None:
    """The same collection as SICD and SIDD: the same place was seen at the same time."""
    from daskmr.geolocate.radar.pixel_grids import evaluate2
    from daskmr.image import open_image

    product, _ = pick(open_image(imagery / "sidd" / "cropped_sidd.nitf").info)
    assert isinstance(product, ChippedModel)
    assert isinstance(product.model, SiddModel)
    source = radar(Branch.parse(open_image(imagery / "sicd" / "cropped_sicd_100.nitf").info.sar))
    derived = product.model.radar
    pixels = np.array([[0.0, 0.0], [6000.0, 7000.0], [13000.0, 14000.0]])
    world = derived.to_world(pixels, None)
    times = [
        evaluate2(one.time, *one._place(at))
        for one, at in ((derived, pixels), (source, source.to_image(world)))
    ]
    np.testing.assert_allclose(times[0], times[1], atol=1e-6)
