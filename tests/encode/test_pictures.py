import struct
from dataclasses import replace

import numpy as np
import pytest

from daskmr.core.grid import Window
from daskmr.encode.jp2 import Jp2Encoder
from daskmr.encode.jpeg import JpegEncoder
from daskmr.encode.png import PngEncoder
from daskmr.errors import EncodeError, RequestError
from daskmr.testing.contracts_encode import EncoderContract, image, slope

WINDOW = Window(row=120, col=300, height=37, width=53)


class TestPng(EncoderContract):
    content_type = "image/png"

    def make(self) -> PngEncoder:
        return PngEncoder()


class TestJpeg(EncoderContract):
    content_type = "image/jpeg"
    lossless = False

    def make(self) -> JpegEncoder:
        return JpegEncoder()


class TestJp2(EncoderContract):
    content_type = "image/jp2"

    def make(self) -> Jp2Encoder:
        return Jp2Encoder()


class TestCodestream(EncoderContract):
    content_type = "image/jp2"

    def make(self) -> Jp2Encoder:
        return Jp2Encoder(codec="J2K")


def test_a_png_begins_with_its_size_and_depth() -> None:
    payload = PngEncoder().encode(np.zeros((1, 37, 53), np.uint16), image("uint16", 1), WINDOW)
    assert payload[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">IIBB", payload[16:26]) == (53, 37, 16, 0)


def test_jpeg_2000_comes_as_a_file_or_bare() -> None:
    pixels = slope((3, 37, 53))
    assert Jp2Encoder().encode(pixels, image(), WINDOW)[4:8] == b"jP  "
    assert Jp2Encoder(codec="J2K").encode(pixels, image(), WINDOW)[:4] == b"\xff\x4f\xff\x51"


def test_a_jpeg_is_complete() -> None:
    payload = JpegEncoder().encode(slope((3, 37, 53)), image(), WINDOW)
    assert payload[:2] == b"\xff\xd8"
    assert payload[-2:] == b"\xff\xd9"


@pytest.mark.parametrize("encoder", [PngEncoder(), JpegEncoder()])
def test_a_picture_says_nothing_of_its_place(encoder: PngEncoder | JpegEncoder) -> None:
    pixels = slope((3, 37, 53))
    bare = replace(image(), crs=None, transform=None)
    elsewhere = Window(row=0, col=0, height=37, width=53)
    assert encoder.encode(pixels, bare, elsewhere) == encoder.encode(pixels, image(), WINDOW)


def test_a_float_image_is_told_what_to_use() -> None:
    with pytest.raises(RequestError, match=r"PNG cannot carry float32 .*use GTIFF or NPY"):
        PngEncoder().check(image("float32", 2))
    with pytest.raises(RequestError, match=r"JPEG cannot carry 2 bands .*use PNG, GTIFF or NPY"):
        JpegEncoder().check(image("uint8", 2))


def test_a_float_tile_is_never_written_as_a_png() -> None:
    pixels = np.zeros((2, 37, 53), np.float32)
    with pytest.raises(EncodeError, match=r"tile at row 120, column 300 cannot be written as PNG"):
        PngEncoder().encode(pixels, image("float32", 2), WINDOW)
