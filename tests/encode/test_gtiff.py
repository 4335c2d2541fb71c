import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.io import MemoryFile

from daskmr.core.grid import Window
from daskmr.core.imagery import ImageInfo, Pixels
from daskmr.encode import encoder
from daskmr.encode.gtiff import GtiffEncoder
from daskmr.errors import EncodeError, RequestError
from daskmr.testing.contracts_encode import EncoderContract, decode, image, noise, slope

WINDOW = Window(row=120, col=300, height=37, width=53)
NO_COLOR = ("undefined", "undefined")


class TestPlainGtiff(EncoderContract):
    content_type = "image/tiff"

    def make(self) -> GtiffEncoder:
        return GtiffEncoder()


class TestLzwGtiff(EncoderContract):
    content_type = "image/tiff"

    def make(self) -> GtiffEncoder:
        return GtiffEncoder(compression="LZW")


class TestDeflateGtiff(EncoderContract):
    content_type = "image/tiff"

    def make(self) -> GtiffEncoder:
        return GtiffEncoder(compression="DEFLATE")


class TestZstdGtiff(EncoderContract):
    content_type = "image/tiff"

    def make(self) -> GtiffEncoder:
        return GtiffEncoder(compression="ZSTD")


class TestJpegGtiff(EncoderContract):
    content_type = "image/tiff"
    lossless = False

    def make(self) -> GtiffEncoder:
        return GtiffEncoder(compression="JPEG")


def header(payload: bytes) -> dict[str, Any]:
    with MemoryFile(payload) as memory, memory.open() as file:
        return {
            **file.profile,
            "tags": file.tags(),
            "structure": file.tags(ns="IMAGE_STRUCTURE"),
            "domains": file.tag_namespaces(),
            "colors": [color.name for color in file.colorinterp],
        }


def made(info: ImageInfo, window: Window = WINDOW, compression: str = "NONE") -> dict[str, Any]:
    pixels = noise(info.dtype, (info.bands, window.height, window.width))
    return header(encoder("GTIFF", compression).encode(pixels, info, window))


def tiff_tag(payload: bytes, number: int) -> int | None:
    """First value of a SHORT field of the first directory (TIFF 6.0, section 2)."""
    (start,) = struct.unpack_from("<I", payload, 4)
    (count,) = struct.unpack_from("<H", payload, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        found, kind = struct.unpack_from("<HH", payload, place)
        if found == number:
            assert kind == 3
            return int(struct.unpack_from("<H", payload, place + 8)[0])
    return None


scales = st.floats(1e-7, 100.0) | st.floats(-100.0, -1e-7)
transforms = st.tuples(
    scales,
    st.sampled_from([0.0, 0.01, -3e-7]),
    st.floats(-1e7, 1e7),
    st.sampled_from([0.0, -0.02, 5e-7]),
    scales,
    st.floats(-1e7, 1e7),
)


@settings(deadline=None, max_examples=60)
@given(transform=transforms, row=st.integers(0, 400_000), col=st.integers(0, 400_000))
def test_a_pixel_of_the_tile_lies_where_it_lies_in_the_image(
    transform: tuple[float, float, float, float, float, float], row: int, col: int
) -> None:
    window = Window(row=row, col=col, height=8, width=9)
    info = replace(image(bands=1), height=500_000, width=500_000, transform=transform)
    tile = made(info, window)["transform"]
    a, b, c, d, e, f = transform
    for x, y in [(0, 0), (9, 8), (3.5, 6.25)]:
        east, north = tile.a * x + tile.b * y + tile.c, tile.d * x + tile.e * y + tile.f
        full_x, full_y = x + col, y + row
        size_x = abs(a * full_x) + abs(b * full_y) + abs(c)
        size_y = abs(d * full_x) + abs(e * full_y) + abs(f)
        assert abs(east - (a * full_x + b * full_y + c)) <= 1e-12 * size_x
        assert abs(north - (d * full_x + e * full_y + f)) <= 1e-12 * size_y


def test_the_transform_is_shifted_exactly() -> None:
    found = made(image())["transform"]
    assert tuple(found)[:6] == (0.5, 0.0, 600_150.0, 0.0, -0.5, 4_999_940.0)


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326", "EPSG:3413", "EPSG:4807"])
@pytest.mark.parametrize("as_text", [False, True])
def test_the_crs_is_kept(crs: str, as_text: bool) -> None:  # noqa: FBT001
    text = CRS.from_string(crs).to_wkt() if as_text else crs
    assert made(replace(image(), crs=text))["crs"] == CRS.from_string(crs)


def test_an_image_without_georeferencing_gives_a_tile_without() -> None:
    identity = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    for transform in (None, identity):
        info = replace(image(), crs=None, transform=transform)
        payload = GtiffEncoder().encode(slope((3, 37, 53)), info, WINDOW)
        assert tiff_tag(payload, 34735) is None  # GeoKeyDirectory
        np.testing.assert_array_equal(decode(payload), slope((3, 37, 53)))


def test_a_transform_without_crs_is_kept() -> None:
    found = made(replace(image(), crs=None))
    assert found["crs"] is None
    assert tuple(found["transform"])[:6] == (0.5, 0.0, 600_150.0, 0.0, -0.5, 4_999_940.0)


@pytest.mark.parametrize(
    ("dtype", "nodata", "kept"),
    [
        ("uint8", 0.0, 0.0),
        ("uint8", 255.0, 255.0),
        ("uint8", -9999.0, None),
        ("uint8", float("nan"), None),
        ("uint8", 0.5, None),
        ("int16", -9999.0, -9999.0),
        ("float32", -9999.0, -9999.0),
        ("float32", float("-inf"), float("-inf")),
        ("float32", -3.40282347e38, -3.4028234663852886e38),
        ("float32", 1e39, None),
        ("float64", 1e39, 1e39),
        ("int64", -9007199254740992.0, -9007199254740992.0),
        ("int64", -9223372036854775808.0, None),
        ("complex64", -9999.0, -9999.0),
        ("uint8", None, None),
    ],
)
def test_nodata_is_kept_where_a_pixel_can_have_it(
    dtype: str, nodata: float | None, kept: float | None
) -> None:
    assert made(replace(image(dtype, 1), nodata=nodata))["nodata"] == kept


def test_a_nodata_of_nan_is_kept() -> None:
    assert np.isnan(made(replace(image("float32", 1), nodata=float("nan")))["nodata"])


def test_no_metadata_of_the_image_remains() -> None:
    info = replace(image(), tags={"NITF_IGEOLO": "stale", "AREA_OR_POINT": "Point"})
    found = made(info)
    assert found["tags"] == {"AREA_OR_POINT": "Area"}
    assert set(found["domains"]) <= {"IMAGE_STRUCTURE", "DERIVED_SUBDATASETS"}


@pytest.mark.parametrize("compression", ["LZW", "DEFLATE", "JPEG"])
def test_the_compression_is_honoured(compression: str) -> None:
    pixels = slope((3, 512, 512))
    window = Window(row=0, col=0, height=512, width=512)
    payload = encoder("GTIFF", compression).encode(pixels, image(), window)
    plain = encoder("GTIFF").encode(pixels, image(), window)
    found = header(payload)["structure"]["COMPRESSION"]
    assert found == ("YCbCr JPEG" if compression == "JPEG" else compression)
    assert 786_432 < len(plain) < 788_000
    assert len(payload) < len(plain) / 4


@pytest.mark.parametrize("compression", ["LZW", "DEFLATE"])
@pytest.mark.parametrize(("dtype", "predictor"), [("uint8", 2), ("int32", 2), ("float32", 3)])
def test_the_predictor_suits_the_type(compression: str, dtype: str, predictor: int) -> None:
    pixels = noise(dtype, (1, 37, 53))
    payload = encoder("GTIFF", compression).encode(pixels, image(dtype, 1), WINDOW)
    assert tiff_tag(payload, 317) == predictor


def test_bands_are_interleaved_by_pixel() -> None:
    assert made(image(bands=7))["interleave"] == "pixel"


@pytest.mark.parametrize(
    ("dtype", "known", "expected"),
    [
        ("uint8", (), ["red", "green", "blue", "undefined"]),
        ("uint8", ("red", "green", "blue", "alpha"), ["red", "green", "blue", "alpha"]),
        ("uint16", ("red", "green", "blue", "alpha"), ["red", "green", "blue", "alpha"]),
        ("uint16", ("red", "green", "blue", "undefined"), ["red", "green", "blue", "undefined"]),
        ("uint16", (), ["gray", "undefined", "undefined", "undefined"]),
        ("uint8", ("gray", "alpha", *NO_COLOR), ["gray", "alpha", *NO_COLOR]),
        ("uint8", ("palette",) * 4, ["gray", "undefined", "undefined", "undefined"]),
    ],
)
def test_only_alpha_is_called_alpha(
    dtype: str, known: tuple[str, ...], expected: list[str]
) -> None:
    assert made(replace(image(dtype, 4), colorinterp=known))["colors"] == expected


def test_jpeg_of_16_bits_is_refused_with_what_to_use() -> None:
    with pytest.raises(RequestError) as refused:
        GtiffEncoder(compression="JPEG").check(image("uint16", 4))
    what = "/images/contract.tif: GTIFF with JPEG cannot carry"
    instead = "use GTIFF with DEFLATE"
    assert refused.value.problems == (
        f"{what} uint16 pixels (only uint8); {instead}",
        f"{what} 4 bands (only 1, 3); {instead}",
    )


def test_a_tile_that_cannot_be_written_names_image_and_place() -> None:
    moments = np.zeros((1, 4, 4), dtype="datetime64[s]")  # no GDAL will ever have such pixels
    window = Window(row=8, col=16, height=4, width=4)
    with pytest.raises(EncodeError, match=r"contract\.tif: tile at row 8, column 16 .* GTIFF"):
        GtiffEncoder().encode(moments, image("float32", 1), window)


def test_a_crs_that_gdal_does_not_know_is_an_encode_error() -> None:
    info = replace(image(), crs="nonsense")
    with pytest.raises(EncodeError, match=r"contract\.tif"):
        GtiffEncoder().encode(slope((3, 37, 53)), info, WINDOW)


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_any_pixels_survive_every_lossless_compression(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(["uint8", "int16", "float32", "complex64"]))
    shape = (data.draw(st.integers(1, 5)), data.draw(st.integers(1, 40)), 17)
    bits = data.draw(st.binary(min_size=1, max_size=64))
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    pixels: Pixels = np.frombuffer((bits * n_bytes)[:n_bytes], dtype=dtype).reshape(shape)
    window = Window(row=1, col=2, height=shape[1], width=shape[2])
    for compression in ("NONE", "LZW", "DEFLATE"):
        payload = encoder("GTIFF", compression).encode(pixels, image(dtype, shape[0]), window)
        assert decode(payload).tobytes() == pixels.tobytes()
