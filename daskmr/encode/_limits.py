"""What a format can carry, and how many bytes it makes of it (pure)."""

from collections.abc import Collection

from daskmr.core.grid import Size
from daskmr.core.imagery import ImageInfo
from daskmr.errors import RequestError

HEADER = 8192
"""Bytes that surely hold the header of any format."""


def require(
    info: ImageInfo,
    what: str,
    *,
    dtypes: Collection[str],
    bands: Collection[int] = (),
    instead: str,
) -> None:
    """Refuse an image whose pixels do not fit.

    Parameters
    ----------
    info
        The image.
    what
        Format and compression, for the message.
    dtypes
        numpy names of the pixel types that fit.
    bands
        Numbers of bands that fit; empty when any does.
    instead
        What to use for the others.

    Raises
    ------
    RequestError
        One sentence for the type and one for the bands, where they do not fit.
    """
    problems = []
    if info.dtype not in dtypes:
        problems.append(f"{info.dtype} pixels (only {', '.join(dtypes)})")
    if bands and info.bands not in bands:
        problems.append(f"{info.bands} bands (only {', '.join(map(str, bands))})")
    if problems:
        raise RequestError(
            *(f"{info.url}: {what} cannot carry {p}; use {instead}" for p in problems)
        )


def raw_bytes(info: ImageInfo, tile: Size) -> int:
    """Bytes of the pixels of one full tile."""
    return info.bands * tile.height * tile.width * info.itemsize
