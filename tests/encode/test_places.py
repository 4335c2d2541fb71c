"""A tile read back lies where it was cut out: by its own metadata, through our sensor models."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import daskmr
from daskmr.core.grid import Window
from daskmr.core.imagery import ControlPoints, ImageInfo, Rpcs
from daskmr.encode import encoder
from daskmr.encode._extensions import igeolo
from daskmr.encode._rpc00b import rpc00b
from daskmr.encode.base import PlacedTileEncoder
from daskmr.geolocate import pick
from daskmr.geolocate.base import Points, SensorModel
from daskmr.testing.contracts_encode import image, noise
from daskmr.testing.contracts_geolocate import SCENE_RPCS, rsm_fields

WINDOW = Window(row=200, col=300, height=64, width=96)
CENTRES: Points = np.array([(0.5, 0.5), (95.5, 0.5), (95.5, 63.5), (0.5, 63.5)])
FIRST = np.array([WINDOW.col, WINDOW.row])
FINE_RPCS = replace(
    SCENE_RPCS,
    line_off=2606.31,
    samp_off=4409.72,
    lat_off=24.96971234,
    long_off=121.58754321,
    height_off=377.4,
    line_scale=2606.7,
    lat_scale=0.05934567,
)
"""As makers of pictures other than NITF write them."""
BARE = replace(image("uint8", 1), crs=None, transform=None)
RPC = replace(BARE, height=5212, width=8819, rpcs=SCENE_RPCS)
AXES = [(x, y) for y in (0.0, 250.0, 499.0) for x in (0.0, 450.0, 899.0)]
GCPS = ControlPoints(
    source="GCPs",
    pixels=tuple(AXES),
    ground=tuple((3.0 + x * 1e-5 + y * 2e-6, 45.0 - y * 1e-5, 100.0) for x, y in AXES),
    crs="EPSG:4326",
)


def model_of(info: ImageInfo) -> SensorModel:
    found, why = pick(info)
    assert found is not None, why
    return found


def off_px(info: ImageInfo, folder: Path, tile_format: str, compression: str = "NONE") -> float:
    """How far a tile's corners lie from where the image's own model sees them, in pixels."""
    whole = model_of(info)
    pixels = noise(info.dtype, (info.bands, WINDOW.height, WINDOW.width))
    made = encoder(tile_format, compression)
    expected = whole.to_world(CENTRES + FIRST)
    if isinstance(made, PlacedTileEncoder):
        payload = made.encode_placed(pixels, info, WINDOW, corners=expected[:, :2])
    else:
        payload = made.encode(pixels, info, WINDOW)
    path = folder / "tile.bin"
    path.write_bytes(payload)
    tile = model_of(daskmr.open_image(str(path)).info)
    seen: Points = whole.to_image(tile.to_world(CENTRES, expected[:, 2]))
    return float(np.abs(seen - CENTRES - FIRST).max())


@pytest.mark.parametrize("tile_format", ["NITF", "GTIFF"])
@pytest.mark.parametrize(
    "info",
    [
        RPC,
        replace(RPC, rpcs=FINE_RPCS),
        replace(RPC, chip=(1.0, 0.0, 512.0, 0.0, 1.0, 1024.0), height=1000, width=1000),
        replace(RPC, chip=(2.0, 0.0, 10.0, 0.0, 2.0, 20.0), height=1000, width=1000),
        replace(RPC, transform=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), crs="EPSG:4326"),
    ],
    ids=["rpc", "fine", "chip", "half", "rpc beside nothing"],
)
def test_rational_polynomials_travel_with_a_tile(
    info: ImageInfo, tile_format: str, tmp_path: Path
) -> None:
    assert off_px(info, tmp_path, tile_format) < 0.06


def test_a_turned_chip_is_told_by_nitf(tmp_path: Path) -> None:
    turned = replace(RPC, chip=(0.0, 1.0, 512.0, -1.0, 0.0, 3024.0), height=1000, width=1000)
    assert off_px(turned, tmp_path, "NITF", "J2K") < 0.06


@pytest.mark.parametrize("n", [(1, 1), (3, 2)])
def test_replacement_sensor_models_travel_with_a_tile(n: tuple[int, int], tmp_path: Path) -> None:
    info = replace(BARE, driver="NITF", height=800, width=1000, rsm=rsm_fields("R", n=n))
    assert off_px(info, tmp_path, "NITF", "J2K") < 0.01


def test_control_points_travel_with_a_geotiff(tmp_path: Path) -> None:
    assert off_px(replace(BARE, gcps=GCPS), tmp_path, "GTIFF") < 1e-6


def test_corners_of_any_model_are_told_by_nitf_to_a_decimetre(tmp_path: Path) -> None:
    for info in (image("uint8", 1), replace(BARE, gcps=GCPS)):  # pixels of 0.5 and of some 1 m
        assert off_px(info, tmp_path, "NITF") < 0.3


def test_corners_are_told_in_the_order_of_the_standard(tmp_path: Path) -> None:
    info, path = image("uint8", 1), tmp_path / "tile.ntf"
    corners = np.array([(-0.5, 10.25), (0.5, 10.25), (0.5, -10.0), (-0.5, -10.0001)])
    made = encoder("NITF")
    assert isinstance(made, PlacedTileEncoder)
    path.write_bytes(made.encode_placed(noise("uint8", (1, 64, 96)), info, WINDOW, corners=corners))
    tags = daskmr.open_image(str(path)).info.tags
    assert tags["NITF_ICORDS"] == "G"
    assert tags["NITF_IGEOLO"] == "101500N0003000W101500N0003000E100000S0003000E100000S0003000W"
    assert tags["NITF_BLOCKA_LRFC_LOC_01"] == "-10.000100-000.500000"
    assert tags["NITF_BLOCKA_L_LINES_01"] == "00064"


def test_an_image_that_lies_nowhere_makes_tiles_that_lie_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "tile.ntf"
    path.write_bytes(encoder("NITF").encode(noise("uint8", (1, 64, 96)), BARE, WINDOW))
    found = daskmr.open_image(str(path)).info
    assert (found.rpcs, found.chip, found.corners, found.rsm) == (None, None, None, ())


offsets = st.floats(0, 90_000)


@given(
    line_off=offsets, samp_off=offsets, lat_off=st.floats(-80, 80), long_off=st.floats(-179, 179),
    scale=st.floats(500, 40_000), ground=st.floats(0.001, 0.9), height=st.floats(10, 5000),
)  # fmt: skip
def test_any_rpcs_keep_their_place_to_a_twentieth_of_a_pixel(
    *, line_off: float, samp_off: float, lat_off: float, long_off: float,
    scale: float, ground: float, height: float,
) -> None:  # fmt: skip
    rpcs = replace(
        SCENE_RPCS, line_off=line_off, samp_off=samp_off, lat_off=lat_off, long_off=long_off,
        line_scale=scale, samp_scale=scale, lat_scale=ground, long_scale=ground,
        height_scale=height,
    )  # fmt: skip
    written = rpc00b(rpcs)
    assert written is not None
    text, by_x, by_y = written
    assert len(text) == 1041
    assert 0 <= by_x < 1
    assert 0 <= by_y < 1
    place = np.random.default_rng(0).uniform(-0.9, 0.9, (50, 3)) * [ground, ground, height]
    world = place + np.array([long_off, lat_off, rpcs.height_off])
    both = [model_of(replace(RPC, rpcs=each)).to_image(world) for each in (rpcs, parsed(text))]
    assert np.abs(both[0] + [by_x, by_y] - both[1]).max() < 0.06


def parsed(text: str) -> Rpcs:
    """RPC00B, read as the standard lays it out."""
    ends = np.cumsum([15, 6, 5, 8, 9, 5, 6, 5, 8, 9, 5])
    names = (
        "line_off", "samp_off", "lat_off", "long_off", "height_off",
        "line_scale", "samp_scale", "lat_scale", "long_scale", "height_scale",
    )  # fmt: skip
    fields: dict[str, Any] = {
        name: float(text[start:stop])
        for name, start, stop in zip(names, ends[:-1], ends[1:], strict=True)
    }
    terms = np.array([float(text[at : at + 12]) for at in range(81, 1041, 12)]).reshape(4, 20)
    lists = ("line_num", "line_den", "samp_num", "samp_den")
    fields |= {name: tuple(row.tolist()) for name, row in zip(lists, terms, strict=True)}
    return Rpcs(**fields)


def test_rpcs_that_the_fields_cannot_hold_are_left_out() -> None:
    assert rpc00b(replace(SCENE_RPCS, samp_off=100_000.0)) is None
    assert rpc00b(replace(SCENE_RPCS, height_scale=10_000.0)) is None
    assert rpc00b(replace(SCENE_RPCS, samp_scale=-5.0)) is None
    assert rpc00b(replace(SCENE_RPCS, line_num=(1e11, *SCENE_RPCS.line_num[1:]))) is None


@pytest.mark.parametrize(
    ("lon", "lat", "said"),
    [
        (-121.5125, -10.5125, "103045S1213045W"),
        (1.5125, 1.5125, "013045N0013045E"),
        (10.99999, 10.99999, "110000N0110000E"),
        (-0.0001, 0.0001, "000000N0000000E"),
        (179.99999, -89.99999, "900000S1800000E"),
    ],
)
def test_corners_stand_in_the_nearest_whole_seconds(lon: float, lat: float, said: str) -> None:
    options = igeolo(np.array([(lon, lat), (1.0, 2.0), (3.0, 4.0), (5.0, 6.0)]))
    assert options["ICORDS"] == "G"
    assert options["IGEOLO"] == f"{said}020000N0010000E040000N0030000E060000N0050000E"
