import warnings
from dataclasses import replace
from typing import Any

import pytest
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from daskmr.core.imagery import ImageInfo
from daskmr.encode import encoder
from daskmr.encode.nitf import NitfEncoder
from daskmr.errors import RequestError
from daskmr.testing.contracts_encode import WINDOW, EncoderContract, image, noise


class TestNitf(EncoderContract):
    content_type = "application/vnd.nitf"

    def make(self) -> NitfEncoder:
        return NitfEncoder()


class TestJ2kNitf(EncoderContract):
    content_type = "application/vnd.nitf"

    def make(self) -> NitfEncoder:
        return NitfEncoder(compression="J2K")


class TestJpegNitf(EncoderContract):
    content_type = "application/vnd.nitf"
    lossless = False

    def make(self) -> NitfEncoder:
        return NitfEncoder(compression="JPEG")


def made(info: ImageInfo, how: NitfEncoder | None = None) -> tuple[dict[str, str], Any]:
    pixels = noise(info.dtype, (info.bands, WINDOW.height, WINDOW.width))
    payload = (how or NitfEncoder()).encode(pixels, info, WINDOW)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile(payload) as memory, memory.open() as file:
            return file.tags(), file.crs


def test_pixels_are_stored_as_they_are_and_without_a_place() -> None:
    tags, crs = made(image())
    assert tags["NITF_FHDR"] == "NITF02.10"
    assert tags["NITF_IC"] == "NC"
    assert not tags["NITF_ICORDS"].strip()
    assert crs is None


@pytest.mark.parametrize(
    ("compression", "dtype", "coding"),
    [
        ("NONE", "uint8", "NC"),
        ("JPEG", "uint8", "C3"),
        ("J2K", "uint8", "C8"),
        ("J2K", "uint16", "C8"),
        ("J2K", "float32", "NC"),  # JPEG 2000 knows no such pixels, and requests name it for all
    ],
)
def test_the_header_names_the_compression(compression: Any, dtype: str, coding: str) -> None:
    tags, _ = made(image(dtype, 1), NitfEncoder(compression=compression))
    assert tags["NITF_IC"] == coding


def test_what_jpeg_cannot_carry_is_refused_before_any_tile() -> None:
    with pytest.raises(RequestError, match=r"float32 pixels.*NITF with J2K or GTIFF"):
        NitfEncoder(compression="JPEG").check(image("float32", 2))
    with pytest.raises(RequestError, match=r"ZSTD.*possible:.*NITF with NONE, JPEG, J2K"):
        encoder("NITF", "ZSTD")
    with pytest.raises(RequestError, match="quality"):
        encoder("NITF", "JPEG", {"quality": "101"})


def test_better_quality_takes_more_bytes() -> None:
    window = replace(WINDOW, height=370, width=530)
    info, pixels = image(), noise("uint8", (3, 370, 530))
    for name in ("NITF", "GTIFF", "JPEG", "JP2"):
        how = "NONE" if name in {"JPEG", "JP2"} else "JPEG"
        sizes = [
            len(encoder(name, how, {"quality": q}).encode(pixels, info, window)) for q in (20, 90)
        ]
        assert sizes[0] < sizes[1] / 2, name


def test_dates_are_unknown_and_not_those_of_the_clock() -> None:
    tags, _ = made(image())
    assert tags["NITF_FDT"] == tags["NITF_IDATIM"] == "-" * 14


@pytest.mark.parametrize(
    ("dtype", "bands", "colors", "meaning"),
    [
        ("uint8", 1, (), "MONO"),
        ("uint8", 3, (), "RGB"),
        ("uint8", 3, ("red", "green", "blue"), "RGB"),
        ("uint8", 3, ("gray", "undefined", "undefined"), "MULTI"),
        ("uint16", 4, (), "MULTI"),
    ],
)
def test_the_header_says_what_the_bands_are(
    dtype: str, bands: int, colors: tuple[str, ...], meaning: str
) -> None:
    tags, _ = made(replace(image(dtype, bands), colorinterp=colors))
    assert tags["NITF_IREP"].strip() == meaning


def test_a_thousand_bands_are_refused() -> None:
    NitfEncoder().check(image(bands=999))
    with pytest.raises(RequestError, match="1000 bands"):
        NitfEncoder().check(image(bands=1000))
