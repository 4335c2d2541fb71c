import warnings
from dataclasses import replace
from typing import Any

import pytest
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from daskmr.core.imagery import ImageInfo
from daskmr.encode.nitf import NitfEncoder
from daskmr.errors import RequestError
from daskmr.testing.contracts_encode import WINDOW, EncoderContract, image, noise


class TestNitf(EncoderContract):
    content_type = "application/vnd.nitf"

    def make(self) -> NitfEncoder:
        return NitfEncoder()


def made(info: ImageInfo) -> tuple[dict[str, str], Any]:
    pixels = noise(info.dtype, (info.bands, WINDOW.height, WINDOW.width))
    payload = NitfEncoder().encode(pixels, info, WINDOW)
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
