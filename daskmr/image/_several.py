"""Files that hold several images."""

from collections.abc import Callable, Sequence
from typing import Any

_SEVERAL = ("NITF_IM:", "GTIFF_DIR:")
_MOST_LISTED = 20


def names_of(dataset: Any) -> list[str]:
    """What GDAL calls the images of a file that holds several."""
    return [name for name in dataset.subdatasets if name.startswith(_SEVERAL)]


def listed(url: str, names: Sequence[str], opened: Callable[[int], Any]) -> tuple[str, ...]:
    """How each image of a file that holds several is opened, with its size; empty for one.

    Parameters
    ----------
    url
        The file, as the user wrote it.
    names
        What GDAL calls its images.
    opened
        Opens one of them, by its number.
    """
    found = []
    for number in range(min(len(names), _MOST_LISTED) if len(names) > 1 else 0):
        with opened(number) as one:
            size = f"{one.width} x {one.height}, {one.count} x {one.dtypes[0]}"
        found.append(f"{url}#image={number} ({size})")
    more = len(names) - _MOST_LISTED
    return (*found, f"and {more} more") if more > 0 else tuple(found)
