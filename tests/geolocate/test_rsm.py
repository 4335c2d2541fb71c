"""Replacement sensor models: polynomials, sections, frames, and back from the image by solving."""

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
from daskmr.geolocate._sections import Polynomial
from daskmr.geolocate.base import Points, SensorModel
from daskmr.geolocate.chip import ChippedModel
from daskmr.geolocate.rpc import RpcModel
from daskmr.geolocate.rsm import RsmModel
from daskmr.testing.contracts_geolocate import SCENE_RPCS, SensorModelContract, rsm_fields

INFO = ImageInfo(
    url="/images/a.ntf",
    height=800,
    width=1000,
    bands=1,
    dtype="uint8",
    driver="NITF",
    rsm=rsm_fields(),
)
TO_CARTESIAN = pyproj.Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)


class TestGeodetic(SensorModelContract):
    def info(self) -> ImageInfo:
        return INFO

    def make(self) -> SensorModel:
        found = RsmModel.from_image(self.info())
        assert found is not None
        return found


class TestAcrossTheAntimeridian(TestGeodetic):
    def info(self) -> ImageInfo:
        return replace(INFO, rsm=rsm_fields("H", lon=180.001))


class TestRectangular(TestGeodetic):
    def info(self) -> ImageInfo:
        return replace(INFO, rsm=rsm_fields("R", lon=-70.0))


class TestSections(TestGeodetic):
    def info(self) -> ImageInfo:
        return replace(INFO, rsm=rsm_fields("R", n=(3, 2)))


def made(rsm: tuple[tuple[str, str], ...]) -> RsmModel:
    found = RsmModel.from_image(replace(INFO, rsm=rsm))
    assert found is not None
    return found


def slow(rsm: tuple[tuple[str, str], ...], point: Points) -> tuple[float, float]:
    """The pixel of a ground point by the one section of a model, with numpy's polynomials."""
    fields = dict(rsm)
    identity, text = fields["RSMIDA"], fields["RSMPCA"]
    ground = np.array([np.radians(point[0]), np.radians(point[1]), point[2]])
    if identity[319] == "R":
        frame = np.array([float(identity[320 + 21 * i : 341 + 21 * i]) for i in range(12)])
        ground = frame[3:].reshape(3, 3).T @ (np.array(TO_CARTESIAN.transform(*point)) - frame[:3])
    numbers = [float(text[126 + 21 * i : 147 + 21 * i]) for i in range(12)]
    row, col, *offsets, row_scale, col_scale, x_scale, y_scale, z_scale = numbers[2:]
    x, y, z = (ground - offsets) / [x_scale, y_scale, z_scale]
    values = []
    for i in range(4):
        start = 378 + i * (6 + 18 * 21)
        assert text[start : start + 6] == "221018"
        terms = [float(text[start + 6 + 21 * k : start + 27 + 21 * k]) for k in range(18)]
        values.append(npp.polyval3d(z, y, x, np.array(terms).reshape(2, 3, 3)))
    return col + col_scale * values[2] / values[3], row + row_scale * values[0] / values[1]


@pytest.mark.parametrize("domain", ["G", "H", "R"])
def test_pixels_are_those_that_the_slow_way_says(domain: str) -> None:
    rsm = rsm_fields(domain)
    world = np.array([[12.0, 48.0, 300.0], [12.009, 48.004, -200.0], [11.992, 47.995, 2000.0]])
    np.testing.assert_allclose(
        made(rsm).to_image(world), [slow(rsm, point) for point in world], atol=1e-7
    )


@pytest.mark.parametrize("domain", ["G", "R"])
def test_heights_are_those_of_the_reference_point(domain: str) -> None:
    # 30 below the middle of the heights, which are 400 m, or 50 m up from 350 m.
    (world,) = made(rsm_fields(domain)).to_world(np.array([[500.0, 400.0]]))
    assert world[2] == pytest.approx(370.0, abs=1e-4)
    np.testing.assert_allclose(
        made(rsm_fields(domain)).to_image(world[None, :2]), [[500.0, 400.0]], atol=1e-6
    )


def test_without_a_reference_point_heights_are_those_of_the_middle() -> None:
    rsm = dict(rsm_fields())
    rsm["RSMIDA"] = rsm["RSMIDA"][:1076] + " " * 63 + rsm["RSMIDA"][1139:]
    (world,) = made(tuple(rsm.items())).to_world(np.array([[500.0, 400.0]]))
    assert world[2] == 400.0


def test_each_section_speaks_of_its_own_pixels() -> None:
    sections, whole = made(rsm_fields(n=(2, 3), shift=0.25)), made(rsm_fields())
    x, y = np.meshgrid([100.0, 500.0, 900.0], [200.0, 600.0])
    pixels = np.stack([x.ravel(), y.ravel()], axis=1)
    world = sections.to_world(pixels)
    # The section i pixels on in their order is off by i / 4 pixels.
    off = np.arange(6)[:, None] / 4
    np.testing.assert_allclose(whole.to_image(world), pixels - off, atol=1e-6)
    np.testing.assert_allclose(sections.to_image(world), pixels, atol=1e-6)


@given(x=st.floats(-50, 1050), y=st.floats(-50, 850), height=st.floats(-450, 8850))
def test_pixels_on_both_sides_of_a_seam_come_back(*, x: float, y: float, height: float) -> None:
    sections = made(SEAMED)
    pixels = np.array([[x, 399.9999], [x, 400.0], [333.3333333, y], [666.7, y]])
    world = sections.to_world(pixels, np.full(4, height))
    np.testing.assert_allclose(sections.to_image(world), pixels, atol=1e-3)


SEAMED = rsm_fields("R", n=(2, 3))


@given(x=st.integers(0, 900), y=st.integers(0, 700), height=st.floats(-450, 8850))
def test_a_chip_is_the_shift_of_the_whole(*, x: int, y: int, height: float) -> None:
    info = replace(INFO, width=100, height=100, chip=(1.0, 0.0, x, 0.0, 1.0, y))
    found, note = pick(info)
    assert isinstance(found, ChippedModel)
    assert (ChippedModel.from_image(info), note) == (found, "")
    pixels, level = np.array([[0.0, 0.0], [100.0, 50.0]]), np.full(2, height)
    np.testing.assert_array_equal(
        found.to_world(pixels, level), made(INFO.rsm).to_world(pixels + np.array([x, y]), level)
    )


def test_polynomials_that_have_folded_over_give_no_answer() -> None:
    found = made(rsm_fields())
    pixels = np.array([[500.0, 400.0], [1e6, 400.0], [500.0, -1e7]])
    assert np.isnan(found.to_world(pixels)).any(axis=1).tolist() == [False, True, True]
    world = np.array([[12.0, 48.0, 400.0], [60.0, 20.0, 400.0], [12.0, 48.0, 4e7]])
    assert np.isnan(found.to_image(world)).any(axis=1).tolist() == [False, True, True]


def test_a_polynomial_has_the_powers_of_x_first() -> None:
    # 1 + 2 x + 3 y + 4 x y + 5 z + ... at x, y, z = 10, 100, 1000
    cubes = Polynomial(terms=(1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 0.0, 6.0), powers=(1, 1, 1))
    place = np.array([10.0]), np.array([100.0]), np.array([1000.0])
    assert cubes.value(place).tolist() == [1 + 20 + 300 + 4000 + 5000 + 6_000_000]


def edited(name: str, place: int, text: str) -> tuple[tuple[str, str], ...]:
    """The fields of a model of two sections, one of them changed."""
    return tuple(
        (found, fields[:place] + text + fields[place + len(text) :] if found == name else fields)
        for found, fields in rsm_fields(n=(1, 2))
    )


ONE = f"{'1.0':21}" + f"{'0.0':21}" * 17
"""A polynomial that is 1 everywhere."""


@pytest.mark.parametrize(
    ("rsm", "said"),
    [
        ((*INFO.rsm, ("RSMGGA", "")), "RSM of ground grids (RSMGGA)"),
        ((*INFO.rsm, ("RSMGIA", "")), "RSM of ground grids (RSMGIA)"),
        ((*INFO.rsm, ("RSMAPA", "")), "RSM with adjustments (RSMAPA)"),
        ((*INFO.rsm, ("RSMAPB_2", "")), "RSM with adjustments (RSMAPB)"),
        (INFO.rsm[1:], "RSM without RSMIDA"),
        (INFO.rsm[:1], "RSM with 0 of 1 sections"),
        (rsm_fields(n=(1, 2))[:-1], "RSM with 1 of 2 sections"),
        ((INFO.rsm[0], ("RSMPCA", "too short")), "RSMPCA of 9 characters"),
        (edited("RSMIDA", 319, "X"), "RSMIDA of a ground domain 'X'"),
        (edited("RSMIDA", 319, "R"), "RSMIDA of a ground domain 'R'"),
        (edited("RSMPCA", 168, f"{'nothing':21}"), "RSMPCA with 'nothing' for a number"),
        (edited("RSMPCA_2", 315, f"{'0.0':21}"), "RSMPCA_2 with a scale of 0"),
        (edited("RSMPCA", 378, "221019"), "RSMPCA with 19 terms for powers (2, 2, 1)"),
        (edited("RSMPIA", 540, "000"), "RSMPIA of 0 x 2 sections of 800.0 x 500.0 pixels"),
        (edited("RSMPCA", 384, f"{ONE}221018{ONE}"), "cannot be solved in its section (1, 1)"),
    ],
)
def test_what_cannot_be_used_is_told(rsm: tuple[tuple[str, str], ...], said: str) -> None:
    found, note = pick(replace(INFO, rsm=rsm))
    assert found is None
    assert said in note
    assert note.endswith("cannot be used; results are in pixels only")


def test_the_next_best_model_takes_over_with_its_chip() -> None:
    chip = (1.0, 0.0, 10.0, 0.0, 1.0, 20.0)
    info = replace(INFO, rsm=(*INFO.rsm, ("RSMGGA", "")), rpcs=SCENE_RPCS, chip=chip)
    found, note = pick(info)
    assert found == ChippedModel(model=RpcModel(rpcs=SCENE_RPCS), transform=chip)
    assert ChippedModel.from_image(info) == found
    assert note == "RSM of ground grids (RSMGGA) cannot be used; positions come from the RPCs"


def test_how_well_it_fits_changes_nothing() -> None:
    found, note = pick(replace(INFO, rsm=(*INFO.rsm, ("RSMDCA", "any"), ("RSMECA", "any"))))
    assert (found, note) == (made(INFO.rsm), "")


def test_published_points(imagery: Path) -> None:  # M1, M2
    from daskmr.image import open_image

    found, _ = pick(open_image(imagery / "rsm" / "i_6130a_truncated.ntf").info)
    assert isinstance(found, RsmModel)
    np.testing.assert_allclose(
        found.to_image(np.array([[-117.03881, 33.16173, -6.7]])), [[0.4789, 1.1226]], atol=1e-4
    )
    pixels = np.array([[0.5, 0.5], [512, 512], [1024, 1024], [2000, 100]])
    world = np.array(
        [
            [-117.038812, 33.16173, -6.75],
            [-117.0368338, 33.1633843, -6.75],
            [-117.0348499, 33.1650439, -6.75],
            [-117.0384145, 33.1681643, -6.75],
        ]
    )
    # The published points are right to 0.1 pixels of some 0.4 m.
    np.testing.assert_allclose(found.to_image(world), pixels, atol=0.11)
    np.testing.assert_allclose(
        found.to_world(pixels, world[:, 2])[:, :2], world[:, :2], rtol=0, atol=5e-7
    )
    grid = np.stack(np.meshgrid(np.linspace(0, 9293, 40), np.linspace(0, 9123, 40)), axis=-1)
    for height in (-450.0, 0.0, 2000.0):
        level = np.full(1600, height)
        back = found.to_image(found.to_world(grid.reshape(-1, 2), level))
        np.testing.assert_allclose(back, grid.reshape(-1, 2), atol=1e-3)
