"""Tile formats: pixels to the bytes that a model endpoint reads."""

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


def encoder(
    tile_format: str, compression: str = "NONE", options: Mapping[str, object] | None = None
) -> TileEncoder:
    """The encoder of a request's tile format and compression, in any case of letters.

    Parameters
    ----------
    tile_format, compression
        As a request names them.
    options
        Further fields of the format, such as ``layout`` of KSERVE.

    Raises
    ------
    RequestError
        When the format is unknown or cannot be compressed that way; lists what is possible. When
        the format has no such option, or not with that value; names every such option.

    Examples
    --------
    >>> encoder("gtiff", "lzw")
    GtiffEncoder(compression='LZW', quality=None)
    """
    given = dict(options or {})
    if "compression" in given:
        msg = f"options: compression {given['compression']!r} is no option of a tile format"
        raise RequestError(msg)
    wanted = compression.upper()
    for name in ENCODERS.names():
        if name.upper() == tile_format.upper() and wanted in compressions(name):
            return ENCODERS.build(
                name, given if wanted == "NONE" else {**given, "compression": wanted}
            )
    possible = "; ".join(f"{n} with {', '.join(compressions(n))}" for n in ENCODERS.names())
    msg = (
        f"tile format {tile_format!r} with compression {compression!r} does not exist; "
        f"possible: {possible}"
    )
    raise RequestError(msg)


def compressions(name: str) -> tuple[str, ...]:
    """What a listed format's field ``compression`` may be; NONE for a format without the field.

    Examples
    --------
    >>> compressions("PNG")
    ('NONE',)
    """
    hints = get_type_hints(ENCODERS.load(name))
    return get_args(hints.get("compression", Literal["NONE"]))
