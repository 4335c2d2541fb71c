"""Check the pixel types and bands of a format, and compute sizes in bytes (pure)."""

from collections.abc import Collection
from typing import Annotated

from pydantic import Field

from daskmr.core.grid import Size
from daskmr.core.imagery import ImageInfo
from daskmr.errors import RequestError

Quality = Annotated[int, Field(ge=1, le=100)] | None
"""Quality of a lossy compression, 1 to 100; None for the default of the format."""
HEADER = 8192
"""Upper estimate of the header of any format, bytes."""


def require(
    info: ImageInfo,
    format_name: str,
    *,
    dtypes: Collection[str],
    bands: Collection[int] = (),
    instead: str,
) -> None:
    """Raise when a format does not support the type or the bands of an image.

    Parameters
    ----------
    info
        The image.
    format_name
        Format and compression, for the message.
    dtypes
        numpy names of the supported pixel types.
    bands
        Supported numbers of bands; empty for any.
    instead
        Formats that the message recommends.

    Raises
    ------
    RequestError
        One message for the type and one for the bands, where they are not supported.
    """
    problems = []
    if info.dtype not in dtypes:
        problems.append(f"{info.dtype} pixels (only {', '.join(dtypes)})")
    if bands and info.bands not in bands:
        problems.append(f"{info.bands} bands (only {', '.join(map(str, bands))})")
    if problems:
        raise RequestError(
            *(f"{info.url}: {format_name} cannot carry {p}; use {instead}" for p in problems)
        )


def raw_bytes(info: ImageInfo, tile: Size) -> int:
    """Return the size of the pixels of one full tile, bytes."""
    return info.bands * tile.height * tile.width * info.itemsize


def whole_blocks(tile: Size) -> Size:
    """Return the size of a tile rounded up to the 16 x 16 blocks of JPEG."""
    return Size(height=-(-tile.height // 16) * 16, width=-(-tile.width // 16) * 16)
