"""List the images of files with several of them."""

from collections.abc import Callable, Sequence
from typing import Any

_SEVERAL = ("NITF_IM:", "GTIFF_DIR:")
_MOST_LISTED = 20


def names_of(dataset: Any) -> list[str]:
    """Return GDAL's names of the images of a file with several of them."""
    return [name for name in dataset.subdatasets if name.startswith(_SEVERAL)]


def list_images(url: str, names: Sequence[str], open_one: Callable[[int], Any]) -> tuple[str, ...]:
    """Return the URL and size of each image of a file with several; empty for a single image.

    Parameters
    ----------
    url
        URL of the file, as the user wrote it.
    names
        GDAL's names of its images.
    open_one
        Function that opens an image by its number.
    """
    lines = []
    for number in range(min(len(names), _MOST_LISTED) if len(names) > 1 else 0):
        with open_one(number) as dataset:
            bands = f"{dataset.count} x {dataset.dtypes[0]}"
            size = f"{dataset.width} x {dataset.height}, {bands}"
        lines.append(f"{url}#image={number} ({size})")
    more = len(names) - _MOST_LISTED
    return (*lines, f"and {more} more") if more > 0 else tuple(lines)
