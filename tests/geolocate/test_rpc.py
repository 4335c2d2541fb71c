"""Rational polynomials: against GDAL, published numbers, and themselves."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio.rpc
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import RPCTransformer

from daskmr.core.imagery import ImageInfo, Rpcs
from daskmr.errors import ImageError
from daskmr.geolocate.base import Points, SensorModel
from daskmr.geolocate.rpc import RpcModel
from daskmr.image import open_image
from daskmr.testing.contracts_geolocate import SCENE_RPCS, SensorModelContract

SCENE = RpcModel(rpcs=SCENE_RPCS)
HALF = 0.5


def image(rpcs: Rpcs = SCENE_RPCS) -> ImageInfo:
    return ImageInfo(
        url="/images/a.tif",
        height=int(2 * rpcs.line_scale),
        width=int(2 * rpcs.samp_scale),
        bands=1,
        dtype="uint8",
        driver="GTiff",
        rpcs=rpcs,
    )


def gdal(rpcs: Rpcs) -> RPCTransformer:
    """GDAL's transformer, at heights above the ellipsoid that are given with every point."""
    given_as: dict[str, Any] = {
        f"{name}_{kind}": getattr(rpcs, f"{name}_{kind}")
        for name in ("line", "samp", "lat", "long", "height")
        for kind in ("off", "scale")
    }
    for name in ("line_num", "line_den", "samp_num", "samp_den"):
        given_as[f"{name}_coeff"] = list(getattr(rpcs, name))
    found = rasterio.rpc.RPC(**given_as)
    return RPCTransformer(
        found, RPC_PIXEL_ERROR_THRESHOLD=1e-6, RPC_HEIGHT=0, RPC_MAX_ITERATIONS=50
    )


def somewhere(rpcs: Rpcs, n: int = 4000) -> tuple[Points, Points]:
    """Pixels of an image and a tenth beyond, and heights that its RPCs were made for."""
    random = np.random.default_rng(1)
    across, down, up = random.uniform(-1.1, 1.1, (3, n))
    x, y = rpcs.samp_off + rpcs.samp_scale * across, rpcs.line_off + rpcs.line_scale * down
    return np.stack([x, y], axis=1), rpcs.height_off + rpcs.height_scale * up / 1.1


def assert_like_gdal(rpcs: Rpcs) -> None:
    """Both ways within 1e-7 degrees (1 cm) and 1e-6 pixels of GDAL."""
    model = RpcModel(rpcs=rpcs)
    pixels, heights = somewhere(rpcs)
    world = model.to_world(pixels, heights)
    with gdal(rpcs) as transformer:
        lon, lat = transformer.xy(pixels[:, 1], pixels[:, 0], zs=heights, offset="ul")
        rows, cols = transformer.rowcol(
            world[:, 0], world[:, 1], zs=heights, op=lambda values: values
        )
    np.testing.assert_allclose(world[:, :2], np.stack([lon, lat], axis=1), rtol=0, atol=1e-7)
    seen = np.stack([cols, rows], axis=1)
    np.testing.assert_allclose(model.to_image(world), seen, rtol=0, atol=1e-6)


def turned(rpcs: Rpcs, **changes: Any) -> Rpcs:
    return replace(rpcs, **changes)


class RpcContract(SensorModelContract):
    rpcs = SCENE_RPCS

    def info(self) -> ImageInfo:
        return image(self.rpcs)

    def make(self) -> SensorModel:
        return RpcModel(rpcs=self.rpcs)


class TestScene(RpcContract):
    pass


class TestOverTheDateLine(RpcContract):
    rpcs = turned(SCENE_RPCS, long_off=179.97)


class TestSouthUp(RpcContract):
    rpcs = turned(SCENE_RPCS, lat_scale=-0.0593)


class TestNegativeDenominators(RpcContract):
    rpcs = turned(
        SCENE_RPCS,
        line_num=tuple(-c for c in SCENE_RPCS.line_num),
        line_den=tuple(-c for c in SCENE_RPCS.line_den),
    )


def test_published_corners_are_found() -> None:
    ground = np.array(
        [
            [121.48749, 25.0286, 27.1],
            [121.68566, 25.01, 234.7],
            [121.68595, 24.91148, 403.1],
            [121.48975, 24.92772, 431.4],
        ]
    )
    raw = np.array(
        [[0.0695, -0.0153], [8819.096, -0.0709], [8818.8684, 5211.842], [0.0852, 5211.8802]]
    )
    np.testing.assert_allclose(SCENE.to_image(ground), raw + HALF, atol=1e-4)
    back = SCENE.to_world(raw + HALF, ground[:, 2])
    np.testing.assert_allclose(back, ground, rtol=0, atol=2e-9)


def test_corners_lie_where_the_scene_does_at_its_own_height() -> None:
    ground = SCENE.to_world(np.array([[0.0, 0.0], [8819.0, 0.0], [8819.0, 5211.0]]))
    expected = [[121.48749, 25.0286], [121.68566, 25.01], [121.68595, 24.91148]]
    # The first corner was measured 350 m below that height, which shifts it along its ray.
    np.testing.assert_allclose(ground[:, :2], expected, atol=0.002)
    np.testing.assert_allclose(ground[1:, :2], expected[1:], atol=0.001)
    assert (ground[:, 2] == 377.0).all()


def test_half_a_pixel_is_put_between_centres_and_corners() -> None:
    # Linear polynomials: the centre of the first pixel lies at the offsets.
    line = tuple(float(i == 2) for i in range(20))
    samp = tuple(float(i == 1) for i in range(20))
    one = tuple(float(i == 0) for i in range(20))
    plain = replace(
        SCENE_RPCS, line_off=0.0, samp_off=0.0, line_num=line, samp_num=samp, line_den=one
    )
    plain = replace(plain, samp_den=one)
    [[lon, lat, _]] = RpcModel(rpcs=plain).to_world(np.array([[0.5, 0.5]]))
    assert (lon, lat) == (plain.long_off, plain.lat_off)


def test_the_scene_agrees_with_gdal() -> None:
    assert_like_gdal(SCENE_RPCS)


@pytest.mark.parametrize(
    ("turn", "expected"), [(0.0, 179.9), (-360.0, 179.9), (360.0, 179.9), (720.0, 179.9)]
)
def test_any_turn_of_a_longitude_is_the_same_place(turn: float, expected: float) -> None:
    model = RpcModel(rpcs=turned(SCENE_RPCS, long_off=-179.99))
    here = model.to_image(np.array([[expected, 24.97, 300.0]]))
    np.testing.assert_allclose(
        model.to_image(np.array([[expected + turn, 24.97, 300.0]])), here, atol=1e-6
    )
    assert np.abs(here).max() < 20_000


def test_without_heights_points_lie_at_the_height_of_the_rpcs() -> None:
    flat = np.array([[121.5, 25.0]])
    high = np.array([[121.5, 25.0, 377.0]])
    np.testing.assert_array_equal(SCENE.to_image(flat), SCENE.to_image(high))


@given(
    angle=st.floats(0, 2 * np.pi),
    mirrored=st.booleans(),
    parallax=st.floats(0, 0.4),
    bend=st.floats(0, 0.01),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_solved_point_comes_back_and_agrees_with_gdal(
    *, angle: float, mirrored: bool, parallax: float, bend: float, seed: int
) -> None:
    rpcs = synthetic(angle, mirrored=mirrored, parallax=parallax, bend=bend, seed=seed)
    model = RpcModel(rpcs=rpcs)
    pixels, heights = somewhere(rpcs, 300)
    world = model.to_world(pixels, heights)
    assert np.isfinite(world).all()
    np.testing.assert_allclose(model.to_image(world), pixels, atol=1e-6)
    with gdal(rpcs) as transformer:
        lon, lat = transformer.xy(pixels[:, 1], pixels[:, 0], zs=heights, offset="ul")
    off = np.abs(world[:, :2] - np.stack([lon, lat], axis=1)).max(axis=1)
    # GDAL says inf where it gives up.
    assert (off[np.isfinite(off)] < 1e-7).all()
    assert np.isfinite(off).mean() > 0.9


@given(
    bend=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
    reach=st.floats(1, 1e4),
)
def test_no_point_is_passed_off_as_solved(bend: float, seed: int, reach: float) -> None:
    """Polynomials of any kind, far out: an answer is right, or there is none."""
    with contextlib.suppress(ValueError):
        model = RpcModel(rpcs=synthetic(0.3, mirrored=False, parallax=0.5, bend=bend, seed=seed))
        random = np.random.default_rng(seed)
        pixels = random.normal(0, reach * 1000, (200, 2))
        world = model.to_world(pixels, random.normal(0, 3000, 200))
        found = np.isfinite(world).all(axis=1)
        assert np.isnan(world[~found]).all()
        off = np.abs(model.to_image(world[found]) - pixels[found]).max(axis=1)
        assert (off < 1e-3).all()


def test_ground_points_far_away_are_not_seen() -> None:
    near, far = SCENE_RPCS.lat_off + 5 * SCENE_RPCS.lat_scale, SCENE_RPCS.lat_off - 30.0
    seen = SCENE.to_image(np.array([[121.5, near, 0.0], [121.5, far, 0.0]]))
    assert np.isfinite(seen).all(axis=1).tolist() == [True, False]


def synthetic(angle: float, *, mirrored: bool, parallax: float, bend: float, seed: int) -> Rpcs:
    """A camera that is turned, seen aslant, and bent by random terms of higher order."""
    random = np.random.default_rng(seed)
    cos, sin = np.cos(angle), np.sin(angle) * (-1 if mirrored else 1)
    cubics = random.uniform(-bend, bend, (4, 20))
    cubics[:, 10:] /= 3
    cubics[1:4:2, 0] = 1.0
    cubics[0, 1:4] += [-np.sin(angle), -(-1 if mirrored else 1) * cos, parallax]
    cubics[2, 1:4] += [cos, -sin, -parallax]
    line_num, line_den, samp_num, samp_den = (tuple(c.tolist()) for c in cubics)
    return Rpcs(
        line_off=5000.0,
        samp_off=7000.0,
        lat_off=float(random.uniform(-70, 70)),
        long_off=float(random.uniform(-170, 170)),
        height_off=500.0,
        line_scale=5000.0,
        samp_scale=7000.0,
        lat_scale=0.05,
        long_scale=0.08,
        height_scale=600.0,
        line_num=line_num,
        line_den=line_den,
        samp_num=samp_num,
        samp_den=samp_den,
    )


def test_beyond_a_fold_there_is_no_answer_rather_than_a_wrong_one() -> None:
    fold = [0.0] * 20
    fold[1], fold[7] = 1.0, -0.25  # samples grow with longitude up to 2, and fall again
    model = RpcModel(rpcs=turned(SCENE_RPCS, samp_num=tuple(fold)))
    r = model.rpcs
    seen = np.array([[r.long_off + x * r.long_scale, r.lat_off] for x in (1.0, 1.9, 2.1, 3.0)])
    found = np.isfinite(model.to_image(seen)).all(axis=1)
    assert found.tolist() == [True, True, False, False]
    brink = r.samp_off + r.samp_scale * np.array([0.99, 1.05])
    pixels = np.stack([brink, np.full(2, r.line_off)], axis=1)
    assert np.isfinite(model.to_world(pixels)).all(axis=1).tolist() == [True, False]


def test_beyond_the_pole_is_nowhere() -> None:
    model = RpcModel(rpcs=turned(SCENE_RPCS, lat_off=89.99))
    world = model.to_world(np.array([[4409.0, 0.0], [4409.0, 5000.0]]))
    assert np.isnan(world[0]).all()
    assert np.isfinite(world[1]).all()
    assert np.isnan(model.to_image(np.array([[121.5, 90.01, 0.0]]))).all()


def test_polynomials_that_do_not_move_are_refused() -> None:
    level = turned(SCENE_RPCS, samp_num=SCENE_RPCS.line_num, samp_den=SCENE_RPCS.line_den)
    with pytest.raises(ValueError, match="RPCs cannot be solved"):
        RpcModel(rpcs=level)
    with pytest.raises(ImageError, match=r"/images/a\.tif: RPCs cannot be solved"):
        RpcModel.from_image(image(level))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"line_num": (1.0,) * 19}, "line_num has 19 coefficients, not 20"),
        ({"samp_scale": 0.0}, r"samp_scale is 0\.0"),
        ({"lat_off": float("nan")}, "lat_off is nan"),
    ],
)
def test_coefficients_that_make_no_sense_are_refused(change: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(SCENE_RPCS, **change)


def test_an_image_without_rpcs_has_no_such_model() -> None:
    assert RpcModel.from_image(replace(image(), rpcs=None)) is None


@pytest.mark.parametrize(
    "name",
    [
        "rpc/wv3_20.NTF",
        "rpc/test_rpcs.tif",
        "rpc/test_rpcs_ext_file.tif",
        "rpc/PHR1B_P_201709281038393_SEN_PRG_FC_178609-001.tif",
        "rpc/byte_rpc.tif",
        "rpc/rpc.vrt",
        "affine/RGB.byte.rpc.vrt",
    ],
)
def test_real_scenes_agree_with_gdal(imagery: Path, name: str) -> None:
    rpcs = open_image(imagery / name).info.rpcs
    assert rpcs is not None
    assert_like_gdal(rpcs)


def test_real_polynomials_that_fold_give_no_answer_where_gdal_has_none(imagery: Path) -> None:
    info = open_image(imagery / "rpc/unstable_rpc_with_dem_source.tif").info
    assert info.rpcs is not None
    x, y = np.meshgrid(np.linspace(0, info.width, 41), np.linspace(0, info.height, 41))
    pixels = np.stack([x.ravel(), y.ravel()], axis=1)
    model = RpcModel(rpcs=info.rpcs)
    world = model.to_world(pixels)
    found = np.isfinite(world).all(axis=1)
    assert 0.9 < found.mean() < 1
    np.testing.assert_allclose(model.to_image(world[found]), pixels[found], atol=1e-3)
