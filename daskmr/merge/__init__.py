"""Merging: one object that several tiles saw, one feature."""

from collections.abc import Mapping

from daskmr.merge.base import Merge
from daskmr.registry import Registry

MERGES: Registry[Merge] = Registry(
    kind="merge", builtin={"nms": "daskmr.merge.nms:Nms", "none": "daskmr.merge.none:KeepAll"}
)


def merger(name: str, options: Mapping[str, object]) -> Merge:
    """The merge of a name, in any case of letters.

    Parameters
    ----------
    name
        One of the table.
    options
        Fields of its class; ``none`` takes none and ignores them.

    Raises
    ------
    UnknownNameError
        When the table has no such name.
    RequestError
        When an option is wrong.
    """
    low = name.lower()
    return MERGES.build(low, {} if low == "none" else options)
