import pytest

from daskmr.encode import ENCODERS, compressions, encoder
from daskmr.encode.gtiff import GtiffEncoder
from daskmr.encode.png import PngEncoder
from daskmr.errors import RequestError

POSSIBLE = {
    ("GTIFF", "NONE"),
    ("GTIFF", "LZW"),
    ("GTIFF", "ZSTD"),
    ("JP2", "NONE"),
    ("NITF", "J2K"),
    ("NITF", "JPEG"),
    ("GTIFF", "DEFLATE"),
    ("GTIFF", "JPEG"),
    ("PNG", "NONE"),
    ("JPEG", "NONE"),
    ("NPY", "NONE"),
    ("KSERVE", "NONE"),
    ("NITF", "NONE"),
}


def test_every_listed_format_has_its_compressions() -> None:
    assert {(name, c) for name in ENCODERS.builtin for c in compressions(name)} == POSSIBLE


@pytest.mark.parametrize(("name", "compression"), sorted(POSSIBLE))
def test_what_is_possible_is_made_in_any_case_of_letters(name: str, compression: str) -> None:
    made = encoder(name.lower(), compression.title())
    assert type(made) is ENCODERS.load(name)
    assert getattr(made, "compression", "NONE") == compression


def test_without_a_compression_there_is_none() -> None:
    assert encoder("GTIFF") == GtiffEncoder(compression="NONE")
    assert encoder("png") == PngEncoder()


@pytest.mark.parametrize(
    ("name", "compression"),
    [
        ("BMP", "NONE"),
        ("PNG", "ZSTD"),
        ("NITF", "ZSTD"),
        ("NPY", "LZW"),
        ("GTIFF", "ZIP"),
        ("", ""),
    ],
)
def test_what_is_not_possible_is_refused_by_both_names(name: str, compression: str) -> None:
    with pytest.raises(RequestError) as refused:
        encoder(name, compression)
    message = str(refused.value)
    assert f"{name!r} with compression {compression!r}" in message
    assert (
        "GTIFF with NONE, LZW, DEFLATE, ZSTD, JPEG; JP2 with NONE; JPEG with NONE; KSERVE with NONE"
        in message
    )
