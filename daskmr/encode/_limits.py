"""What a format can carry, and how many bytes it makes of it (pure)."""

from collections.abc import Collection
from typing import Annotated

from pydantic import Field

from daskmr.core.grid import Size
from daskmr.core.imagery import ImageInfo
from daskmr.errors import RequestError

Quality = Annotated[int, Field(ge=1, le=100)] | None
"""Of a lossy compression; None for what the format does when nothing is said."""
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


def whole_blocks(tile: Size) -> Size:
    """A tile made up to the blocks of 16 x 16 that JPEG works on."""
    return Size(height=-(-tile.height // 16) * 16, width=-(-tile.width // 16) * 16)
