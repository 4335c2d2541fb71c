"""Complex radar images: circles of range and range rate, compared with a slow way."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial import polynomial as npp

from daskmr.core.imagery import ImageInfo
from daskmr.geolocate import on_terrain, pick
from daskmr.geolocate.base import Points, SensorModel
from daskmr.geolocate.radar.metadata_xml import Branch
from daskmr.geolocate.radar.projection import Radar
from daskmr.geolocate.sicd import SicdModel, radar
from daskmr.testing.contracts_geolocate import (
    SAR_CENTRE,
    SAR_GRIDS,
    SAR_SIZE,
    SensorModelContract,
    sicd_xml,
)
from daskmr.testing.images import write_image

WIDTH, HEIGHT = SAR_SIZE
INFO = ImageInfo(
    url="/images/a.ntf",
    height=HEIGHT,
    width=WIDTH,
    bands=2,
    dtype="float32",
    driver="NITF",
    sar=sicd_xml("PLANE"),
)
TO_CARTESIAN = pyproj.Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)


def model(kind: str, *, left: bool = False) -> SicdModel:
    found = SicdModel.from_image(replace(INFO, sar=sicd_xml(kind, left=left)))
    assert found is not None
    return found


class TestPlane(SensorModelContract):
    kind = "PLANE"
    left = False

    def info(self) -> ImageInfo:
        return replace(INFO, sar=sicd_xml(self.kind, left=self.left))

    def make(self) -> SensorModel:
        return model(self.kind, left=self.left)


class TestXrgycr(TestPlane):
    kind = "XRGYCR"
    left = True


class TestXctyat(TestPlane):
    kind = "XCTYAT"


class TestZeroDoppler(TestPlane):
    kind = "RGZERO"


class TestZeroDopplerToTheLeft(TestPlane):
    kind = "RGZERO"
    left = True


class TestPolar(TestPlane):
    kind = "PFA"


class TestAzimuthCompressed(TestPlane):
    kind = "RGAZCOMP"
    left = True


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("kind", SAR_GRIDS)
def test_the_scene_centre_lies_where_it_is_said(kind: str, *, left: bool) -> None:
    # SCPPixel is column 610, row 390, counted from the centre of the first pixel.
    found = model(kind, left=left)
    np.testing.assert_allclose(found.to_world(np.array([[610.5, 390.5]])), [SAR_CENTRE], atol=1e-9)
    np.testing.assert_allclose(found.to_image(np.array([SAR_CENTRE])), [[610.5, 390.5]], atol=1e-6)
    np.testing.assert_allclose(
        found.to_image(np.array([SAR_CENTRE[:2]])), [[610.5, 390.5]], atol=1e-6
    )


def slow(kind: str, pixel: Points, *, left: bool) -> tuple[Any, Any, Any, Any]:
    """Where the sensor was, how fast it went, range and range rate of a pixel: volume 3, 4.1-4.6.

    One pixel at a time, with nothing but numpy's polynomials.
    """
    sicd = Branch.parse(sicd_xml(kind, left=left))
    x, y = (pixel[1] - 390.5) * 0.8, (pixel[0] - 610.5) * 0.6
    time = npp.polyval2d(x, y, np.array(sicd.polynomial2("Grid/TimeCOAPoly")))
    track = np.array([sicd.polynomial(f"Position/ARPPoly/{axis}") for axis in "XYZ"]).T
    arp, varp = npp.polyval(time, track), npp.polyval(time, npp.polyder(track))
    scp = np.array(sicd.vector("GeoData/SCP/ECF"))
    to_scp = np.linalg.norm(arp - scp)
    rate = varp @ (arp - scp) / to_scp
    if kind == "RGAZCOMP":
        scale = sicd.number("RgAzComp/AzSF")
        return arp, varp, to_scp + x, rate - np.linalg.norm(varp) * scale * y
    if kind == "PFA":
        angles, scales = (
            np.array(sicd.polynomial(f"PFA/{name}"))
            for name in ("PolarAngPoly", "SpatialFreqSFPoly")
        )
        angle = npp.polyval(time, angles)
        along = x * np.cos(angle) + y * np.sin(angle)
        across = -x * np.sin(angle) + y * np.cos(angle)
        scale = npp.polyval(angle, scales)
        change = npp.polyval(angle, npp.polyder(scales)) * along + scale * across
        turn = npp.polyval(time, npp.polyder(angles))
        return arp, varp, to_scp + scale * along, rate + change * turn
    if kind == "RGZERO":
        passed = npp.polyval(y, np.array(sicd.polynomial("RMA/INCA/TimeCAPoly")))
        speed = np.linalg.norm(npp.polyval(passed, npp.polyder(track)))
        bend = npp.polyval2d(x, y, np.array(sicd.polynomial2("RMA/INCA/DRateSFPoly"))) * speed**2
        late = time - passed
        far = np.sqrt((sicd.number("RMA/INCA/R_CA_SCP") + x) ** 2 + bend * late**2)
        return arp, varp, far, bend / far * late
    row, col = (np.array(sicd.vector(f"Grid/{axis}/UVectECF")) for axis in ("Row", "Col"))
    offset = arp - (scp + x * row + y * col)
    far = np.linalg.norm(offset)
    return arp, varp, far, varp @ offset / far


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("kind", SAR_GRIDS)
def test_every_point_is_as_far_and_as_fast_as_the_slow_way_says(kind: str, *, left: bool) -> None:
    pixels = np.array([[0.0, 0.0], [1200.0, 0.0], [77.3, 641.9], [1200.0, 800.0]])
    world = model(kind, left=left).to_world(pixels, np.array([0.0, 500.0, -450.0, 8850.0]))
    for pixel, point in zip(pixels, world, strict=True):
        arp, varp, metres, rate = slow(kind, pixel, left=left)
        offset = arp - np.array(TO_CARTESIAN.transform(*point))
        assert np.linalg.norm(offset) == pytest.approx(metres, abs=1e-6, rel=0)
        assert varp @ offset / np.linalg.norm(offset) == pytest.approx(rate, abs=1e-8, rel=0)
        assert (np.cross(arp, varp) @ -offset > 0) == left


@given(
    kind=st.sampled_from(SAR_GRIDS),
    x=st.integers(0, 1100),
    y=st.integers(0, 700),
    height=st.floats(-450, 8850),
)
def test_a_chip_is_the_shift_of_the_whole(*, kind: str, x: int, y: int, height: float) -> None:
    cut = replace(INFO, width=100, height=100, sar=sicd_xml(kind, first=(x, y), size=(100, 100)))
    chip = SicdModel.from_image(cut)
    assert chip is not None
    pixels = np.array([[0.0, 0.0], [100.0, 50.0], [0.5, 99.5]])
    level = np.full(3, height)
    np.testing.assert_allclose(
        chip.to_world(pixels, level),
        model(kind).to_world(pixels + np.array([x, y]), level),
        rtol=0,
        atol=1e-12,
    )


def test_what_the_sensor_cannot_see_has_no_pixel() -> None:
    lon, lat, _ = SAR_CENTRE
    beyond_the_track = np.array([[lon - 2 * 8.7, lat, 500.0]])
    antipode = np.array([[lon - 180.0, -lat, 0.0]])
    no_latitude = np.array([[lon, 91.0, 0.0]])
    found = model("PLANE").to_image(np.concatenate([beyond_the_track, antipode, no_latitude]))
    assert np.isnan(found).all()


def test_circles_that_miss_the_ground_have_no_place() -> None:
    found = model("PLANE")
    pixels = np.array([[600.0, -1e6], [600.0, 400.0]])
    assert np.isnan(found.to_world(pixels)).all(axis=1).tolist() == [True, False]
    above_the_sensor = np.array([500.0, 700e3])
    assert np.isnan(found.to_world(np.array([[600.0, 400.0]] * 2), above_the_sensor)).all(
        axis=1
    ).tolist() == [False, True]


def test_every_whole_turn_of_a_longitude_is_the_same() -> None:
    lon, lat, height = SAR_CENTRE
    found = model("RGZERO").to_image(np.array([[lon + turn, lat, height] for turn in (0, 360)]))
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_radar_meets_the_terrain(tmp_path: Path) -> None:
    x, y = np.meshgrid(np.linspace(0, 40, 120), np.linspace(0, 30, 90))
    hills = (500 + 80 * np.sin(x) * np.cos(y)).astype(np.float32)[None]
    transform = (1 / 2400, 0.0, 11.975, 0.0, -1 / 2400, 48.02)
    path = str(write_image(tmp_path / "dem.tif", hills, crs="EPSG:4326", transform=transform))
    terrain = on_terrain(model("RGZERO"), INFO, path, geoid=None, open_raster=rasterio.open)
    pixels = np.random.default_rng(0).uniform(0, 1, (400, 2)) * SAR_SIZE
    world = terrain.to_world(pixels)
    assert np.ptp(world[:, 2]) > 100
    np.testing.assert_allclose(terrain.to_image(world), pixels, atol=1e-6)
    np.testing.assert_allclose(model("RGZERO").to_world(pixels, world[:, 2]), world, atol=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("MONOSTATIC", "BISTATIC", "SICD of type BISTATIC"),
        ("<NumRows>800", "<NumRows>801", "SICD of 1200 x 801 pixels"),
        ("<Type>PLANE", "<Type>RGAZIM", "SICD of a grid RGAZIM made by OTHER"),
        ("<Row>390</Row>", "", "SICD without ImageData/SCPPixel/Row"),
        ("<Row>390<", "<Row>nan<", "SICD with 'nan' for ImageData/SCPPixel/Row"),
        ("<SS>0.8<", "<SS>0<", "SICD of rows and columns (0.0, 0.6) m apart"),
        ("<SS>0.8<", "<SS>wide<", "SICD with 'wide' for Grid/Row/SS"),
        ('exponent2="1"', 'exponent2="33"', "SICD with a power '33' in Grid/TimeCOAPoly"),
        ('exponent2="1"', 'exponent2="-1"', "SICD with a power '-1' in Grid/TimeCOAPoly"),
        ('exponent2="1"', 'exponent2="²"', "SICD with a power '²' in Grid/TimeCOAPoly"),
        pytest.param(
            'exponent2="1"', f'exponent2="{"1" * 5000}"', "SICD with a power '111", id="digits"
        ),
        ("<X><Coef", "<X></X><X><Coef", "SICD without coefficients in Position/ARPPoly/X"),
        ("</SICD>", "", "SICD that is broken"),
        ("<SICD", '<!DOCTYPE a [<!ENTITY b "c">]><SICD', "SICD with declarations of its own"),
        ("<SICD", " " * 2**23 + "<SICD", "more than 8,388,608"),
        ("</SICD>", "<a>" * 70 + "</a>" * 70 + "</SICD>", "elements deeper than 64"),
    ],
)
def test_what_cannot_be_used_is_told(old: str, new: str, said: str) -> None:
    text = INFO.sar.replace(old, new, 1)
    assert text != INFO.sar
    found, note = pick(replace(INFO, sar=text))
    assert found is None
    assert said in note
    assert note.endswith("cannot be used; results are in pixels only")


def test_a_scene_below_a_sensor_that_stands_over_it_is_refused() -> None:
    straight = radar(Branch.parse(INFO.sar))
    x, y, z = straight.centre
    track = ((x * 1.1,), (y * 1.1,), (z * 1.1,))
    with pytest.raises(ValueError, match="does not look at it"):
        replace(straight, track=track)


def test_comments_and_cdata_do_no_harm() -> None:
    text = INFO.sar.replace("<Grid>", "<Grid><!-- <!ENTITY --><Note><![CDATA[a < b]]></Note>")
    found, note = pick(replace(INFO, sar=f'<?xml version="1.0"?>\n{text}'))
    assert found is None  # what looks like a declaration is one, wherever it stands
    assert "declarations" in note
    found, note = pick(replace(INFO, sar=f'<?xml version="1.0"?>\n{text.replace("!ENTITY", "")}'))
    assert (found, note) == (model("PLANE"), "")


PUBLISHED = [
    # Cases S1 to S3: pixel from the centre of the first one, lon, lat, height.
    (
        "example.sicd121.capella.xml",
        [
            ((9541, 2694), (-7.606259329, 33.599346161, 54.634)),
            ((0, 0), (-7.715648392, 33.575432912, 63.2626)),
            ((19083, 0), (-7.52168609, 33.662335975, 63.2965)),
            ((19083, 5388), (-7.49674431, 33.623052913, 63.2673)),
            ((0, 5388), (-7.690622689, 33.536202515, 63.2983)),
            ((0, 0), (-7.715422829, 33.575077896, 104.634)),
        ],
    ),
    (
        "example.sicd121.pfa.xml",
        [
            ((0, 0), (-0.006119926, 0.00807759, 0.0993)),
            ((1723, 0), (0.007437436, 0.005670508, 0.0848)),
            ((1723, 1494), (0.006132767, -0.008074707, 0.0995)),
            ((0, 1494), (-0.00743504, -0.00566692, 0.0847)),
            ((0, 0), (-0.006084245, 0.007806436, 50.0)),
        ],
    ),
]


@pytest.mark.parametrize(("name", "points"), PUBLISHED, ids=["capella", "pfa"])
def test_published_points(
    imagery: Path, name: str, points: list[tuple[tuple[int, int], tuple[float, float, float]]]
) -> None:
    found: Radar = radar(Branch.parse((imagery / "sar_xml" / name).read_text(encoding="utf-8")))
    pixels = np.array([pixel for pixel, _ in points]) + 0.5
    world = np.array([ground for _, ground in points])
    np.testing.assert_allclose(found.to_world(pixels, world[:, 2]), world, rtol=0, atol=2e-8)
    np.testing.assert_allclose(found.to_image(world), pixels, atol=0.02)


def test_real_files_come_back_from_extreme_heights(imagery: Path) -> None:
    from daskmr.image import open_image

    for path in sorted((imagery / "sicd").iterdir()):
        info = open_image(path).info
        found, note = pick(info)
        assert isinstance(found, SicdModel)
        assert note == ""
        pixels = np.random.default_rng(0).uniform(0, 1, (50, 2)) * [info.width, info.height]
        low = path.name == "sar_sicd.ntf"  # from an aircraft, 3.5 km high and not much farther away
        for height in (1500.0, 1700.0) if low else (-450.0, 1700.0, 8850.0):
            world = found.to_world(pixels, np.full(50, height))
            np.testing.assert_allclose(found.to_image(world), pixels, atol=1e-3)
        if low:
            assert np.isnan(found.to_world(pixels, np.full(50, 8850.0))).all()
