"""Encode the pixels of tiles into the bytes that a model endpoint reads.

`encoder` looks an encoder up by the name of its format; each format is a module with one class.
"""

from collections.abc import Mapping
from typing import Literal, get_args, get_type_hints

from daskmr.encode.base import TileEncoder
from daskmr.errors import RequestError
from daskmr.registry import Registry

ENCODERS: Registry[TileEncoder] = Registry(
    kind="tile format",
    builtin={
        "GTIFF": "daskmr.encode.gtiff:GtiffEncoder",
        "JP2": "daskmr.encode.jp2:Jp2Encoder",
        "JPEG": "daskmr.encode.jpeg:JpegEncoder",
        "KSERVE": "daskmr.encode.kserve:KserveEncoder",
        "NITF": "daskmr.encode.nitf:NitfEncoder",
        "NPY": "daskmr.encode.npy:NpyEncoder",
        "PNG": "daskmr.encode.png:PngEncoder",
    },
)

_NEAREST: Mapping[tuple[str, str], str] = {
    ("GTIFF", "J2K"): "LZW",
    ("JPEG", "J2K"): "NONE",
    ("JPEG", "JPEG"): "NONE",
    ("JPEG", "LZW"): "NONE",
    ("NITF", "LZW"): "NONE",
    ("PNG", "J2K"): "NONE",
    ("PNG", "JPEG"): "NONE",
    ("PNG", "LZW"): "NONE",
}
"""What is sent for Model Runner's pairs of formats and compressions that do not exist: JPEG and PNG
are compressed by themselves, NITF and GeoTIFF stay without loss."""


def encoder(
    tile_format: str, compression: str = "NONE", options: Mapping[str, object] | None = None
) -> TileEncoder:
    """Return the encoder of a tile format and a compression, both case-insensitive.

    Parameters
    ----------
    tile_format, compression
        Names as in a request. Pairs that Model Runner accepts and that do not exist are replaced by
        the nearest one, see `replacement`.
    options
        Other fields of the format, such as ``layout`` of KSERVE.

    Raises
    ------
    RequestError
        When the format or its compression is unknown; lists the possible ones. When an option is
        unknown or its value invalid; names every such option.

    Examples
    --------
    >>> encoder("gtiff", "lzw")
    GtiffEncoder(compression='LZW', quality=None)
    """
    fields = dict(options or {})
    if "compression" in fields:
        msg = f"options: compression {fields['compression']!r} is not an option of a tile format"
        raise RequestError(msg)
    code = _NEAREST.get((tile_format.upper(), compression.upper()), compression.upper())
    for name in ENCODERS.names():
        if name.upper() == tile_format.upper() and code in compressions(name):
            return ENCODERS.build(
                name, fields if code == "NONE" else {**fields, "compression": code}
            )
    possible = "; ".join(f"{n} with {', '.join(compressions(n))}" for n in ENCODERS.names())
    msg = (
        f"tile format {tile_format!r} with compression {compression!r} does not exist; "
        f"possible: {possible}"
    )
    raise RequestError(msg)


def replacement(tile_format: str, compression: str) -> str:
    """Return a sentence about the compression that stands in for one that a format has not; or "".

    Examples
    --------
    >>> replacement("PNG", "LZW"), replacement("PNG", "NONE")
    ('tile format PNG has no compression LZW: tiles are sent as PNG with NONE', '')
    """
    pair = tile_format.upper(), compression.upper()
    if pair not in _NEAREST:
        return ""
    name, code = pair
    return (
        f"tile format {name} has no compression {code}: tiles are sent as {name} with "
        + (_NEAREST[pair])
    )


def compressions(name: str) -> tuple[str, ...]:
    """Return the compressions of a format by its name; NONE only for a format without compression.

    Examples
    --------
    >>> compressions("PNG")
    ('NONE',)
    """
    hints = get_type_hints(ENCODERS.load(name))
    return get_args(hints.get("compression", Literal["NONE"]))
